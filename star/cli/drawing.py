"""A backbone as text: one line a slot, one column for everything that slots share; and its operators as equations."""

from collections.abc import Collection
from typing import NamedTuple

from star.architecture.genome import DECK, class_text, genes_of
from star.architecture.spec import Slot
from star.architecture.structures import feature_equations, operator_equation

LONGEST_PATTERN = 64  # slots


class Fold(NamedTuple):
    """The `length` slots from `first` on, `repeats` times over; 0 is the first slot of all."""

    first: int
    length: int
    repeats: int

    @property
    def end(self) -> int:
        return self.first + self.length * self.repeats


def fold(slots: tuple[Slot, ...]) -> list[Fold]:
    """Slots as patterns, each repeated as often as it goes on, in the fewest lines if a pattern is written once; a slot
    that is in none is a pattern of its own. Of foldings with as many lines that with the fewest patterns.

    A pattern goes on where the classes are the same and every copy shares the same within itself. What shares anything
    with a slot outside, another copy included, is no copy.
    """
    first, last = _extents(slots)
    keys = [_relative(i, slot, last[i]) for i, slot in enumerate(slots)]
    best: list[tuple[int, int, Fold | None]] = [(0, 0, None)] * (len(slots) + 1)  # lines and patterns from a slot on
    runs = [0] * (LONGEST_PATTERN + 1)  # length -> slots from here on that equal those so much later
    for i in reversed(range(len(slots))):
        found, low, high = [], i, i
        for length in range(1, min(LONGEST_PATTERN, len(slots) - i) + 1):
            end = i + length
            low, high = min(low, first[end - 1]), max(high, last[end - 1])
            runs[length] = runs[length] + 1 if end < len(slots) and keys[i] == keys[end] else 0
            if runs[length] >= length and low == i and high < end:
                found.append(Fold(i, length, 1 + runs[length] // length))
        found.append(Fold(i, 1, 1))
        best[i] = min((_after(one, best) for one in found), key=lambda choice: choice[:2])
    folded = []
    one = best[0][2]
    while one is not None:
        folded.append(one)
        one = best[one.end][2]
    return folded


def draw(slots: tuple[Slot, ...], shown: Collection[int] | None = None) -> list[str]:
    """One line a slot with the sharing of weights (w) and of features (their roles, such as BV).

    Slots that share something have their marks in one column, joined by bars; the topmost owns it. With `shown`, what
    none of those slots shares has no column.
    """
    groups = [one for one in _groups(slots) if shown is None or not one.keys().isdisjoint(shown)]
    columns = [_column(members, len(slots)) for members in groups]
    return ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)] if columns else [""] * len(slots)


def partners(slots: tuple[Slot, ...]) -> list[str]:
    """One line a slot with what it takes from earlier slots, which count from 1: BV of 3, w of 1."""
    lines = []
    for i, slot in enumerate(slots):
        taken: dict[str, str] = {}
        for group, owner, producer in zip(slot.liv.groups, slot.weights_from, slot.features_from, strict=True):
            if producer != i:
                taken[f" of {producer + 1}"] = taken.get(f" of {producer + 1}", "") + group.role
            elif owner != i:
                taken[f" w of {owner + 1}"] = ""
        lines.append(", ".join(f"{roles}{source}".strip() for source, roles in taken.items()))
    return lines


def distinct_operators(slots: tuple[Slot, ...]) -> list[Slot]:
    """The first slot of every operator."""
    found: dict[int, Slot] = {}
    for slot in slots:
        found.setdefault(slot.class_id, slot)
    return list(found.values())


def codes_of(slot: Slot) -> str:
    """The text of an operator's class: its genes, whatever a scale makes of them."""
    return class_text(genes_of(DECK[slot.class_id] if slot.class_id > 0 else slot.liv))


def explain(slot: Slot) -> list[str]:
    """The operator of a slot: its name and codes, its equation, how each of its features is made."""
    known = f"class {slot.class_id}, " if slot.class_id > 0 else ""
    equations = operator_equation(slot.liv).split(",  ")
    features = [f"{role} = {text}" for role, text in feature_equations(slot.liv).items()]
    return [
        f"{slot.liv.name} ({known}codes {codes_of(slot)})",
        *(f"    {line}" for line in (*equations, *features)),
    ]


def _relative(i: int, slot: Slot, last: int) -> tuple[int, ...]:
    """Return the mark of slots of one class that share with the same earlier slots, counted from themselves."""
    return slot.class_id, last - i, *(i - j for j in slot.weights_from), *(i - j for j in slot.features_from)


def _extents(slots: tuple[Slot, ...]) -> tuple[list[int], list[int]]:
    """For every slot, the first one that it takes anything from, and the last one that takes anything from it."""
    first, last = list(range(len(slots))), list(range(len(slots)))
    for i, slot in enumerate(slots):
        for j in (*slot.weights_from, *slot.features_from):
            first[i], last[j] = min(first[i], j), max(last[j], i)
    return first, last


def _after(one: Fold, best: list[tuple[int, int, Fold | None]]) -> tuple[int, int, Fold | None]:
    """Lines and patterns if a pattern is followed by the best of what is left."""
    lines, patterns, _ = best[one.end]
    return lines + one.length, patterns + 1, one


def _groups(slots: tuple[Slot, ...]) -> list[dict[int, str]]:
    """For every owner of shared weights or features: each member and its mark."""
    groups: dict[tuple[bool, int], dict[int, str]] = {}
    for i, slot in enumerate(slots):
        for index, group in enumerate(slot.liv.groups):
            producer, owner = slot.features_from[index], slot.weights_from[index]
            if producer != i:
                for member in (producer, i):
                    _mark(groups.setdefault((True, producer), {}), member, group.role)
            elif owner != i:
                for member in (owner, i):
                    groups.setdefault((False, owner), {})[member] = "w"
    return [groups[key] for key in sorted(groups, key=lambda key: (key[1], key[0]))]


def _mark(members: dict[int, str], member: int, role: str) -> None:
    if role not in members.get(member, ""):
        members[member] = members.get(member, "") + role


def _column(members: dict[int, str], num_slots: int) -> list[str]:
    width = max(map(len, members.values()))
    first, last = min(members), max(members)
    return [members.get(i, "|" if first < i < last else "").ljust(width) for i in range(num_slots)]
