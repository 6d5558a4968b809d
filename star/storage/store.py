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
from collections.abc import Callable, Mapping
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
from star.storage.shared_directory import SharedDirectory

EVALUATIONS, WEIGHTS = "evaluations", "weights"
FINAL = (Status.OK, Status.DIVERGED)  # nobody gets further than this


def canonical_text(value: Any) -> str:
    """Return a text of plain values and dataclasses, the same for equal values whatever the order of their fields.

    Fields at their default are left out, so that a new field with a default changes no text.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


class Store(SharedDirectory):
    """The store at `path`, for one kind of training; `context` is everything that this depends on besides the genome
    and its seed, as `canonical_text`.
    """

    def __init__(self, path: str | os.PathLike[str], context: str, note: Callable[[str], None]) -> None:
        super().__init__(path, note)
        self._context = context

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
