"""The deck: operator classes as rows of codes. A class is an operator genome of five integers,

    featurizer class, token mixing, sparsity, nonlinearity, channel mixing        e.g. 12123 for SA-1

and a featurizer genome of four integers a feature group: token mixing, channel mixing, expansion, repeat.
Classes 1 to 17 have the codes of Thomas et al. 2024 (arXiv:2411.17800); what the paper leaves open in the
featurizers is decided in docs/decisions/0002-operators.md. The others are published operators; each row names its
source. A number once used is permanent.
"""

from dataclasses import dataclass

from star.architecture.codes import EVERY_CHANNEL, EVERY_HEAD, GATED_RATIO, WITHIN_HEAD
from star.architecture.genome.operator import ClassGenes, build_liv, genes_of
from star.architecture.spec import LivSpec

Row = tuple[int, int, int, int]  # the genes of one feature group

# Featurizer class -> one row per feature group, in the order of the structure's roles. 1 to 9 are the paper's.
DENSE = (1, 2, 1, 1)
SHORT = (3, 2, 1, 1)
ACTIVE = (7, 2, 1, 1)
SHIFT = (8, 2, 1, 1)
LATENT = (1, 4, 1, 1)
BLOCKS = (1, 3, 1, 1)
RATE = (1, 2, 1, WITHIN_HEAD)
FEATURIZERS: dict[int, tuple[Row, ...]] = {
    1: (DENSE, DENSE, DENSE),
    2: (SHORT, SHORT, SHORT),
    3: (DENSE, (1, 2, 1, 4), (1, 2, 1, 4)),
    4: (DENSE, (1, 2, 1, 2), (1, 2, 1, 2)),
    5: ((3, 2, 16, EVERY_CHANNEL), (3, 2, 16, EVERY_CHANNEL), SHORT, LATENT),
    6: ((3, 2, 2, EVERY_CHANNEL), (3, 2, 2, EVERY_CHANNEL), SHORT, LATENT),
    7: (DENSE, DENSE, DENSE, (3, 1, 3, 1)),
    8: (DENSE, DENSE, DENSE, (6, 1, 3, 1)),
    9: ((1, 2, GATED_RATIO, 1), (1, 2, GATED_RATIO, 1)),
    10: (DENSE, (1, 2, 1, EVERY_HEAD), (1, 2, 1, EVERY_HEAD)),
    11: ((1, 2, 2, 1), (1, 2, 1, EVERY_HEAD), (1, 6, 1, 4)),
    12: ((1, 5, 1, 1), (1, 5, 1, 4), (1, 2, 1, 4)),
    13: (DENSE, DENSE, DENSE, LATENT, DENSE),
    14: ((7, 2, 16, EVERY_CHANNEL), (7, 2, 16, EVERY_CHANNEL), ACTIVE, RATE, DENSE),
    15: ((7, 2, 64, EVERY_CHANNEL), (7, 2, 64, EVERY_CHANNEL), (7, 2, 2, 1), (1, 2, 2, WITHIN_HEAD), (1, 2, 2, 1)),
    16: ((7, 2, 16, EVERY_CHANNEL), (7, 2, 16, EVERY_CHANNEL), (7, 2, 2, 1), (1, 4, 2, 1), (1, 2, 2, 1)),
    17: ((3, 2, 64, EVERY_CHANNEL), (3, 2, 64, EVERY_CHANNEL), SHORT, LATENT),
    18: (ACTIVE, ACTIVE, ACTIVE, RATE, RATE, DENSE),
    19: (DENSE, BLOCKS, SHORT, BLOCKS),
    20: (DENSE, DENSE, DENSE, (3, 1, 4, 1)),
    21: (DENSE, DENSE, DENSE, (3, 1, 7, 1)),
    22: (DENSE, DENSE, (1, 2, 4, 2)),
    23: ((1, 2, 1, 2), (1, 2, 1, 2), (1, 2, 8, 2), DENSE, DENSE),
    24: (DENSE, DENSE),
    25: ((1, 2, 4, 1), (1, 2, 4, 1)),
    26: ((1, 2, 4, 1),),
    27: (SHIFT, SHIFT, SHIFT),
    28: (SHIFT, (8, 2, 1, 4), (8, 2, 1, 4)),
    29: (SHIFT, (8, 2, 1, 2), (8, 2, 1, 2)),
    30: (SHIFT, (8, 2, 1, EVERY_HEAD), (8, 2, 1, EVERY_HEAD)),
}


@dataclass(frozen=True, slots=True)
class OperatorClass:
    """One row of the deck: name, operator genome, and the publication of the operator."""

    name: str
    codes: tuple[int, int, int, int, int]
    source: str
    differential: bool = False


