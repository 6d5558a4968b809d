"""Compressed files as streams, read to the end of their last frame or member."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from io import BufferedIOBase, BufferedReader, RawIOBase

import pyarrow as pa

from star.data.readers import PIECE, Open
from star.errors import UserError


def _open_gzip(file: BufferedReader) -> gzip.GzipFile:
    return gzip.GzipFile(fileobj=file)


def _open_zstd(file: BufferedReader) -> pa.NativeFile:
    return pa.CompressedInputStream(file, "zstd")  # the standard library has none before Python 3.14


# By suffix. Each of them reads several frames or members one after the other.
DECODERS: dict[str, Callable[[BufferedReader], BufferedIOBase | pa.NativeFile]] = {
    ".bz2": bz2.BZ2File,
    ".gz": _open_gzip,
    ".xz": lzma.LZMAFile,
    ".zst": _open_zstd,
}
UNSOUND = (pa.ArrowException, OSError, EOFError, zlib.error, lzma.LZMAError)  # what damaged files raise


def decompress(open: Open, name: str, suffix: str) -> "Decompressed":
    """Open a compressed file of this name and suffix."""
    return Decompressed(BufferedReader(open(), PIECE), name, suffix)  # large reads: of a remote file each is a request


class Decompressed(RawIOBase):
    """The content of a compressed file, which only goes forward. Raises UserError if the file is cut off or damaged."""

    def __init__(self, file: BufferedReader, name: str, suffix: str) -> None:
        self._name, self._suffix = name, suffix
        self._file, self._content = file, DECODERS[suffix](file)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        try:
            return self._content.readinto(buffer)
        except UNSOUND as error:
            said = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f"{self._name} is not a sound {self._suffix} file: {said}") from error

    def close(self) -> None:
        if not self.closed:
            self._content.close()
            self._file.close()
        super().close()
