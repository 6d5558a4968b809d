"""Architectures as integers and records: genomes, what their codes mean, scales, and the catalogue of named ones."""