STAR = "Thomas et al. 2024, arXiv:2411.17800"
CANON = "Allen-Zhu 2025, arXiv:2512.17351"
_PLAIN: dict[int, OperatorClass] = {
    1: OperatorClass("SA-1", (1, 2, 1, 2, 3), "Vaswani et al. 2017, arXiv:1706.03762"),
    2: OperatorClass("SA-2", (2, 2, 1, 2, 3), "So et al. 2021, arXiv:2109.08668"),
    3: OperatorClass("SA-3", (3, 2, 1, 2, 3), "Ainslie et al. 2023, arXiv:2305.13245"),
    4: OperatorClass("SA-4", (4, 2, 1, 2, 3), "Ainslie et al. 2023, arXiv:2305.13245"),
    5: OperatorClass("Rec-1", (5, 4, 1, 1, 1), "Gu and Dao 2023, arXiv:2312.00752"),
    6: OperatorClass("Rec-2", (6, 4, 1, 1, 1), "Gu and Dao 2023, arXiv:2312.00752"),
    7: OperatorClass("GConv-1", (7, 3, 1, 1, 1), "Liquid AI 2025, arXiv:2511.23404"),
    8: OperatorClass("GConv-2", (8, 3, 1, 1, 1), "Poli et al. 2023, arXiv:2302.10866"),
    9: OperatorClass("GMemless", (9, 1, 1, 4, 2), "Shazeer 2020, arXiv:2002.05202"),
    18: OperatorClass("MQA", (10, 2, 1, 2, 3), "Shazeer 2019, arXiv:1911.02150"),
    19: OperatorClass("SWA", (1, 2, 2, 2, 3), "Beltagy et al. 2020, arXiv:2004.05150"),
    20: OperatorClass("SWA-GQA", (3, 2, 2, 2, 3), "Jiang et al. 2023, arXiv:2310.06825"),
    21: OperatorClass("MLA", (11, 2, 1, 2, 6), "DeepSeek-AI 2024, arXiv:2405.04434"),
    22: OperatorClass("QKNorm-GQA", (12, 2, 1, 2, 3), "Qwen Team 2025, arXiv:2505.09388"),
    23: OperatorClass("LinAttn", (1, 2, 1, 1, 3), "Katharopoulos et al. 2020, arXiv:2006.16236"),
    24: OperatorClass("GLA", (13, 7, 1, 4, 3), "Yang et al. 2023, arXiv:2312.06635"),
    25: OperatorClass("SSD", (14, 4, 1, 4, 3), "Dao and Gu 2024, arXiv:2405.21060"),
    26: OperatorClass("Mamba-2", (15, 4, 1, 4, 3), "Dao and Gu 2024, arXiv:2405.21060"),
    27: OperatorClass("Mamba", (16, 4, 1, 4, 1), "Gu and Dao 2023, arXiv:2312.00752"),
    28: OperatorClass("Rec-64", (17, 4, 1, 1, 1), "Gu and Dao 2023, arXiv:2312.00752"),
    29: OperatorClass("GDN", (18, 5, 1, 4, 3), "Yang et al. 2024, arXiv:2412.06464"),
    30: OperatorClass("RG-LRU", (19, 6, 1, 5, 1), "De et al. 2024, arXiv:2402.19427"),
    31: OperatorClass("GConv-k4", (20, 3, 1, 1, 1), "Liquid AI 2025, arXiv:2511.23404"),
    32: OperatorClass("GConv-k7", (21, 3, 1, 1, 1), "Liquid AI 2025, arXiv:2511.23404"),
    33: OperatorClass("MoE", (22, 1, 1, 4, 4), "Jiang et al. 2024, arXiv:2401.04088"),
    34: OperatorClass("MoE-shared", (23, 1, 1, 4, 5), "Dai et al. 2024, arXiv:2401.06066"),
    35: OperatorClass("SwiGLU-1", (24, 1, 1, 4, 2), "Shazeer 2020, arXiv:2002.05202"),
    36: OperatorClass("SwiGLU-4", (25, 1, 1, 4, 2), "Shazeer 2020, arXiv:2002.05202"),
    37: OperatorClass("GEGLU", (9, 1, 1, 5, 2), "Shazeer 2020, arXiv:2002.05202"),
    38: OperatorClass("ReLU2", (26, 1, 1, 6, 2), "So et al. 2021, arXiv:2109.08668"),
    52: OperatorClass("SA-1-Shift", (27, 2, 1, 2, 3), CANON),
    53: OperatorClass("SA-3-Shift", (28, 2, 1, 2, 3), CANON),
    54: OperatorClass("SA-4-Shift", (29, 2, 1, 2, 3), CANON),
    55: OperatorClass("MQA-Shift", (30, 2, 1, 2, 3), CANON),
    56: OperatorClass("SWA-GQA-Shift", (28, 2, 2, 2, 3), CANON),
    57: OperatorClass("LinAttn-Shift", (27, 2, 1, 1, 3), CANON),
}
# Class -> the class that it is two copies of: y = a(x) - b(x).
_DIFFERENTIAL = {number: number - 9 for number in range(10, 18)} | {39: 18, 40: 20, 41: 21, 42: 22, 43: 23, 44: 24}
_DIFFERENTIAL |= {45: 25, 46: 26, 47: 27, 48: 29, 49: 30, 50: 31, 51: 32}

_COPIES = {
    number: OperatorClass(f"{_PLAIN[base].name}-Diff", _PLAIN[base].codes, STAR, differential=True)
    for number, base in _DIFFERENTIAL.items()
}
CLASSES: dict[int, OperatorClass] = dict(sorted((_PLAIN | _COPIES).items()))
EMPTY = 0  # the class of a slot that holds nothing

# Class -> the operator that its codes describe.
DECK: dict[int, LivSpec] = {
    number: build_liv(one.name, one.codes[1:], FEATURIZERS[one.codes[0]], one.differential)
    for number, one in CLASSES.items()
}
NUMBERS: dict[ClassGenes, int] = {genes_of(liv): number for number, liv in DECK.items()}  # genes -> class
assert len(NUMBERS) == len(DECK), "two classes with the same genes"
PAPER = range(1, 18)
EXTENDED = range(1, 52)

# Name -> the classes that a search may use. A deck that has a name does not grow: a seed leads to the same genomes.
DECKS: dict[str, tuple[int, ...]] = {
    "paper": tuple(PAPER),
    "extended": (EMPTY, *(number for number in CLASSES if number in EXTENDED)),
    "shifted": (EMPTY, *CLASSES),
}


def class_name(class_id: int) -> str:
    """Return the name of an operator class: SA-1, Rec-1-Diff, MLA, ..."""
    return DECK[class_id].name if class_id else "empty"
