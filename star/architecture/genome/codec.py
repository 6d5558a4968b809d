"""The text form of a genome: one word a slot, joined by hyphens, as in 21211-31112-21221-32112.

A word is the five genes run together. The last four must be single digits for that, so the class is whatever
stands before them (`142111` is class 14); a slot with a larger gene is written with dots, `14.10.2.1.1`.

A genome with a deck of its own begins with it and a slash: classes joined by plus signs, each a word of its copies (2
is differential) and structure codes, then a word for each feature group. There the classes count from 1, as in
`12123,1211,1211,1211+11142,1231,1231/11111-21111`.

Slots in parentheses after a count and an asterisk, as in `3*(11111-91111)`, are read so many times, and what is in
parentheses may hold such repeats; texts that are written do without.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from star.architecture.genome.alphabet import GENES, GENES_PER_SLOT
from star.architecture.genome.operator import (
    CODES,
    GENES_PER_CLASS,
    GENES_PER_GROUP,
    GENES_PER_OPERATOR,
    MAX_GROUPS,
    ClassGenes,
    build_liv,
    choices_of,
    find_rules,
    genes_of,
    is_differential,
    split_class,
)
from star.architecture.spec import MOST_SLOTS
from star.architecture.structures import MEANINGS
from star.errors import UserError
from star.records import Genome

MAX_CLASSES = 99
MAX_REPEATS = 999
LONGEST_PATTERN = 64  # slots that are looked for as a repeat
MOST_NESTED = 4  # repeats within repeats
REPEATED = re.compile(r"(\d{1,9})\*\(([^()*]*)\)")  # the innermost of repeats
COUNT_LAST = re.compile(r"\(([^()]*)\) ?[*x] ?(\d{1,9})")


def split(genome: Genome) -> tuple[tuple[ClassGenes, ...], Genome]:
    """Return the classes of a genome's own deck, none if it has no deck, and its backbone.

    A deck is announced by a negative integer, minus the number of its classes.
    """
    if genome[0] >= 0:
        return (), genome
    end = 1 - genome[0] * GENES_PER_CLASS
    return split_deck(genome[1:end]), genome[end:]


def split_deck(genes: Genome) -> tuple[ClassGenes, ...]:
    """Return the classes of a deck from their genes in a row."""
    return tuple(genes[start : start + GENES_PER_CLASS] for start in range(0, len(genes), GENES_PER_CLASS))


def join(classes: tuple[ClassGenes, ...], backbone: Genome) -> Genome:
    """Return the genome of a deck and a backbone, the inverse of `split`."""
    return (-len(classes), *(gene for one in classes for gene in one), *backbone) if classes else backbone


def to_text(genome: Genome) -> str:
    """Return the text of a genome, without genes of feature groups that its operators do not have."""
    classes, backbone = split(genome)
    words = []
    for start in range(0, len(backbone), GENES_PER_SLOT):
        slot = backbone[start : start + GENES_PER_SLOT]
        words.append(("." if max(slot[1:]) > 9 else "").join(map(str, slot)))
    text = "-".join(words)
    return f"{'+'.join(map(class_text, classes))}/{text}" if classes else text


@lru_cache(maxsize=65_536)
def class_text(genes: ClassGenes) -> str:
    """Return the text of a class: a word of its copies and codes and one for each feature group, joined by commas."""
    _, codes, rows = split_class(genes)
    words = [genes[:GENES_PER_OPERATOR], *rows[: len(choices_of(find_rules(codes), codes[2]))]]
    return ",".join(("." if max(word) > 9 else "").join(map(str, word)) for word in words)


def parse(text: str) -> Genome:
    """Return the genome that a text spells. Raise UserError with the slot or class, the gene, its value and range."""
    deck, slash, backbone = text.strip().rpartition("/")
    classes = _parse_deck(deck) if slash else ()
    words = _expand(backbone).split("-")
    bounds = slot_bounds(len(words), len(classes))
    genome: list[int] = []
    for number, word in enumerate(words, start=1):
        genes = _split_word(word, number)
        check_slot(genes, bounds, number, word)
        genome += genes
    return join(classes, tuple(genome))


def fold_text(text: str) -> str:
    """Return the text of a genome, with repeated slots in parentheses after a count; `parse` reads both forms alike."""
    deck, slash, backbone = text.rpartition("/")
    words, parts, start = backbone.split("-"), [], 0
    while start < len(words):
        best = (0, 1, 1)  # slots saved, length, repeats
        for length in range(1, min(LONGEST_PATTERN, (len(words) - start) // 2) + 1):
            pattern, count = words[start : start + length], 1
            while count < MAX_REPEATS and words[start + count * length :][:length] == pattern:
                count += 1
            best = max(best, ((count - 1) * length, -length, count))
        saved, length, count = best[0], abs(best[1]), best[2]
        slots = "-".join(words[start : start + length])
        parts.append(f"{count}*({slots})" if saved else slots)
        start += length * count
    return f"{deck}{slash}{'-'.join(parts)}"


def _expand(backbone: str) -> str:
    """Return the words of all slots, without counts and parentheses."""
    for _ in range(MOST_NESTED):
        backbone = REPEATED.sub(_repeat, backbone)
    if last := COUNT_LAST.search(backbone):
        raise UserError(f"the genome has {last[0][:40]!r}: the count comes first, as in {last[2]}*({last[1][:40]})")
    if REPEATED.search(backbone):
        raise UserError(f"the genome nests more than {MOST_NESTED} repeats")
    if odd := re.search(r"[()*]", backbone):
        where = backbone[max(0, odd.start() - 20) : odd.start() + 20]
        raise UserError(f"the genome has {odd[0]!r} in {where!r}: slots that repeat are written as in 3*(11111-91111)")
    return backbone


def _repeat(found: re.Match[str]) -> str:
    count, slots = int(found[1]), found[2].count("-") + 1
    if not 1 <= count <= MAX_REPEATS:
        raise UserError(f"the genome repeats {found[2][:40]!r} {count} times, not 1 to {MAX_REPEATS} times")
    if count * slots > MOST_SLOTS:
        raise UserError(f"the genome repeats {slots:,} slots {count} times, which is more than {MOST_SLOTS:,} slots")
    return "-".join([found[2]] * count)


def slot_bounds(num_slots: int, num_classes: int) -> list[tuple[int, int]]:
    """Return the lowest and highest value of each gene of a slot; `num_classes` is the size of an own deck, or 0."""
    bounds = [(gene.low, gene.highest(num_slots)) for gene in GENES]
    return [(GENES[0].low, num_classes), *bounds[1:]] if num_classes else bounds


def check_slot(genes: Sequence[int], bounds: list[tuple[int, int]], number: int, word: str = "") -> None:
    """Raise UserError if a gene of a slot is out of its bounds; the message shows `word`, the text of the slot."""
    for value, (low, high), gene in zip(genes, bounds, GENES, strict=True):
        if not low <= value <= high:
            where = f"slot {number} ({word[:40]!r})" if word else f"slot {number}"
            raise UserError(f"{where} of the genome: {gene.name} is {value}, but must lie between {low} and {high}")


def check_deck_size(num_classes: int) -> None:
    """Raise UserError if a genome's own deck has too many classes."""
    if num_classes > MAX_CLASSES:
        raise UserError(f"the genome's deck has {num_classes} classes, but must have between 1 and {MAX_CLASSES}")


