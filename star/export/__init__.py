"""Export: the genomes of a finished search as standalone code and weights."""
