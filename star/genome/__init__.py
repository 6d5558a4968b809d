"""Genomes: integers that spell an architecture, how they are written, decoded, repaired and varied."""

from star.genome.alphabet import GENES, GENES_PER_SLOT, Gene
from star.genome.codec import class_text, join, parse, split, to_text
from star.genome.deck import CLASSES, DECK, DECKS, EMPTY, FEATURIZERS, PAPER, class_name
from star.genome.decoding import canonical, decode, genome_hash
from star.genome.operator import genes_of
from star.genome.space import LEVELS, Rates, Space, check
from star.genome.tiling import tile

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
    "genes_of",
    "genome_hash",
    "join",
    "parse",
    "split",
    "tile",
    "to_text",
]
