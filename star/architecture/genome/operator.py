"""Operators and their genes: the valid combinations, the nearest valid one to any other, and the operator that genes
describe.

In a deck of its own, a class is 29 integers: copies (1, or 2 for a differential operator), token mixing, sparsity,
nonlinearity, channel mixing, then token mixing, channel mixing, expansion and repeat of up to six feature groups.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from functools import lru_cache
from hashlib import sha256

from star.architecture.codes import (
    UNSEARCHED,
    ChannelMixing,
    FeatureChannelMixing,
    FeatureTokenMixing,
    Nonlinearity,
    Sparsity,
    TokenMixing,
)
from star.architecture.spec import FeatureGroup, LivSpec
from star.architecture.structures import MEANINGS, Codes, StructureRules
from star.architecture.structures.structure import GENES, Choices
from star.errors import UserError

ClassGenes = tuple[int, ...]

MAX_GROUPS = 6
GENES_PER_GROUP = len(GENES)
GENES_PER_OPERATOR = 5
GENES_PER_CLASS = GENES_PER_OPERATOR + MAX_GROUPS * GENES_PER_GROUP
UNUSED = (1,) * GENES_PER_GROUP  # the genes of a feature group that the structure does not have

CODES: tuple[tuple[str, type[IntEnum]], ...] = (
    ("token mixing", TokenMixing),
    ("sparsity", Sparsity),
    ("nonlinearity", Nonlinearity),
    ("channel mixing", ChannelMixing),
)

# Every value that searches draw in some structure, for each gene of a feature group.
ALPHABET: tuple[tuple[int, ...], ...] = tuple(
    tuple(sorted({value for row in rows for value in row}))
    for rows in zip(
        *(choice.searched() for codes, rules in MEANINGS.items() for choice in rules.choices(codes[2])), strict=True
    )
)


def find_rules(codes: Sequence[int]) -> StructureRules:
    """Return the structure that four codes name. Raise UserError with the first gene that rules out all structures."""
    if tuple(codes) in MEANINGS:  # its members are integers
        return MEANINGS[as_codes(codes)]
    like = list(MEANINGS)
    for place, (name, _) in enumerate(CODES):
        allowed = sorted({int(known[place]) for known in like})
        if codes[place] not in allowed:
            raise UserError(f"{name} is {codes[place]}, but {_one_of(allowed)}")
        like = [known for known in like if known[place] == codes[place]]
    raise AssertionError(codes)


@lru_cache(maxsize=256)
def choices_of(rules: StructureRules, nonlinearity: int) -> tuple[Choices, ...]:
    """Return the feature groups of a structure."""
    return rules.choices(Nonlinearity(nonlinearity))


def as_codes(codes: Sequence[int]) -> Codes:
    """Return four integers as codes."""
    token_mixing, sparsity, nonlinearity, channel_mixing = codes
    return TokenMixing(token_mixing), Sparsity(sparsity), Nonlinearity(nonlinearity), ChannelMixing(channel_mixing)


@lru_cache(maxsize=1_024)
def nearest_codes(codes: tuple[int, ...]) -> Codes:
    """Return the valid codes nearest to any four: of the same token mixing if there is one of that number, then with
    the fewest genes changed, then the least changed. A nonlinearity that is not searched stays, but none becomes one.
    """

    def distance(known: Codes) -> tuple:
        gaps = [abs(int(a) - b) for a, b in zip(known, codes, strict=True)]
        return gaps[0], sum(map(bool, gaps)), sum(gaps), known

    return min((known for known in MEANINGS if known[2] not in UNSEARCHED or known[2] == codes[2]), key=distance)


def repair_rows(rules: StructureRules, codes: Codes, rows: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Return the genes of every feature group: a value that the structure allows stays, any other moves to the nearest
    that searches draw. Idempotent.
    """
    found: dict[str, list[int]] = {}
    for choice, row in zip(choices_of(rules, codes[2]), rows, strict=False):
        values = zip(row, choice.allowed(), choice.searched(), strict=True)
        found[choice.role] = [gene if gene in allowed else _nearest(gene, drawn) for gene, allowed, drawn in values]
    rules.canonicalise(found)
    return tuple(tuple(row) for row in found.values())


