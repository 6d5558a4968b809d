"""A backbone as text: one line a slot, one column for everything that slots share."""

from star.spec import Slot


def draw(slots: tuple[Slot, ...]) -> list[str]:
    """One line a slot with the sharing of weights (w) and of features (their roles, such as BV).

    Slots that share something have their marks in one column, joined by bars; the topmost owns it.
    """
    columns = [_column(members, len(slots)) for members in _groups(slots)]
    return ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)] if columns else [""] * len(slots)


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
