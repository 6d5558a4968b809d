"""Genomes: the integers that describe an architecture, and how they are written, decoded, repaired and varied."""

from star.architecture.genome.alphabet import GENES, GENES_PER_SLOT, Gene
from star.architecture.genome.codec import class_text, fold_text, join, parse, split, to_text
from star.architecture.genome.deck import CLASSES, DECK, DECKS, EMPTY, FEATURIZERS, PAPER, class_name
from star.architecture.genome.decoding import canonical, decode, genome_hash
from star.architecture.genome.operator import genes_of
from star.architecture.genome.space import LEVELS, Rates, Space, check
from star.architecture.genome.tiling import tile

__all__ = [
    "CLASSES",
    "DECK",
    "DECKS",
    "EMPTY",
    "FEATURIZERS",
    "GENES",
    "GENES_PER_SLOT",
    "LEVELS",
    "PAPER",
    "Gene",
    "Rates",
    "Space",
    "canonical",
    "check",
    "class_name",
    "class_text",
    "decode",
    "fold_text",
    "genes_of",
    "genome_hash",
    "join",
    "parse",
    "split",
    "tile",
    "to_text",
]