def build_liv(name: str, codes: Sequence[int], rows: Iterable[Sequence[int]], differential: bool = False) -> LivSpec:
    """Return the operator that four structure codes and a row of genes for each feature group describe.

    Raise UserError with the gene that is out of range, its value and the allowed values.
    """
    rules = find_rules(codes)
    known = as_codes(codes)
    choices, rows = choices_of(rules, known[2]), [tuple(row) for row in rows]
    if len(rows) != len(choices):
        roles = " ".join(choice.role for choice in choices)
        raise UserError(
            f"the number of feature groups is {len(rows)}, but must be {len(choices)} for {rules.structure} ({roles})"
        )
    repaired = repair_rows(rules, known, rows)
    for choice, row, right in zip(choices, rows, repaired, strict=True):
        for name_of, gene, allowed, wanted in zip(GENES, row, choice.allowed(), right, strict=True):
            if gene not in allowed:
                raise UserError(f"{name_of} of {choice.role} is {gene}, but {_one_of(allowed)}")
            if gene != wanted:
                raise UserError(f"{name_of} of {choice.role} is {gene}, but {rules.explain(choice.role, wanted)}")
    return LivSpec(
        name=name,
        structure=rules.structure,
        groups=tuple(
            FeatureGroup(choice.role, FeatureTokenMixing(row[0]), FeatureChannelMixing(row[1]), row[2], row[3])
            for choice, row in zip(choices, rows, strict=True)
        ),
        token_mixing=known[0],
        sparsity=known[1],
        nonlinearity=known[2],
        channel_mixing=known[3],
        differential=differential,
    )


def genes_of(liv: LivSpec) -> ClassGenes:
    """Return the genes of an operator; those of feature groups that it does not have are 1."""
    genes = [1 + liv.differential, liv.token_mixing, liv.sparsity, liv.nonlinearity, liv.channel_mixing]
    for group in liv.groups:
        genes += (group.token_mixing, group.channel_mixing, group.expansion, group.repeat)
    genes += UNUSED * (MAX_GROUPS - len(liv.groups))
    return tuple(int(gene) for gene in genes)


def is_differential(copies: int) -> bool:
    """Return whether copies, the first integer of a class, mark a differential operator. UserError unless 1 or 2."""
    if copies not in (1, 2):
        raise UserError(f"copies is {copies}, but {_one_of((1, 2))}")
    return copies == 2


def split_class(genes: ClassGenes) -> tuple[int, tuple[int, ...], list[tuple[int, ...]]]:
    """Return the copies, the four structure codes, and a row of genes for each of the six possible feature groups."""
    assert len(genes) == GENES_PER_CLASS, len(genes)
    rows = [genes[start : start + GENES_PER_GROUP] for start in range(GENES_PER_OPERATOR, len(genes), GENES_PER_GROUP)]
    return genes[0], genes[1:GENES_PER_OPERATOR], rows


@lru_cache(maxsize=65_536)
def repair_class(genes: ClassGenes) -> ClassGenes:
    """Return the genes of the operator nearest to any 29 integers. Unused feature groups keep genes that are within the
    range of their gene. Idempotent.
    """
    copies, codes, rows = split_class(genes)
    known = nearest_codes(codes)
    repaired = repair_rows(MEANINGS[known], known, rows)
    rest = [tuple(map(_nearest, row, ALPHABET)) for row in rows[len(repaired) :]]
    flat = [gene for row in (*repaired, *rest) for gene in row]
    return (min(max(copies, 1), 2), *map(int, known), *flat)


def describe_class(genes: ClassGenes) -> LivSpec:
    """Return the operator of a class's repaired genes, named by its structure and eight digits of their hash."""
    copies, codes, rows = split_class(genes)
    rules = find_rules(codes)
    used = rows[: len(choices_of(rules, codes[2]))]
    digest = sha256(repr((copies, codes, used)).encode()).hexdigest()[:8]
    return build_liv(f"{rules.structure.replace(' ', '-')}~{digest}", codes, used, is_differential(copies))


def _nearest(value: int, allowed: Sequence[int]) -> int:
    return min(allowed, key=lambda one: (abs(one - value), one))


def _one_of(values: Sequence[int]) -> str:
    return f"must be one of {', '.join(map(str, values))}" if len(values) > 1 else f"must be {values[0]}"
