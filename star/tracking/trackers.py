"""All trackers of a run or a training at once. One that fails is left out and never stops what it shows."""

from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from star.errors import UserError
from star.tracking.tracker import KINDS, Place, Tracker

FOLDER = "tracking"  # in the directory of a run or a training
LONGEST = 200  # characters of the reason of a failure


def check_trackers(names: Collection[str]) -> None:
    """Raise UserError if the package of a tracker is not installed."""
    for name in names:
        if find_spec(KINDS[name].package) is None:
            raise UserError(f"the tracker {name} is not installed: pip install 'star[{name}]'")


class Trackers:
    """Passes scalars to the trackers of these names, which begin at the first ones.

    Args:
        names: of trackers, as `TRACKERS` has them.
        directory: of the run or the training.
        config: settings to show, by name; those that are None are left out.
        note: is told which tracker failed, and why.
    """

    def __init__(
        self, names: Collection[str], directory: Path, config: Mapping[str, Any], note: Callable[[str], None]
    ) -> None:
        self._names, self._directory, self._note = names, directory, note
        self._config = {name: _plain(value) for name, value in config.items() if value is not None}
        self._open: dict[str, Tracker] | None = None

    def close(self) -> None:
        """Write what is not written yet."""
        for name in list(self._open or ()):
            self._try(name, lambda tracker: tracker.close())

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Record scalars by name. `step` must not be less than that of an earlier call."""
        if self._open is None:
            self._open = {}
            for name in self._names:
                self._begin(name)
        for name in list(self._open):
            self._try(name, lambda tracker: tracker.log(step, scalars))

    def _begin(self, name: str) -> None:
        place = Place(folder=self._directory / FOLDER / name, title=self._directory.resolve().name, config=self._config)
        try:
            self._open[name] = import_module(KINDS[name].module).make(place)
        except Exception as error:  # of whatever kind the library has
            self._give_up(name, error)

    def _try(self, name: str, action: Callable[[Tracker], None]) -> None:
        try:
            action(self._open[name])
        except Exception as error:
            del self._open[name]
            self._give_up(name, error)

    def _give_up(self, name: str, error: Exception) -> None:
        self._note(f"the tracker {name} failed and gets nothing more: {' '.join(str(error).split())[:LONGEST]}")


def _plain(value: Any) -> str | int | float | bool:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value
