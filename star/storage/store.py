"""Evaluations that the runs of one project share, so that nothing is trained twice.

    .gitignore                      of everything in here
    evaluations/3f/KEY.parquet      one evaluation, in the format of a run's own
    weights/3f/KEY.safetensors      trained weights, of architectures whose weights some run kept
    new/                            files that are being written

KEY = sha256(what a training depends on, the canonical genome, its seed), in hexadecimal digits. A store holds nothing
that cannot be made again: delete it, or any part of it, whenever you like.

Runs share it without locks, because files are renamed into place and any two for one key hold the same. A file that is
damaged, or not what its name says, is reported once and trained again.
"""

import json
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from star.architecture.genome import to_text
from star.errors import UserError
from star.records import Evaluation, Recorded, Status, Task
from star.storage import tables
from star.storage.arrays import unpack_arrays
from star.storage.files import Torn, write_atomic

EVALUATIONS, WEIGHTS, NEW = "evaluations", "weights", "new"
IGNORED = ".gitignore"
FINAL = (Status.OK, Status.DIVERGED)  # nobody gets further than this
UNFINISHED = re.compile(r"[0-9a-f]{64}\.\d+\.[0-9a-f]{8}")
STALE_SECONDS = 3600.0  # after which a file that is still being written belongs to a process that was killed


def canonical_text(value: Any) -> str:
    """Return a text of plain values and dataclasses, the same for equal values whatever the order of their fields.

    Fields at their default are left out, so that a new field with a default changes no text.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


class Store:
    """The store at `path`, which need not exist, for one kind of training.

    Args:
        path: the directory.
        context: everything that a training depends on besides the genome and its seed, as `canonical_text`.
        note: receives one sentence for each file that cannot be used, and one if the store cannot be written; it is
            still read then.
    """

    def __init__(self, path: str | os.PathLike[str], context: str, note: Callable[[str], None]) -> None:
        self.path = Path(path)
        self._context = context
        self._note = note
        self._told: set[Path] = set()
        self._is_writable = True
        self._sweep()

    def find(self, task: Task) -> Evaluation | None:
        """Return what was stored for that genome and seed; None if nothing was, or nothing that can be used."""
        path = self._path(EVALUATIONS, task, "parquet")
        data = self._read(path)
        if data is None:
            return None
        try:
            ((found, evaluation, _),) = tables.unpack_evaluations(data)
            if found != task:
                raise Torn("it holds another evaluation than its name says")
        except (Torn, UserError, ValueError) as error:  # ValueError: not one evaluation
            self._tell(path, str(error))
            return None
        return evaluation

    def keep(self, task: Task, evaluation: Evaluation) -> None:
        """Store an evaluation, unless one that was trained as far is there already."""
        known = self.find(task) if self._is_writable else None
        if known is None or _reach(known) < _reach(evaluation):
            self._write(self._path(EVALUATIONS, task, "parquet"), tables.pack_evaluations([Recorded(task, evaluation)]))

    def keep_weights(self, task: Task, source: Path) -> None:
        """Store the file of trained weights at `source`, by a hard link where that is possible."""
        path = self._path(WEIGHTS, task, "safetensors")
        if not self._is_writable or path.exists():
            return
        try:
            self._make(path.parent)
            os.link(source, path)
        except FileExistsError:  # another run was faster, with the same weights
            pass
        except OSError:  # another file system, or one without hard links
            self._write(path, source.read_bytes())

    def take_weights(self, task: Task, target: Path) -> bool:
        """Put the stored weights at `target`, by a hard link where possible. Return False if none can be used."""
        path = self._path(WEIGHTS, task, "safetensors")
        data = self._read(path)
        if data is None:
            return False
        try:
            unpack_arrays(data)
        except Torn as torn:
            self._tell(path, str(torn))
            self._remove(path)  # or nothing whole would ever take its place
            return False
        temporary = target.with_name(f".{target.name}.tmp")
        try:
            target.parent.mkdir(exist_ok=True)
            temporary.unlink(missing_ok=True)
            os.link(path, temporary)
            os.replace(temporary, target)
            temporary.unlink(missing_ok=True)  # which stays if both are one file already
        except OSError:
            write_atomic(target, data)
        return True

    def _path(self, folder: str, task: Task, suffix: str) -> Path:
        key = sha256(f"{self._context}\n{to_text(task.genome)}\n{task.seed}".encode()).hexdigest()
        return self.path / folder / key[:2] / f"{key}.{suffix}"

    def _read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._tell(path, error.strerror or str(error))
            return None

    def _write(self, path: Path, data: bytes) -> None:
        if not self._is_writable:
            return
        # Under a name that no other process takes, and not synced: the seal tells what a power failure tore.
        temporary = self.path / NEW / f"{path.stem}.{os.getpid()}.{secrets.token_hex(4)}"
        try:
            self._make(temporary.parent)
            self._make(path.parent)
            temporary.write_bytes(data)
            os.replace(temporary, path)
        except OSError as error:
            self._remove(temporary)
            self._is_writable = False
            self._note(f"cannot write the store {self.path}: {error.strerror or error}; this run adds nothing to it")

    def _make(self, folder: Path) -> None:
        if folder.is_dir():
            return
        is_new = not self.path.is_dir()
        folder.mkdir(parents=True, exist_ok=True)
        if is_new:  # a directory that was there may be somebody's repository
            (self.path / IGNORED).write_text("*\n")

    def _remove(self, path: Path) -> None:
        with suppress(OSError):  # it was not there, or is not ours to remove: it will be met again, and nothing else
            path.unlink()

    def _sweep(self) -> None:
        """Delete what killed processes left half written."""
        with suppress(OSError):  # there is no store yet, it cannot be written, or another process sweeps too
            for path in (self.path / NEW).iterdir():
                if UNFINISHED.fullmatch(path.name) and time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink()

    def _tell(self, path: Path, reason: str) -> None:
        if path not in self._told:
            self._told.add(path)
            self._note(f"{path} cannot be used: {reason}; it is made again")


def _reach(evaluation: Evaluation) -> tuple[bool, int]:
    return evaluation.status in FINAL, len(evaluation.rungs)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        # MISSING, of a field without a default, equals no value.
        known = {one.name: getattr(value, one.name) for one in fields(value)}
        return {one.name: _plain(known[one.name]) for one in fields(value) if known[one.name] != one.default}
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value
