"""The table of families, and the search for one that a model lies in."""

from collections.abc import Sequence

from star.architecture.spec import ModelSpec
from star.errors import UserError, nearest
from star.families import (
    deepseek,
    delta,
    dense,
    ernie,
    experts,
    falcon_h1,
    fused,
    gemma,
    gpt_oss,
    griffin,
    layer_norms,
    lfm,
    mamba_hybrids,
    normed,
    qwen,
    recurrent,
)
from star.families.facts import OTHER_OPERATOR
from star.families.family import EVERYWHERE, Family, Obstacle

GROUPS = (  # in the order in which families are tried
    (dense, qwen, normed, gemma, layer_norms, fused, experts, deepseek, ernie, gpt_oss)
    + (recurrent, griffin, mamba_hybrids, falcon_h1, lfm, delta)
)
FAMILIES: dict[str, Family] = {one.name: one for group in GROUPS for one in group.FAMILIES}
MOST_SHOWN, MOST_SLOTS_SHOWN = 3, 4  # obstacles in a sentence; slots of each


def family_named(name: str) -> Family:
    """Return the family with a name. Raise UserError if there is none."""
    if name not in FAMILIES:
        raise UserError(f"unknown family {name!r:.60}{nearest(name, FAMILIES)}")
    return FAMILIES[name]


def find_family(spec: ModelSpec, name: str | None = None) -> Family:
    """Return the family that a model lies in: the one named, or the first that fits.

    Raises:
        UserError: it lies in none, with the nearest one and what is in the way, or not in the one named.
    """
    known = [family_named(name)] if name else list(FAMILIES.values())
    found = {one.name: one.obstacles(spec) for one in known}
    family = next((one for one in known if not found[one.name]), None)
    if family:
        return family
    near = min(known, key=lambda one: _distance(found[one.name]))
    what = "the model does not lie in" if name else "no family of transformers has this model; the nearest is"
    raise UserError(f"{what} {near.name}, where in the way are: {tell(found[near.name])}")


def tell(obstacles: Sequence[Obstacle]) -> str:
    """Return the first of some obstacles as a text, slots with the same one together, and how many more there are."""
    slots: dict[str, list[int]] = {}
    for one in obstacles:
        slots.setdefault(one.text, []).append(one.slot)
    shown = [f"{text}{_of_slots(where)}" for text, where in slots.items()]
    rest = len(shown) - MOST_SHOWN
    return "; ".join(shown[:MOST_SHOWN]) + (f"; and {rest} more" if rest > 0 else "")


def _of_slots(slots: list[int]) -> str:
    if slots[0] < 1:
        return ""
    rest = len(slots) - MOST_SLOTS_SHOWN
    numbers = ", ".join(map(str, slots[:MOST_SLOTS_SHOWN])) + (f" and {rest} more" if rest > 0 else "")
    return f" (slot {numbers})" if len(slots) == 1 else f" (slots {numbers})"


def _distance(obstacles: list[Obstacle]) -> tuple[int, int, int, int]:
    """Return whether sizes do not go together, how many slots have another operator, how many slots are in the way,
    the model around them counting as one, and all that is in the way.
    """
    slots = {one.slot for one in obstacles}
    others = sum(one.text.startswith(OTHER_OPERATOR) for one in obstacles)
    return EVERYWHERE in slots, others, len(slots), len(obstacles)
