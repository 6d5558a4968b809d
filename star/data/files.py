"""Finding the files of a corpus: on this machine, or on any filesystem that pyarrow reaches by a URI."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import NamedTuple

from star.data import remote
from star.data.builtin import BUILT_IN, PROSE, STDLIB, library_folder, prose_folder
from star.data.readers import READERS, Open, Reader, read_library_module
from star.data.report import describe
from star.errors import UserError, nearest

NOT_LIBRARY = frozenset(
    ("site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__")
    + ("encodings", "pydoc_data")  # generated tables, one of them as long as half of the validation text
)
# Names of texts about a data set, which are read only where there is nothing else.
ABOUT = re.compile(r"(readme|licen[cs]e|copying|data(set)?[-_ ]?card)(?![a-z])[^/]*$", re.IGNORECASE)
ABOUT_SUFFIXES = ("", ".md", ".rst", ".text", ".txt")
HIDDEN = re.compile(r"(.*?/)?\.[^/]*")  # what is hidden of a path, a folder or a file
COMPRESSED = (".bz2", ".gz", ".xz", ".zip", ".zst")


class File(NamedTuple):
    key: str  # what its place in order and split is derived from: its name relative to the source
    name: str  # what sentences call it
    identity: str  # by which a file that two sources name is known
    read: Reader
    open: Open


class Entry(NamedTuple):
    """Regular file of a directory: its name relative to the directory, its size, and the file for a given reader."""

    key: str
    num_bytes: int | None
    make: Callable[[Reader], File]


Found = tuple[list[File], Counter[str]]  # what to read, and how much was left out for each reason


def find_files(sources: tuple[str, ...]) -> Found:
    """Find every file of the sources once, in the order of the hash of the relative path, which mixes folders."""
    assert sources, "a corpus needs a source"
    files: dict[str, File] = {}
    left_out = Counter[str]()
    for source in sources:
        if readable(source) != source:
            raise UserError(f"the name of the corpus is not UTF-8: {readable(source)}; rename it")
        found, rest = _source_files(source)
        left_out += rest
        for file in found:
            files.setdefault(file.identity, file)
    in_order = sorted(
        files.values(), key=lambda file: (hashlib.sha256(os.fsencode(file.key)).digest(), Path(file.name))
    )
    return in_order, left_out


def called(source: str) -> str:
    """Return the name of a source for messages: a URI without its password and query, which may be secret."""
    return remote.called(source) if remote.is_uri(source) else source


def _source_files(source: str) -> Found:
    if source == STDLIB:
        return _library(), Counter()
    if source == PROSE:
        return _local_files(prose_folder())
    if not remote.is_uri(source):
        return _local_files(Path(source))
    place = remote.find(source)
    return _local_files(place) if isinstance(place, Path) else _remote_files(place)


def _choose(entries: list[Entry], left_out: Counter[str], source: str) -> Found:
    """Return the data files of a directory and the number of its other files by reason. Raise UserError if there are
    none.
    """
    whole = [entry for entry in entries if entry.num_bytes != 0]
    left_out["empty"] = len(entries) - len(whole)
    data = [entry for entry in whole if not _is_about(entry.key)]
    if data:
        left_out["README or licence"] = len(whole) - len(data)
    files = []
    for entry in data or whole:
        if (suffix := Path(entry.key).suffix.lower()) in READERS:
            files.append(entry.make(READERS[suffix]))
        else:
            left_out[_describe_kind(entry.key)] += 1
    left_out = +left_out
    if not files:
        rest = f"; left out: {describe(left_out)}" if left_out else ""
        raise UserError(f"corpus {source} holds no {', '.join(READERS)} file with anything in it{rest}")
    return files, left_out


def _is_about(key: str) -> bool:
    name = key.rpartition("/")[2]
    return bool(ABOUT.match(name)) and Path(name).suffix.lower() in ABOUT_SUFFIXES


def _describe_kind(key: str) -> str:
    ending = Path(readable(key).lower()).suffixes
    kind = "".join(ending[-2:] if ending and ending[-1] in COMPRESSED else ending[-1:])
    return f"{kind} (a kind that is not read)" if kind else "without a suffix"


def readable(name: str) -> str:
    """Return a name with escapes in place of what is not UTF-8."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _library() -> list[File]:
    root = library_folder()
    found = [
        _local(path, path.relative_to(root).as_posix(), read_library_module)
        for path in _walk(root, Counter(), NOT_LIBRARY)
        if path.suffix == ".py"
    ]
    if not found:
        raise UserError(f"this interpreter keeps no source text in {root}: name a corpus of your own")
    return found


def _local(path: Path, key: str, read: Reader) -> File:
    return File(key, readable(str(path)), str(path.resolve()), read, partial(path.open, "rb"))


def _local_files(source: Path) -> Found:
    if not source.exists():
        raise UserError(_missing(source))
    if not source.is_dir():
        read = _reader(source.name, str(source))
        if source.is_file() and not source.stat().st_size:
            raise UserError(f"corpus {source} is empty")
        return [_local(source, source.name, read)], Counter()
    left_out, entries = Counter[str](), []
    for path in _walk(source, left_out):
        key = path.relative_to(source).as_posix()
        entries.append(Entry(key, path.stat().st_size, partial(_local, path, key)))
    return _choose(entries, left_out, str(source))


def _remote_files(source: remote.Source) -> Found:
    infos = source.files()
    if not source.is_folder:
        read = _reader(infos[0].base_name, source.name)
        if infos[0].size == 0:
            raise UserError(f"corpus {source.name} is empty")
        return [_remote(source, infos[0].path, infos[0].base_name, read)], Counter()
    hidden, entries = set(), []
    for info in infos:
        key = source.key(info.path)
        if match := HIDDEN.match(key):
            hidden.add(match[0])
        elif key:
            entries.append(Entry(key, info.size, partial(_remote, source, info.path, key)))
    return _choose(entries, Counter(hidden=len(hidden)), source.name)


def _remote(source: remote.Source, path: str, key: str, read: Reader) -> File:
    name = f"{source.name}/{key}" if source.is_folder else source.name
    open_again = partial(source.filesystem.open_input_file, path)
    return File(key, name, f"{source.identity} {path}", read, partial(remote.Stream, open_again, name))


def _reader(file: str, source: str) -> Reader:
    suffix = Path(file).suffix.lower()
    if suffix not in READERS:
        raise UserError(f"unknown suffix {suffix!r} of corpus {source}{nearest(suffix, READERS)}")
    return READERS[suffix]


def _walk(root: Path, left_out: Counter[str], skip: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Yield the regular files below `root`, without folders named in `skip`; `left_out` counts everything else."""

    def deny(error: OSError) -> None:
        left_out["unreadable as a folder"] += 1

    for folder, folders, names in os.walk(root, onerror=deny):
        hidden = {name for name in folders + names if name.startswith(".")}
        left_out["hidden"] += len(hidden)
        folders[:] = [name for name in folders if name not in skip and name not in hidden]
        for path in (Path(folder, name) for name in names if name not in hidden):
            if path.is_file():
                yield path
            else:
                left_out["no regular file"] += 1


def _missing(source: Path) -> str:
    """Describe the first part of a path that does not exist, and the most similar name beside it."""
    part = source
    while not part.parent.exists():
        part = part.parent
    beside = [readable(path.name) for path in part.parent.iterdir()] if part.parent.is_dir() else []
    close = [str(part.with_name(name)) for name in get_close_matches(part.name, beside, n=1)]
    close += get_close_matches(source.name, BUILT_IN, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"corpus {source} does not exist{hint}"
