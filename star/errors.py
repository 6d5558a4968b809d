"""The error that a person's mistake raises, and the clause that points to the nearest right word."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A person's mistake, told in one sentence; the command line prints it and exits with code 2."""


def nearest(word: str, words: Iterable[str]) -> str:
    """A clause that points to the right word: "; did you mean 'x'?" or the list of choices."""
    choices = sorted(words)
    close = get_close_matches(word.lower(), choices, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; choose from {', '.join(choices)}"
