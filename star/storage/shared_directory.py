"""A directory of files that several processes read and write without locks, because anything in it can be made again.

Files are written under a name of their own in `new/` and renamed into place.
"""

import os
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

NEW = "new"
IGNORED = ".gitignore"
UNFINISHED = re.compile(r"[0-9a-f]{64}\.\d+\.[0-9a-f]{8}")
STALE_SECONDS = 3600.0  # after which a file that is still being written belongs to a process that was killed


class SharedDirectory:
    """Reads and writes whole files below `path`, which need not exist. Files are named by 64 hexadecimal digits.

    Args:
        path: the directory.
        note: receives one sentence for each file that cannot be used, and one if the directory cannot be written; it is
            still read then.
    """

    def __init__(self, path: str | os.PathLike[str], note: Callable[[str], None]) -> None:
        self.path = Path(path)
        self._note = note
        self._told: set[Path] = set()
        self._is_writable = True
        self._sweep()

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

    def _set_aside(self, path: Path) -> None:
        with suppress(OSError):  # as above
            os.replace(path, path.with_name(f"{path.name}.torn"))

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
