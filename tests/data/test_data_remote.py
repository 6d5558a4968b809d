"""Corpora behind a URI: the same corpus as on a disk, what is asked for, what breaks on the way, each mistake."""

import io
from collections.abc import Iterator
from pathlib import Path
from random import Random
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st
from pyarrow.fs import FSSpecHandler, PyFileSystem
from support.corpora import compress, to_lines
from support.s3 import Server, serving

from star.cli.sources import _absolute
from star.data import columns, compression, readers, remote
from star.data.corpus import Corpus, load_corpus
from star.errors import UserError

ALL = 1 << 30
MORE = ("more.jsonl.zst", "more.txt.gz", "more.arrow")
DOCUMENTS = [f"document {i} says {'grüezi ' * (i % 7)}" for i in range(57)]


@pytest.fixture(scope="module")
def started() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(started, monkeypatch) -> Server:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "anyone")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    started.buckets["corpora"].clear()
    started.requests.clear()
    started.breaks.clear()
    return started


@pytest.fixture
def slept(monkeypatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(remote, "sleep", waits.append)
    return waits


def load(*sources: str | Path, limit: int = ALL) -> Corpus:
    return load_corpus(tuple(map(str, sources)), limit)


def refusal(*sources: str, limit: int = ALL) -> str:
    with pytest.raises(UserError) as caught:
        load(*sources, limit=limit)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def write_corpus(folder: Path) -> Path:
    """Every format, folders in folders, names that a URI would escape, and what is to be left out."""
    (folder / "a b/ü").mkdir(parents=True)
    (folder / ".git").mkdir()
    for i in range(20):
        (folder / ("a b" if i % 2 else "a b/ü") / f"file {i}+&%20.txt").write_text(f"<{i}> some words\n" * i)
    (folder / "lines.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in DOCUMENTS))
    pq.write_table(pa.table({"text": DOCUMENTS}), folder / "rows.parquet", row_group_size=10)
    for name in (".git/a.txt", "a b/.hidden.txt", "table.csv"):
        (folder / name).write_text("left out")
    return folder


def write_more(folder: Path) -> Path:
    """The same, and compressed files and Arrow."""
    write_corpus(folder)
    noise = Random(0)  # so that no single read of the decompressor holds all of it
    texts = [f"{text} {noise.randbytes(2000).hex()}" for text in DOCUMENTS]
    (folder / "more.jsonl.zst").write_bytes(compress(".zst", [to_lines([text]) for text in texts]))
    (folder / "more.txt.gz").write_bytes(compress(".gz", [f"gz {text}\n".encode() for text in DOCUMENTS]))
    with pa.ipc.new_stream(folder / "more.arrow", pa.schema({"text": pa.string()})) as writer:
        writer.write_table(pa.table({"text": [f"arrow {text}" for text in DOCUMENTS]}), max_chunksize=10)
    return folder


def upload(folder: Path, server: Server, prefix: str) -> None:
    objects = server.buckets["corpora"]
    objects[f"{prefix}/"] = b""  # as consoles do to show a folder
    for path in folder.rglob("*"):
        if path.is_file():
            objects[f"{prefix}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()


# The same corpus


@pytest.mark.parametrize("limit", [ALL, 2000, 100])
def test_a_directory_copied_to_a_bucket_is_the_same_corpus(tmp_path, server, limit):
    folder = write_more(tmp_path / "here")
    upload(folder, server, "some/where")
    here = load(folder, limit=limit)
    assert here.train.size and here.valid.size
    for place in ("corpora/some/where", "corpora/some/where/"):
        there = load(server.uri(place), limit=limit)
        assert there.digest == here.digest
        assert there.name == f"s3://{place}"


@pytest.mark.parametrize("name", ["lines.jsonl", "rows.parquet", "a b/ü/file 18+&%20.txt", *MORE])
def test_one_object_is_the_same_corpus_as_one_file(tmp_path, server, name):
    folder = write_more(tmp_path / "here")
    upload(folder, server, "x")
    assert load(server.uri(f"corpora/x/{quote(name)}")).digest == load(folder / name).digest


def test_a_listing_of_several_pages_is_whole(tmp_path, server):
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(1001):
        (folder / f"{i}.txt").write_text(f"{i}\n")
    upload(folder, server, "many")
    whole = remote.find(server.uri("corpora/many"))
    assert sorted(whole.key(info.path) for info in whole.files()) == sorted(path.name for path in folder.iterdir())


def test_a_file_uri_is_the_path(tmp_path):
    folder = write_corpus(tmp_path / "a b")
    uri = folder.as_uri()
    assert load(uri).digest == load(folder).digest
    assert load(uri, folder, f"{uri}/lines.jsonl").digest == load(folder).digest
    assert refusal(f"{uri}/lines.jsnl").endswith(f"did you mean '{folder}/lines.jsonl'?")


def test_an_object_given_twice_is_read_once_and_buckets_mix_with_disks(tmp_path, server):
    folder = write_corpus(tmp_path / "here")
    upload(folder, server, "x")
    uri = server.uri("corpora/x")
    assert load(uri, server.uri("corpora/x/lines.jsonl"), server.uri("corpora/x/")).digest == load(uri).digest
    path = folder / "lines.jsonl"
    path.write_text(path.read_text().replace("says", "asks"))  # so that the order of two files of one name shows
    both = load(uri, folder)
    assert both.train.size + both.valid.size == 2 * (load(uri).train.size + load(uri).valid.size)
    assert both.digest == load(folder, uri).digest


def test_the_command_line_leaves_uris_alone_and_makes_paths_absolute():
    assert _absolute("s3://bucket/x?scheme=http") == "s3://bucket/x?scheme=http"
    assert [_absolute(name) for name in ("stdlib", "prose")] == ["stdlib", "prose"]
    assert Path(_absolute("x")).is_absolute()


# What is asked for


def test_reading_stops_at_the_limit(server, monkeypatch):
    monkeypatch.setattr(readers, "PIECE", 1000)
    server.buckets["corpora"] |= {f"x/{i}.txt": b"near\n" * 10_000 for i in range(20)}
    load(server.uri("corpora/x"), limit=10_000)
    touched = {request.key for request in server.requests}
    assert len(touched) == 2  # one to train on, one to measure on
    assert server.sent() == 10_000
    assert max(request.size for request in server.requests) == 1000


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_the_far_part_of_an_object_is_never_fetched(server, suffix):
    texts = [f"{i:05}" + "x" * 1000 for i in range(16_000)]
    if suffix == "jsonl":
        content = "".join(f'{{"text": "{text}"}}\n' for text in texts).encode()
    else:
        held = io.BytesIO()
        pq.write_table(pa.table({"text": texts}), held, compression="none", use_dictionary=False)
        content = held.getvalue()
    server.buckets["corpora"][f"a.{suffix}"] = content
    load(server.uri(f"corpora/a.{suffix}"), limit=5000)
    assert server.sent() < len(content) / 2  # though read twice, once for each side


# What breaks on the way


def test_a_connection_that_breaks_twice_is_mended(tmp_path, server):
    folder = write_corpus(tmp_path / "here")
    upload(folder, server, "x")
    server.breaks |= {"x/rows.parquet": 2, "x/lines.jsonl": 2, "x/a b/file 7+&%20.txt": 2}
    assert load(server.uri("corpora/x")).digest == load(folder).digest
    assert not +server.breaks


class Flaky(MemoryFileSystem):
    """After `good` reads that work, so many files fail, each of them until it is opened again."""

    store: dict = {}
    pseudo_dirs = [""]
    cachable = False
    good = 0
    failures = 0

    def _open(self, path, mode="rb", **kwargs):
        file = super()._open(path, mode, **kwargs)
        return _FlakyFile(self, file.getvalue()) if mode == "rb" else file


class _FlakyFile(io.BytesIO):
    def __init__(self, owner: Flaky, content: bytes) -> None:
        super().__init__(content)
        self.owner = owner
        self.dead = False

    def read(self, size: int | None = -1) -> bytes:
        if self.owner.good:
            self.owner.good -= 1
        elif self.owner.failures and not self.dead:
            self.owner.failures -= 1
            self.dead = True
        if self.dead:
            raise OSError("the line is dead\nand so are we")
        return super().read(size)


@pytest.fixture
def flaky(tmp_path, monkeypatch) -> Flaky:
    """Holds the corpus of `write_more` and stands behind every URI."""
    system = Flaky()
    system.store.clear()
    folder = write_more(tmp_path / "here")
    for path in folder.rglob("*"):
        if path.is_file():
            system.pipe_file(f"/x/{path.relative_to(folder).as_posix()}", path.read_bytes())

    class Filesystems:
        @staticmethod
        def from_uri(uri: str) -> tuple[PyFileSystem, str]:
            return PyFileSystem(FSSpecHandler(system)), uri.partition("://")[2]

    monkeypatch.setattr(remote, "FileSystem", Filesystems)
    return system


@pytest.mark.parametrize("name", ["", "lines.jsonl", "rows.parquet", "a b/ü/file 18+&%20.txt", *MORE])
@pytest.mark.parametrize("good", [0, 2, 3])
@pytest.mark.parametrize("failures", [0, 2, 3])
def test_a_read_is_tried_again_where_it_broke(tmp_path, monkeypatch, flaky, slept, name, good, failures):
    for module in (readers, columns, compression):
        monkeypatch.setattr(module, "PIECE", 50)
    flaky.good, flaky.failures = good, failures
    assert load(f"hdfs:///x/{name}").digest == load(tmp_path / "here" / name).digest
    assert slept == list(remote.WAITS[:failures])
    assert flaky.failures == 0


@pytest.mark.parametrize("name", ["lines.jsonl", "rows.parquet", "a b/ü/file 18+&%20.txt", *MORE])
@pytest.mark.parametrize("good", [0, 2])
def test_a_read_that_always_breaks_is_a_sentence_that_names_the_file(monkeypatch, flaky, slept, name, good):
    for module in (readers, columns, compression):
        monkeypatch.setattr(module, "PIECE", 50)
    flaky.good, flaky.failures = good, 1 << 30
    sentence = refusal("hdfs:///x" if good else f"hdfs:///x/{name}")
    assert sentence.startswith("cannot read hdfs:///x/")
    assert good or sentence == f"cannot read hdfs:///x/{name}: the line is dead (4 attempts)"
    assert slept == list(remote.WAITS)
    assert flaky.failures == (1 << 30) - 4


@given(content=st.binary(max_size=300), steps=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 200)), max_size=20))
def test_a_stream_behaves_as_a_file_in_memory(content, steps):
    stream = remote.Stream(lambda: pa.BufferReader(content), "x")
    twin = io.BytesIO(content)
    for whence, number in steps:
        offset = -min(number, len(content)) if whence == io.SEEK_END else number
        assert stream.seek(offset, whence) == twin.seek(offset, whence)
        assert stream.read(number) == twin.read(number)
        assert stream.tell() == twin.tell()


