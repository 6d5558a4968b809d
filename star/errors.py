"""The errors of people who use the program, and the clause that suggests the nearest right word."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class UserError(ValueError):
    """A person's mistake, told in one sentence. The command line prints it and exits with code 2."""

    place = ""  # the file or the name that the mistake is in

    def __str__(self) -> str:
        message = super().__str__()
        return f"{self.place}: {message}" if self.place else message


class SettingError(UserError):
    """A setting that cannot be used: `key` names it and `reason` completes the sentence."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key} {reason}")
        self.key, self.reason = key, reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.key, self.reason)


@contextmanager
def located(place: str) -> Iterator[None]:
    """Prefix the UserErrors raised inside with a place, unless a nested block has named a closer one."""
    try:
        yield
    except UserError as error:
        error.place = error.place or place
        raise


@contextmanager
def disk_errors_reported(action: str) -> Iterator[None]:
    """Raise an OSError as a UserError that says what could not be done."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot {action}: {error.strerror or error}") from error


def nearest(word: str, words: Iterable[str]) -> str:
    """Return a clause that suggests the right word: "; did you mean 'x'?" or the list of choices."""
    choices = sorted(words)
    close = get_close_matches(word.lower(), choices, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; choose from {', '.join(choices)}"
