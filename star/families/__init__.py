"""Families of checkpoints that `transformers` knows: which genomes lie in one, their config.json, names of weights."""
