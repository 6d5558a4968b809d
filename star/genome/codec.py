"""The text form of a genome: one word a slot, joined by hyphens, as in 21211-31112-21221-32112.

A word is the five genes run together. The last four must be single digits for that, so the class is whatever
stands before them (`142111` is class 14); a slot with a larger gene is written with dots, `14.10.2.1.1`.
"""

from star.genome.alphabet import GENES, GENES_PER_SLOT
from star.records import Genome
from star.spec import UserError


def to_text(genome: Genome) -> str:
    """The text of a genome; `parse` is its inverse."""
    words = []
    for start in range(0, len(genome), GENES_PER_SLOT):
        slot = genome[start : start + GENES_PER_SLOT]
        joint = "." if max(slot[1:]) > 9 else ""
        words.append(joint.join(map(str, slot)))
    return "-".join(words)


def parse(text: str) -> Genome:
    """The genome that a text spells. UserError names the slot, the gene, its value and its range."""
    words = text.strip().split("-")
    bounds = [(gene.low, gene.highest(len(words))) for gene in GENES]
    genome: list[int] = []
    for number, word in enumerate(words, start=1):
        genes = _split_word(word, number)
        for position, (low, high) in enumerate(bounds):
            if not low <= genes[position] <= high:
                raise UserError(
                    f"slot {number} ({word[:40]!r}) of the genome: {GENES[position].name} is {genes[position]}, "
                    f"but must lie between {low} and {high}"
                )
        genome += genes
    return tuple(genome)


def _split_word(word: str, number: int) -> list[int]:
    parts = word.split(".") if "." in word else [word[:-4], *word[-4:]]
    if len(parts) != GENES_PER_SLOT or not (word.isascii() and all(map(str.isdigit, parts))):
        raise UserError(
            f"slot {number} ({word[:40]!r}) of the genome is not five genes: write the digits of class, "
            "featurizer group, featurizer strategy, feature group and feature strategy, as in 21211"
        )
    return [int(part[:9]) for part in parts]