def test_a_file_that_shrinks_while_it_is_read_is_a_sentence(slept):
    stream = remote.Stream(lambda: _Long(b"01234"), "s3://b/a.txt")
    with pytest.raises(UserError, match=r"^cannot read s3://b/a.txt: it ends at byte 5 of 10 \(4 attempts\)$"):
        stream.read(10)


class _Long(pa.BufferReader):
    """Claims ten bytes, whatever it holds."""

    def size(self) -> int:
        return 10


# Mistakes


def test_what_is_missing(server):
    server.buckets["corpora"]["x/a.txt"] = b"text"
    for place in ("nowhere", "nowhere/a.txt", "corpora/y/", "corpora/x/b.txt"):
        assert refusal(server.uri(place)) == f"corpus s3://{place} does not exist"
    assert refusal("s3://") == "corpus s3:// names no bucket"


def test_what_may_not_be_read(server):
    for place, asked in (("closed", "HeadBucket"), ("closed/a.txt", "HeadObject")):
        sentence = refusal(server.uri(place))
        assert sentence.startswith(f"cannot read s3://{place}: ")
        assert "ACCESS_DENIED" in sentence and asked in sentence


def test_an_object_that_may_not_be_read_is_named(server):
    server.buckets["corpora"] |= {"x/a.txt": b"text", "x/locked.txt": b"text"}
    sentence = refusal(server.uri("corpora/x"))
    assert sentence.startswith("cannot read s3://corpora/x/locked.txt: ")
    assert "ACCESS_DENIED" in sentence