def _split_word(word: str, number: int) -> list[int]:
    parts = word.split(".") if "." in word else [word[:-4], *word[-4:]]
    if len(parts) != GENES_PER_SLOT or not _are_numbers(parts):
        few = f" but {len(parts[0]) + 4}" if "." not in word and word.isdecimal() and len(word) < GENES_PER_SLOT else ""
        raise UserError(
            f"slot {number} ({word[:40]!r}) of the genome is not five genes{few}: write the digits of class, "
            "featurizer group, featurizer strategy, feature group and feature strategy, as in 21211"
        )
    return [_number(part) for part in parts]


def _parse_deck(text: str) -> tuple[ClassGenes, ...]:
    words = text.split("+")
    check_deck_size(len(words))
    return tuple(_parse_class(word, number) for number, word in enumerate(words, start=1))


def _parse_class(text: str, number: int) -> ClassGenes:
    try:
        return _read_class(text)
    except UserError as error:
        raise UserError(f"class {number} ({text[:60]!r}) of the genome: {error}") from error


@lru_cache(maxsize=65_536)
def _read_class(text: str) -> ClassGenes:
    rows = [word.split(".") if "." in word else list(word) for word in text.split(",")]
    right = [GENES_PER_OPERATOR] + [GENES_PER_GROUP] * (len(rows) - 1)
    for i, (row, length) in enumerate(zip(rows, right, strict=True)):
        if len(row) != length or not _are_numbers(row):
            raise UserError(_explain_word(text.split(",")[i], row, is_first=i == 0))
    if len(rows) > MAX_GROUPS + 1:
        raise UserError(f"it has {len(rows) - 1} feature groups, but {MAX_GROUPS} are the most")
    (copies, *codes), *groups = [[_number(part) for part in row] for row in rows]
    return genes_of(build_liv("", codes, groups, is_differential(copies)))


def _explain_word(word: str, genes: list[str], is_first: bool) -> str:
    """Return why a word of a class cannot be read, and how it is written."""
    wanted = "five digits, the copies and four structure codes" if is_first else "four digits, those of a feature group"
    if is_first and len(genes) == len(CODES) and _are_numbers(genes) and tuple(map(_number, genes)) in MEANINGS:
        plain, differential = (("." if "." in word else "").join((copies, *genes)) for copies in "12")
        return f"its first word {word!r} lacks the copies: write {plain}, or {differential} if it is differential"
    return (
        f"{word[:40]!r} is not {wanted}, as in 12123,1211,1211,1211; a word with a number above 9 is written with "
        "dots, as in 7.2.16.0"
    )


def _are_numbers(parts: list[str]) -> bool:
    return all(part.isascii() and part.isdigit() for part in parts)


def _number(digits: str) -> int:
    """Return the number that digits spell, or that of the first nine if there are more: no gene is so long."""
    return int(digits.lstrip("0")[:9] or "0")
