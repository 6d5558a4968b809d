"""A backbone as text: one line a slot, one column for everything that slots share; and its operators as equations."""

from star.genome import class_text, genes_of
from star.spec import Slot
from star.structures.equations import feature_equations, operator_equation


def draw(slots: tuple[Slot, ...]) -> list[str]:
    """One line a slot with the sharing of weights (w) and of features (their roles, such as BV).

    Slots that share something have their marks in one column, joined by bars; the topmost owns it.
    """
    columns = [_column(members, len(slots)) for members in _groups(slots)]
    return ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)] if columns else [""] * len(slots)


def distinct_operators(slots: tuple[Slot, ...]) -> list[Slot]:
    """The first slot of every operator."""
    found: dict[int, Slot] = {}
    for slot in slots:
        found.setdefault(slot.class_id, slot)
    return list(found.values())


def explain(slot: Slot) -> list[str]:
    """The operator of a slot: its name and codes, its equation, how each of its features is made."""
    known = f"class {slot.class_id}, " if slot.class_id > 0 else ""
    equations = operator_equation(slot.liv).split(",  ")
    features = [f"{role} = {text}" for role, text in feature_equations(slot.liv).items()]
    return [
        f"{slot.liv.name} ({known}codes {class_text(genes_of(slot.liv))})",
        *(f"    {line}" for line in (*equations, *features)),
    ]


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
