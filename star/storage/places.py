"""Which directories hold a run, which could, and what a person may have meant who named another."""

import os
from pathlib import Path

from star.errors import UserError, nearest
from star.storage.files import disk_errors_told

CONFIG = "run.toml"
LOCK = ".lock"
UNFINISHED = {LOCK, f".{CONFIG}.tmp"}  # all that a `create` killed in the middle can leave


def refuse_foreign(path: Path) -> None:
    """UserError if there is no run."""
    with disk_errors_told(f"read {path}"):
        if (path / CONFIG).is_file():
            return
        what = f"has no {CONFIG}" if path.is_dir() else "does not exist"
        if path.is_file():
            what = "is a file, not the directory of a run"
        raise UserError(f"{path} is not a run: it {what}{_hint(path)}")


def refuse_occupied(path: Path) -> None:
    """UserError if the directory holds a run, or anything else, or could not be made."""
    with disk_errors_told(f"make a run of {path}"):
        if (path / CONFIG).exists():
            raise UserError(f"{path} holds a run already; go on with it by `star resume {path}`")
        found = {one.name for one in path.iterdir()} if path.exists() else set()
    if foreign := sorted(found - UNFINISHED):
        raise UserError(f"{path} is no run and not empty (it holds {foreign[0]}); choose a new directory")
    nearest_there = next(one for one in (path, *path.absolute().parents) if one.exists())
    if not nearest_there.is_dir():
        raise UserError(f"cannot make the directory {path}: {nearest_there} is a file")
    if not os.access(nearest_there, os.W_OK | os.X_OK):
        raise UserError(f"cannot make a run of {path}: {nearest_there} cannot be written")


def _hint(path: Path) -> str:
    if (path.parent / CONFIG).is_file():
        return f"; did you mean {str(path.parent)!r}?"
    for place in (path, path.parent):
        if runs := [str(config.parent) for config in place.glob(f"*/{CONFIG}")]:
            return nearest(str(path), runs)
    return ""
