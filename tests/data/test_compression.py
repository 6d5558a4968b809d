"""Compressed files: the same corpus as without, whatever their frames; cut off or damaged, a sentence."""

import gzip
import io
import json

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from support.corpora import COMPRESSORS, compress, load, put, refusal, text_of, to_lines

from star.data import readers, text
from star.data.corpus import Corpus
from star.errors import UserError

TEXTS = [f"document {i} says grüezi" for i in range(57)]
LINES = to_lines(TEXTS)
PLAIN = "".join(f"line {i}\n" for i in range(2000)).encode()


def load_bytes(folder, name: str, content: bytes) -> Corpus:
    return load(put(folder, name, content=content) / name)


@pytest.mark.parametrize("suffix", COMPRESSORS)
@pytest.mark.parametrize("kind", [".txt", ".text", ".md", ".rst", ".py", ".jsonl", ".ndjson"])
def test_a_compressed_file_is_the_same_corpus(tmp_path, kind, suffix):
    content = LINES if "j" in kind else PLAIN
    plain = load_bytes(tmp_path, f"a{kind}", content)
    packed = load_bytes(tmp_path, f"b{kind}{suffix}".upper(), COMPRESSORS[suffix](content))
    assert packed.digest == plain.digest and packed.valid.size


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_every_frame_and_member_is_read(tmp_path, suffix):
    """The Pile has several frames in a file; parallel compressors write many members."""
    frames = [LINES[at : at + 300] for at in range(0, len(LINES), 300)]
    packed = compress(suffix, frames)
    assert len(frames) > 5
    assert load_bytes(tmp_path, f"a.jsonl{suffix}", packed).digest == load_bytes(tmp_path, "a.jsonl", LINES).digest


def test_frames_of_a_stream_without_their_sizes_and_frames_to_skip_are_read(tmp_path):
    held = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(held, closefd=False) as writer:
        for at in range(0, len(LINES), 1000):
            writer.write(LINES[at : at + 1000])
            writer.flush(zstandard.FLUSH_FRAME)
    skipped = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"index"  # RFC 8878, 3.1.2
    corpus = load_bytes(tmp_path, "a.jsonl.zst", skipped + held.getvalue() + skipped)
    assert corpus.digest == load_bytes(tmp_path, "a.jsonl", LINES).digest


def test_compressed_json_is_lines(tmp_path):
    plain = load_bytes(tmp_path, "a.jsonl", LINES)
    for suffix, packed in COMPRESSORS.items():
        assert load_bytes(tmp_path, f"c4.json{suffix}", packed(LINES)).digest == plain.digest
    name = "a.json.gz"
    path = tmp_path / name
    put(tmp_path, name, content=gzip.compress(json.dumps([{"text": "x"}], indent=1).encode()))
    assert refusal(path).startswith(f"{path} line 1 is not JSON: ")
    put(tmp_path, name, content=gzip.compress(b'[{"text": "x"}]'))
    assert refusal(path) == f"{path} line 1 is not a JSON object with a field 'text' or 'content'"


def test_a_directory_of_compressed_shards(tmp_path):
    for i in range(12):
        put(tmp_path, f"{i}.jsonl.zst", content=zstandard.compress(to_lines([f"shard {i}", f"of {i}"])))
    put(tmp_path, "README.md.gz", content=gzip.compress(b"about"))
    put(tmp_path, "table.csv.gz", content=gzip.compress(b"a,b"))
    corpus = load(tmp_path)
    assert (corpus.report.train[0], corpus.report.valid[0]) == (11, 1)
    assert sorted(text_of(corpus).splitlines()) == sorted(one for i in range(12) for one in (f"shard {i}", f"of {i}"))
    assert dict(corpus.report.left_out) == {"README or licence": 1, ".csv.gz (a kind that is not read)": 1}


def test_unknown_content_of_a_compressed_file(tmp_path):
    for name, suffix in (("a.gz", ".gz"), ("a.csv.gz", ".csv.gz"), ("a.parquet.zst", ".parquet.zst")):
        path = put(tmp_path, name, content=gzip.compress(b"x")) / name
        assert refusal(path).startswith(f"unknown suffix {suffix!r} of corpus {path}; ")


def test_what_is_inside_is_checked(tmp_path):
    wide, latin = "grüezi\n".encode("utf-16"), "grüezi".encode("latin-1")
    for content, said in ((wide, "is not text in UTF-8: it is UTF-16"), (latin, "perhaps Latin-1")):
        path = put(tmp_path, "a.txt.gz", content=gzip.compress(content)) / "a.txt.gz"
        assert refusal(path).startswith(f"{path} ") and said in refusal(path)
    path = put(tmp_path, "a.jsonl.zst", content=zstandard.compress(b"")) / "a.jsonl.zst"
    assert refusal(path) == f"corpus {path} is empty"


def test_the_far_part_is_never_read(tmp_path):
    packed = compress(".zst", [PLAIN * 100, b"junk \0" * 100])
    path = put(tmp_path, "a.txt.zst", content=packed + b"junk") / "a.txt.zst"
    assert load(path, limit=5000).train.tobytes() == PLAIN[:4500]


# Files that are cut off, damaged or hostile


@pytest.mark.parametrize("suffix", COMPRESSORS)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_off_is_named(tmp_path_factory, suffix, share):
    whole = compress(suffix, [LINES])
    path = tmp_path_factory.getbasetemp() / f"cut.jsonl{suffix}"
    path.write_bytes(whole[: max(1, int(share * len(whole)))])
    assert refusal(path).startswith(f"{path} is not a sound {suffix} file: ")


@pytest.mark.parametrize("suffix", COMPRESSORS)
@given(data=st.data())
def test_a_damaged_file_is_read_or_is_a_sentence(tmp_path_factory, suffix, data):
    whole = bytearray(compress(suffix, [LINES]))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        whole[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"damaged.jsonl{suffix}"
    path.write_bytes(whole)
    try:
        load(path)
    except UserError as error:
        assert str(error).startswith(f"{path} ") and "\n" not in str(error)


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_a_file_that_is_not_compressed_is_named(tmp_path, suffix):
    name = f"a.txt{suffix}"
    path = put(tmp_path, name, content=b"just text, no more\n" * 9) / name
    assert refusal(path).startswith(f"{path} is not a sound {suffix} file: ")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_a_line_without_end_is_refused_before_it_is_held(tmp_path, monkeypatch, name):
    monkeypatch.setattr(text, "LONGEST", 3 << 20)
    monkeypatch.setattr(readers, "LONGEST", 3 << 20)
    fits, bomb = b'{"text": "%s"}\n' % (b"a" * (2 << 20)), b'{"text": "' + b"a" * (64 << 20)
    content = fits * 2 + bomb
    path = tmp_path / name
    path.write_bytes(COMPRESSORS[path.suffix](content) if path.suffix in COMPRESSORS else content)
    assert refusal(path) == f"{path} line 3 is longer than 3 MiB, the limit of one document"


def test_padding_after_gzip_and_empty_members_are_no_damage(tmp_path):
    plain = load_bytes(tmp_path, "a.txt", PLAIN)
    assert load_bytes(tmp_path, "b.txt.gz", gzip.compress(PLAIN) + b"\0" * 512).digest == plain.digest
    for suffix in COMPRESSORS:
        packed = compress(suffix, [b"", b"", PLAIN[:99], b"", b"", PLAIN[99:], b""])
        assert load_bytes(tmp_path, f"b.txt{suffix}", packed).digest == plain.digest
