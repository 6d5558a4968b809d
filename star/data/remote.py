"""Files on a filesystem that pyarrow reaches by a URI: their list, and a stream that survives lost connections.

Credentials and endpoints are pyarrow's affair: they come from the environment or from the URI itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import SEEK_CUR, SEEK_SET, RawIOBase
from pathlib import Path
from time import sleep

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, LocalFileSystem

from star.data.sources import called
from star.errors import UserError, nearest

SCHEMES = ("abfs", "abfss", "file", "gcs", "gs", "hdfs", "s3", "viewfs")
WAITS = (0.1, 0.5, 2.5)  # seconds before each further attempt at a read that failed


@dataclass(frozen=True)
class Source:
    """File or folder: `path` is its name on its filesystem, `name` its name in messages, `identity` is unique."""

    name: str
    identity: str
    path: str
    filesystem: FileSystem
    info: FileInfo

    @property
    def is_folder(self) -> bool:
        return self.info.type == FileType.Directory

    def files(self) -> list[FileInfo]:
        """Return every file of the folder and its subfolders, or the one file."""
        if not self.is_folder:
            return [self.info]
        try:
            found = self.filesystem.get_file_info(FileSelector(self.path, recursive=True))
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(self.name, error) from error
        return [info for info in found if info.type == FileType.File]

    def key(self, path: str) -> str:
        """Return the path of a listed file relative to this folder."""
        assert path.startswith(self.path), (path, self.path)
        return path[len(self.path) :].strip("/")


def find(uri: str) -> Path | Source:
    """Return the file or directory at a URI, or a path if that is this machine. Raise UserError if there is none or it
    cannot be read.
    """
    name = called(uri)
    scheme = uri.partition("://")[0]
    if scheme not in SCHEMES:
        raise UserError(f"unknown scheme {scheme!r} of corpus {name}{nearest(scheme, SCHEMES)}")
    try:
        filesystem, path = FileSystem.from_uri(uri)
        if isinstance(filesystem, LocalFileSystem):
            return Path(path)
        info = filesystem.get_file_info(path) if path else None
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise _unreadable(name, error, uri) from error
    if info is None:
        raise UserError(f"corpus {name} names no bucket")
    if info.type == FileType.NotFound:
        raise UserError(f"corpus {name} does not exist")
    # One path on two servers is two files; which server it is, the query says.
    return Source(name.rstrip("/"), f"{scheme}?{uri.partition('?')[2]}", path, filesystem, info)


def _unreadable(name: str, error: Exception, uri: str = "", attempts: int = 1) -> UserError:
    """Return an error with the first line of pyarrow's message, without secrets that it may repeat."""
    said = (str(error) or type(error).__name__).splitlines()[0]
    if uri:
        said = said.replace(uri, name)
    tried = f" ({attempts} attempts)" if attempts > 1 else ""
    return UserError(f"cannot read {name}: {said}{tried}")


class Stream(RawIOBase):
    """Remote file, read in pieces. A piece that fails is requested again on a new connection, at the same position.

    Each read makes at most 1 + len(WAITS) attempts, then raises UserError, as does a file that cannot be opened.
    """

    def __init__(self, open: Callable[[], pa.NativeFile], name: str) -> None:
        self._open = open
        self._name = name
        self._place = 0
        try:
            file = open()
            self._size = file.size()
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(name, error) from error
        self._file: pa.NativeFile | None = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        self._place = offset + {SEEK_SET: 0, SEEK_CUR: self._place}.get(whence, self._size)
        return self._place

    def readinto(self, buffer) -> int:
        wanted = min(len(buffer), self._size - self._place)
        if wanted <= 0:
            return 0
        piece = self._read(wanted)
        buffer[: len(piece)] = piece
        self._place += len(piece)
        return len(piece)

    def _read(self, size: int) -> bytes:
        failures = 0
        while True:
            try:
                return self._attempt(size)
            except (pa.ArrowException, OSError) as error:
                self._file = None
                failures += 1
                if failures > len(WAITS):
                    raise _unreadable(self._name, error, attempts=failures) from error
                sleep(WAITS[failures - 1])

    def _attempt(self, size: int) -> bytes:
        file = self._file = self._file or self._open()
        piece = file.read_at(size, self._place)
        if len(piece) < size:
            raise OSError(f"it ends at byte {self._place + len(piece)} of {self._size}")
        return piece

    def close(self) -> None:
        self._file = None
        super().close()
