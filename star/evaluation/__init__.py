"""One genome in, one Evaluation out."""
