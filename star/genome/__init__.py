"""Genomes: architectures as integers. The alphabet, the deck of operator classes, text, decoding, variation."""

from star.genome.alphabet import GENES, GENES_PER_SLOT, Gene, gene_bounds
from star.genome.codec import parse, to_text
from star.genome.deck import FEATURIZERS, PAPER, PAPER_CODES, class_name
from star.genome.decoding import canonical, decode, genome_hash
from star.genome.variation import crossover, mutate, repair, sample

__all__ = [
    "FEATURIZERS",
    "GENES",
    "GENES_PER_SLOT",
    "PAPER",
    "PAPER_CODES",
    "Gene",
    "canonical",
    "class_name",
    "crossover",
    "decode",
    "gene_bounds",
    "genome_hash",
    "mutate",
    "parse",
    "repair",
    "sample",
    "to_text",
]
