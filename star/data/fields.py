"""The field of a record that holds its text, in JSON objects and in columns of tables alike."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from star.errors import UserError, nearest

TEXT_FIELDS = ("text", "content")
CHAT_FIELDS = ("messages", "conversations")


class Field(NamedTuple):
    """A field: the names that lead to it from the record, and what it is, a value or a type."""

    path: tuple[str, ...]
    held: Any

    @property
    def name(self) -> str:
        return ".".join(self.path)


def find_field(record: Any, wanted: str, place: str, fields_of: Callable[[Any], Mapping[str, Any] | None]) -> Field:
    """Return the field of a record with the name `wanted`, whose dots lead into nested ones.

    Without a name it is the first of "text", "content", "messages" and "conversations". `fields_of` returns the fields
    of a record or of a nested one, None of anything else. Where a nested value is None, so is the field. Raises
    UserError, with the nearest name, if there is no such field; `place` begins the sentence.
    """
    known = fields_of(record) or {}
    if not wanted:
        for name in (*TEXT_FIELDS, *CHAT_FIELDS):
            if name in known:
                return Field((name,), known[name])
        held = ", ".join(repr(name) for name in known) or "nothing"
        raise UserError(f"{place} has no {either(TEXT_FIELDS)}; it has {held}")
    if wanted in known:  # a dot may be part of a name
        return Field((wanted,), known[wanted])
    path: tuple[str, ...] = ()
    for name in wanted.split("."):
        if record is None:
            break
        known = fields_of(record) or {}
        if name not in known:
            names = [".".join((*path, other)) for other in known] or [".".join(path)]
            # With escapes, because a name may hold anything.
            hint = nearest(wanted, [repr(one)[1:-1] for one in names]) if any(names) else "; it has nothing"
            raise UserError(f"{place} has no {wanted!r}{hint}")
        path, record = (*path, name), known[name]
    return Field(path, record)


def either(names: Iterable[str]) -> str:
    """Return quoted names joined by "or"."""
    return " or ".join(repr(name) for name in names)
