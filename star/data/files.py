"""Finding the files of a corpus: on this machine, or on any filesystem that pyarrow reaches by a URI."""

import hashlib
import os
import sysconfig
from collections.abc import Iterator
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import NamedTuple

from star.data import remote
from star.data.readers import READERS, Open, Reader, read_library_module
from star.errors import UserError, nearest

STDLIB = "stdlib"
NOT_LIBRARY = frozenset(
    ("site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__")
    + ("encodings", "pydoc_data")  # generated tables, one of them as long as half of the validation text
)


class File(NamedTuple):
    key: str  # what its place in order and split is derived from: its name relative to the source
    name: str  # what sentences call it
    identity: str  # by which a file that two sources name is known
    read: Reader
    open: Open


def find_files(sources: tuple[str, ...]) -> list[File]:
    """Every file of the sources once, in an order that mixes folders: by the hash of the relative path."""
    assert sources, "a corpus needs a source"
    files: dict[str, File] = {}
    for source in sources:
        for file in _library() if source == STDLIB else _source_files(source):
            files.setdefault(file.identity, file)
    return sorted(files.values(), key=lambda file: (hashlib.sha256(os.fsencode(file.key)).digest(), Path(file.name)))


def called(source: str) -> str:
    """The source as sentences name it: of a URI neither the password nor the query, which may hold another."""
    return remote.called(source) if remote.is_uri(source) else source


def _source_files(source: str) -> list[File]:
    if not remote.is_uri(source):
        return _local_files(Path(source))
    place = remote.find(source)
    return _local_files(place) if isinstance(place, Path) else _remote_files(place)


def _library() -> list[File]:
    root = Path(sysconfig.get_path("stdlib"))
    found = [
        _local(path, path.relative_to(root).as_posix(), read_library_module)
        for path in _walk(root, NOT_LIBRARY)
        if path.suffix == ".py"
    ]
    if not found:
        raise UserError(f"this interpreter keeps no source text in {root}: name a corpus of your own")
    return found


def _local(path: Path, key: str, read: Reader) -> File:
    return File(key, str(path), str(path.resolve()), read, partial(path.open, "rb"))


def _local_files(source: Path) -> list[File]:
    if not source.exists():
        raise UserError(_missing(source))
    if not source.is_dir():
        read = _reader(source.name, str(source))
        if source.is_file() and not source.stat().st_size:
            raise UserError(f"corpus {source} is empty")
        return [_local(source, source.name, read)]
    found = [
        _local(path, path.relative_to(source).as_posix(), READERS[path.suffix.lower()])
        for path in _walk(source)
        if path.suffix.lower() in READERS and path.stat().st_size
    ]
    return _some(found, str(source))


def _remote_files(source: remote.Source) -> list[File]:
    infos = source.files()
    if not source.is_folder:
        read = _reader(infos[0].base_name, source.name)
        if infos[0].size == 0:
            raise UserError(f"corpus {source.name} is empty")
        return [_remote(source, infos[0].path, infos[0].base_name, read)]
    found = []
    for info in infos:
        key = source.key(info.path)
        suffix = Path(key).suffix.lower()
        if suffix in READERS and info.size != 0 and not any(part.startswith(".") for part in key.split("/")):
            found.append(_remote(source, info.path, key, READERS[suffix]))
    return _some(found, source.name)


def _remote(source: remote.Source, path: str, key: str, read: Reader) -> File:
    name = f"{source.name}/{key}" if source.is_folder else source.name
    open_again = partial(source.filesystem.open_input_file, path)
    return File(key, name, f"{source.identity} {path}", read, partial(remote.Stream, open_again, name))


def _reader(file: str, source: str) -> Reader:
    suffix = Path(file).suffix.lower()
    if suffix not in READERS:
        raise UserError(f"unknown suffix {suffix!r} of corpus {source}{nearest(suffix, READERS)}")
    return READERS[suffix]


def _some(found: list[File], source: str) -> list[File]:
    if not found:
        raise UserError(f"corpus {source} holds no {', '.join(READERS)} file with anything in it")
    return found


def _walk(root: Path, skip: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Regular files below `root`, without hidden ones and without folders named in `skip`."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in skip and not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file():
                yield path


def _missing(source: Path) -> str:
    """Names the first part of the path that is not there, and the name beside it that is most like it."""
    part = source
    while not part.parent.exists():
        part = part.parent
    beside = [path.name for path in part.parent.iterdir()] if part.parent.is_dir() else []
    close = get_close_matches(part.name, beside, n=1)
    hint = f"; did you mean {str(part.with_name(close[0]))!r}?" if close else ""
    return f"corpus {source} does not exist{hint}"
