"""Finding the files of a corpus: on this machine, or on any filesystem that pyarrow reaches by a URI."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from star.data import remote
from star.data.builtin import BUILT_IN, PROSE, STDLIB, library_folder, prose_folder
from star.data.formats import FORMATS, LIBRARY_MODULE, Format, find_format, find_suffix
from star.data.listing import Entry, File, Found, choose, readable
from star.data.sources import is_uri
from star.errors import UserError, nearest

NOT_LIBRARY = frozenset(
    ("site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__")
    + ("encodings", "pydoc_data")  # generated tables, one of them as long as half of the validation text
)
HIDDEN = re.compile(r"(.*?/)?\.[^/]*")  # what is hidden of a path, a folder or a file


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


def source_exists(name: str) -> bool:
    """Return whether a name is that of a file or directory, here or at a URI."""
    if not is_uri(name):
        return Path(name).exists()
    try:
        remote.find(name)
    except UserError:
        return False
    return True


def _source_files(source: str) -> Found:
    if source == STDLIB:
        return _library(), Counter()
    if source == PROSE:
        files, left_out = _local_files(prose_folder())
        return [file._replace(is_built_in=True) for file in files], left_out
    if not is_uri(source):
        return _local_files(Path(source))
    place = remote.find(source)
    return _local_files(place) if isinstance(place, Path) else _remote_files(place)


def _library() -> list[File]:
    root = library_folder()
    found = [
        _local(path, path.relative_to(root).as_posix(), LIBRARY_MODULE)._replace(is_built_in=True)
        for path in _walk(root, Counter(), NOT_LIBRARY)
        if path.suffix == ".py"
    ]
    if not found:
        raise UserError(f"this interpreter keeps no source text in {root}: name a corpus of your own")
    return found


def _local(path: Path, key: str, format: Format) -> File:
    return File(key, readable(str(path)), str(path.resolve()), format, partial(path.open, "rb"))


def _local_files(source: Path) -> Found:
    if not source.exists():
        raise UserError(_missing(source))
    if not source.is_dir():
        format = _find_format(source.name, str(source))
        if source.is_file() and not source.stat().st_size:
            raise UserError(f"corpus {source} is empty")
        return [_local(source, source.name, format)], Counter()
    left_out, entries = Counter[str](), []
    for path in _walk(source, left_out):
        key = path.relative_to(source).as_posix()
        entries.append(Entry(key, path.stat().st_size, partial(path.open, "rb"), partial(_local, path, key)))
    return choose(entries, left_out, str(source))


def _remote_files(source: remote.Source) -> Found:
    infos = source.files()
    if not source.is_folder:
        format = _find_format(infos[0].base_name, source.name)
        if infos[0].size == 0:
            raise UserError(f"corpus {source.name} is empty")
        return [_remote(source, infos[0].path, infos[0].base_name, format)], Counter()
    hidden, entries = set(), []
    for info in infos:
        key = source.key(info.path)
        if match := HIDDEN.match(key):
            hidden.add(match[0])
        elif key:
            make = partial(_remote, source, info.path, key)
            entries.append(Entry(key, info.size, _opener(source, info.path, f"{source.name}/{key}"), make))
    return choose(entries, Counter(hidden=len(hidden)), source.name)


def _remote(source: remote.Source, path: str, key: str, format: Format) -> File:
    name = f"{source.name}/{key}" if source.is_folder else source.name
    return File(key, name, f"{source.identity} {path}", format, _opener(source, path, name))


def _opener(source: remote.Source, path: str, name: str) -> partial[remote.Stream]:
    return partial(remote.Stream, partial(source.filesystem.open_input_file, path), name)


def _find_format(file: str, source: str) -> Format:
    if found := find_format(file):
        return found
    suffix = find_suffix(file)
    raise UserError(f"unknown suffix {suffix!r} of corpus {source}{nearest(suffix, FORMATS)}")


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
