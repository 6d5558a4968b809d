"""The settings that a run was made with, recorded where nobody edits them, against those that its run.toml has now."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from os.path import commonprefix
from typing import TYPE_CHECKING, Any

from star.errors import UserError
from star.run.settings import BEFORE, Settings
from star.storage.places import CONFIG

if TYPE_CHECKING:
    from star.storage.run_directory import RunDirectory  # loads pyarrow

# What may differ when a run goes on: where and for how long proxies are trained, where the text lies, which is known
# by its digest, how many generations there are: more of them
# follow from those that are recorded; and how the front is verified.
FREE = frozenset(
    ("workers", "address", "serial", "timeout", "tries", "worker_memory", "gpus_per_worker")
    + ("track", "store", "corpus", "generations", "verify_tokens", "verify_seeds")
)
SETTINGS, SEED_NAMES = "settings", "seed_names"
LONGEST = 60  # characters of a value that a sentence holds


def describe(settings: Settings, seed_names: Iterable[str] = ()) -> dict[str, Any]:
    """Return what a run of these complete settings records of them, as plain values."""
    return {SETTINGS: fixed_settings(settings), SEED_NAMES: list(seed_names)}


def fixed_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings that decide what comes out, by name, as JSON holds them."""
    values = {field.name: getattr(settings, field.name) for field in fields(settings) if field.name not in FREE}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def refuse_changed(run: "RunDirectory", settings: Mapping[str, Any]) -> None:
    """Raise UserError if settings, by name, are not those that the run was made with; names that are missing are not
    compared. A run that began before these were recorded is not checked."""
    recorded = (run.made_with() or {}).get(SETTINGS)
    if recorded is None:
        return
    later = {name: value for name, value in fixed_settings(Settings()).items() if value is not None}
    for name, then in (later | BEFORE | recorded).items():  # a setting that came after the run stood at its default
        now = settings.get(name, then)
        if now != then:
            one, other = _told_apart(now, then)
            raise UserError(
                f"{run.path / CONFIG} has {name} = {one}, but the run was made with {name} = {other}: set it back, or "
                "begin a new run"
            )


def _told_apart(one: Any, other: Any) -> tuple[str, str]:
    """Return two values in few characters; of long texts the first lines that differ."""
    if isinstance(one, str) and isinstance(other, str):
        lines, others = one.splitlines(), other.splitlines()
        same = len(commonprefix([lines, others]))
        one, other = "".join(lines[same : same + 1]), "".join(others[same : same + 1])
    texts = [repr(value) for value in (one, other)]
    start = len(commonprefix(texts)) // LONGEST * LONGEST
    return texts[0][start : start + LONGEST], texts[1][start : start + LONGEST]
