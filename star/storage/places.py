"""Which directories hold a run, which can become one, and which run a person may have meant by another name."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from star.errors import UserError, disk_errors_reported, nearest

CONFIG, MADE_WITH = "run.toml", "made_with.json"
TRAIN_CONFIG = "train.toml"  # of a training
LOCK = ".lock"
TEXT = "text"  # the folder of tokens in that of a run or a training
MODEL = "model"  # the folder of the exported model in that of a training
WEIGHTS_FILE = "model.safetensors"  # of an exported model, or a checkpoint
# All that a killed process can leave of a run that has not begun.
UNFINISHED = {LOCK, MADE_WITH, f".{CONFIG}.tmp", f".{MADE_WITH}.tmp", TEXT, f".{TEXT}.tmp"}


@contextmanager
def claimed_directory(wanted: Path) -> Iterator[Path]:
    """Make a directory that no other process has: `wanted`, or with -2, -3, ... after its name if that is taken.

    It is deleted again on the way out if it is still empty.
    """
    with disk_errors_reported(f"make the directory {wanted}"):
        parent_is_new = not wanted.parent.exists()
        wanted.parent.mkdir(parents=True, exist_ok=True)
        names = (wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}") for number in count(1))
        path = next(path for path in names if _make_new(path))
    try:
        yield path
    finally:
        with suppress(OSError):  # not empty, which is as it should be
            path.rmdir()
            if parent_is_new:
                wanted.parent.rmdir()


def refuse_foreign(path: Path) -> None:
    """Raise UserError if there is no run."""
    with disk_errors_reported(f"read {path}"):
        if (path / CONFIG).is_file():
            return
        what = f"has no {CONFIG}" if path.is_dir() else "does not exist"
        if path.is_file():
            what = "is a file, not the directory of a run"
        raise UserError(f"{path} is not a run: it {what}{_hint(path)}")


def refuse_occupied(path: Path) -> None:
    """Raise UserError if the directory holds a run, or anything else, or could not be made."""
    refuse_undecodable(str(path))
    with disk_errors_reported(f"make a run of {path}"):
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


def refuse_undecodable(path: str) -> None:
    """Raise UserError if a path is not UTF-8: the files of a run could not name it."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UserError(
            f"the path {os.fsencode(path)!r} is not UTF-8: rename it, because a run records its paths"
        ) from None


def _make_new(path: Path) -> bool:
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True


def _hint(path: Path) -> str:
    if (path.parent / CONFIG).is_file():
        return f"; did you mean {str(path.parent)!r}?"
    for place in (path, path.parent):
        if runs := [str(config.parent) for config in place.glob(f"*/{CONFIG}")]:
            return nearest(str(path), runs)
    return ""