def test_a_torn_shard_is_named(server):
    held = io.BytesIO()
    pq.write_table(pa.table({"text": DOCUMENTS}), held)
    torn = {"a.parquet": held.getvalue()[:-100], "a.txt": b"cut \xe2\x98", "a.jsonl": b'{"text": "x"}\n{"te'}
    for name, content in torn.items():
        server.buckets["corpora"] = {"x/good.txt": b"good", f"x/{name}": content}
        assert refusal(server.uri("corpora/x")).startswith(f"s3://corpora/x/{name} ")


def test_unknown_suffix_and_scheme(server):
    server.buckets["corpora"] |= {"table.csv": b"a,b", "table.json": b"{}", "empty.txt": b"", "y/a.txt": b""}
    assert refusal(server.uri("corpora/table.csv")).startswith(
        "unknown suffix '.csv' of corpus s3://corpora/table.csv; "
    )
    assert refusal(server.uri("corpora/table.json")).endswith("; did you mean '.jsonl'?")
    assert refusal(server.uri("corpora/empty.txt")) == "corpus s3://corpora/empty.txt is empty"
    assert refusal(server.uri("corpora/y")).startswith("corpus s3://corpora/y holds no .txt, ")
    assert refusal("hdsf://x/y") == "unknown scheme 'hdsf' of corpus hdsf://x/y; did you mean 'hdfs'?"
    assert refusal("http://x/y").startswith("unknown scheme 'http' of corpus http://x/y; choose from abfs, ")


@pytest.mark.parametrize(
    "uri, name",
    [
        (
            "s3://KEY:SECRET@corpora/y?region=SECRET&endpoint_override=127.0.0.1:{port}&scheme=http",
            "s3://KEY@corpora/y",
        ),
        ("s3://KEY:SEC/RET@corpora/a b?session=SECRET", "s3://KEY@corpora/a b"),
        ("s3://corpora/y?nonsense=SECRET", "s3://corpora/y"),
        ("http://KEY:SECRET@host:80/a@b", "http://KEY@host:80/a@b"),
        ("http://host:80/a@b", "http://host:80/a@b"),
    ],
)
def test_sentences_keep_secrets(server, uri, name):
    sentence = refusal(uri.format(port=server.server_port))
    assert f" {name}" in sentence
    assert "SEC" not in sentence
