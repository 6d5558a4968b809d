"""Atomic writes, checksums inside files, and a lock for one writer at a time.

A sealed file holds, inside its own format, a SHA-256 over all its other bytes. So one flipped bit or a missing end is
noticed before any parser sees the file, and any other program can still open it.
"""

import fcntl
import os
import shutil
from hashlib import sha256
from pathlib import Path

from star.errors import UserError, disk_errors_reported

MARK = b"star-sha256:"
BLANK = b"0" * 64
BLANK_SEAL = (MARK + BLANK).decode()  # put this into a file's metadata, then seal the file


class Torn(Exception):
    """A file whose content is not what was written."""


def seal(data: bytes) -> bytes:
    """Return `data` with its last blank seal filled in."""
    start = data.rindex(MARK + BLANK) + len(MARK)
    return b"".join((data[:start], _digest(data, start), data[start + len(BLANK) :]))


def check_seal(data: bytes) -> None:
    """Raise Torn unless every byte of `data` is as it was when it was sealed."""
    start = data.rfind(MARK) + len(MARK)
    if start < len(MARK) or data[start : start + len(BLANK)] != _digest(data, start):
        raise Torn("its checksum does not match")


def _digest(data: bytes, start: int) -> bytes:
    view = memoryview(data)
    digest = sha256(view[:start])
    digest.update(BLANK)
    digest.update(view[start + len(BLANK) :])
    return digest.hexdigest().encode()


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` by `data`. A crash or a full disk leaves what was there before; the latter raises UserError."""
    temporary = path.with_name(f".{path.name}.tmp")
    with disk_errors_reported(f"write {path}"):
        make_directory(path.parent)
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def make_directory(path: Path) -> None:
    """Make `path` and its missing parents, so that they are still there after a power failure."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)


def remove_temporaries(directory: Path) -> None:
    """Delete what a killed `write_atomic` left behind."""
    for path in directory.glob(".*.tmp"):
        remove(path)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def lock(path: Path) -> int:
    """Lock the file `path` for this process until the returned descriptor is closed or the process dies.

    UserError with the owner's process id if someone holds it.
    """
    with disk_errors_reported(f"lock {path}"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.truncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise UserError(f"{path.parent} is in use by process {owner}; let it end first") from None
        except OSError:
            os.close(descriptor)
            raise
    return descriptor


def sync_directory(path: Path) -> None:
    """Make sure that the names in a directory survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
