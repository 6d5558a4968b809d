"""Sources of text as people type them."""

from collections.abc import Iterable
from pathlib import Path

from star.data.builtin import BUILT_IN
from star.data.sources import cut_weight, path_exists, split_list


def absolute_sources(sources: Iterable[str]) -> tuple[str, ...]:
    """Return sources with absolute paths, so that they are found from another directory too; lists joined by commas
    are taken apart."""
    return tuple(_absolute(one) for text in sources for one in split_list(text, path_exists))


def _absolute(source: str) -> str:
    # So that the run can be resumed from another directory. A weight stays at the end of the path.
    weighted = cut_weight(source)
    if not source:
        return source
    is_built_in = source in BUILT_IN or weighted and weighted[0] in BUILT_IN and not path_exists(source)
    return source if is_built_in or "://" in source else str(Path(source).absolute())


def absolute(place: str) -> str:
    """Return a path that is found from another directory too; anything else as it is, and so the ID of a run."""
    path, colon, number = place.rpartition(":")
    if colon and number.isdecimal() and path_exists(path):
        return f"{Path(path).absolute()}:{number}"
    return str(Path(place).absolute()) if path_exists(place) else place
