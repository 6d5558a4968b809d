"""A directory of sealed files that one process at a time may write."""

import os
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

from star.errors import UserError
from star.storage import files
from star.storage.files import Torn
from star.storage.places import LOCK

Record = TypeVar("Record")


class SealedDirectory:
    """Reads and writes sealed files below `path`. A damaged file reads as None and is named in `warnings`; the process
    that holds the lock also renames it to NAME.torn."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.warnings: list[str] = []  # one sentence for each damaged file
        self._returned = 0  # of these, by `new_warnings`
        self._release: weakref.finalize | None = None

    @property
    def is_locked(self) -> bool:
        """Whether this object holds the lock, so that it may write."""
        return self._release is not None

    def new_warnings(self) -> list[str]:
        """Return the warnings since the last call."""
        new = self.warnings[self._returned :]
        self._returned = len(self.warnings)
        return new

    def close(self) -> None:
        """Let other processes write."""
        if self._release:
            self._release()
        self._release = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _lock(self) -> None:
        self._release = weakref.finalize(self, os.close, files.lock(self.path / LOCK))

    def _write(self, path: Path, data: bytes) -> None:
        assert self.is_locked, "open the run with resume() to change it"
        files.write_atomic(path, data)

    def _read(self, path: Path, unpack: Callable[[bytes], Record]) -> Record | None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        try:
            return unpack(data)
        except Torn as torn:
            self._set_aside(path, torn)
            return None
        except UserError as error:
            raise UserError(f"cannot use {path}: {error}") from error

    def _set_aside(self, path: Path, torn: Torn) -> None:
        fate = "ignored"
        if self.is_locked:
            fate = f"set aside as {path.name}.torn"
            files.remove(path.with_name(f"{path.name}.torn"))
            os.replace(path, path.with_name(f"{path.name}.torn"))
        warning = f"{path} is torn: {torn}; {fate}"
        if warning not in self.warnings:
            self.warnings.append(warning)
