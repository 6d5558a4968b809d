"""Directories that `datasets` saved: which files are read, and which side each split is on."""

import json
import shutil

import datasets
import pytest
from support.corpora import load, put, refusal, text_of
from support.s3 import serving
from support.saved import make_dataset, save, save_splits

TEXTS = [f"document {i} says grüezi" for i in range(40)]


def lines_of(corpus) -> tuple[list[str], list[str]]:
    return corpus.train.tobytes().decode().splitlines(), corpus.valid.tobytes().decode().splitlines()


def test_one_shard_is_split_by_document(tmp_path):
    train, valid = lines_of(load(save(tmp_path / "one", TEXTS)))
    assert valid == TEXTS[1::10]
    assert train == [text for i, text in enumerate(TEXTS) if i % 10 != 1]


def test_shards_are_split_by_file(tmp_path):
    corpus = load(save(tmp_path / "many", TEXTS, shards=10))
    train, valid = lines_of(corpus)
    assert (len(train), len(valid)) == (36, 4)
    assert sorted(train + valid) == sorted(TEXTS)
    assert corpus.report.left_out == ()


def test_the_cache_beside_the_data_is_left_alone(tmp_path):
    folder = save(tmp_path / "one", TEXTS, shards=3)
    before = load(folder)
    loaded = datasets.load_from_disk(folder)
    loaded.shuffle(seed=0)
    loaded.map(lambda row: {"text": "of a cache"})
    caches = list(folder.glob("cache-*.arrow"))
    assert len(caches) == 2
    put(folder, "README.md")
    after = load(folder)
    assert after.digest == before.digest
    assert dict(after.report.left_out) == {"beside the files of a saved data set": 3}


def test_rows_that_were_selected_are_saved_as_such(tmp_path):
    """Today's `save_to_disk` writes the rows; that of version 1 wrote indices into them, which is refused."""
    folder = tmp_path / "few"
    make_dataset(TEXTS).select([7, 3, 5]).save_to_disk(folder)
    assert sorted(text_of(load(folder)).splitlines()) == sorted(TEXTS[i] for i in (3, 5, 7))
    state = json.loads((folder / "state.json").read_text())
    state["_indices_data_files"] = [{"filename": "indices.arrow"}]
    (folder / "state.json").write_text(json.dumps(state))
    said = "is a selection of rows by indices: save it again after flatten_indices()"
    assert refusal(folder) == f"{folder} {said}"
    assert refusal(tmp_path) == f"{folder} {said}"


@pytest.mark.parametrize("valid", ["validation", "valid", "dev", "eval"])
def test_splits_are_the_sides(tmp_path, valid):
    splits = {"train": TEXTS[:20], valid: TEXTS[20:30], "test": TEXTS[30:]}
    corpus = load(save_splits(tmp_path / "dict", **splits))
    assert lines_of(corpus) == (TEXTS[:20], TEXTS[20:30])
    assert dict(corpus.report.left_out) == {"in split test": 1}


def test_the_first_of_several_splits_for_validation_counts(tmp_path):
    splits = {"eval": TEXTS[:5], "train": TEXTS[10:], "extra": ["x"], "validation": TEXTS[5:10]}
    corpus = load(save_splits(tmp_path / "dict", **splits))
    assert lines_of(corpus) == (TEXTS[10:], TEXTS[5:10])
    assert dict(corpus.report.left_out) == {"in split eval": 1, "in split extra": 1}


def test_without_a_split_for_validation_it_is_split_as_usual(tmp_path):
    alone = load(save(tmp_path / "one", TEXTS))
    assert load(save_splits(tmp_path / "a", train=TEXTS)).digest == alone.digest
    tested = load(save_splits(tmp_path / "b", train=TEXTS, test=["x"]))
    assert tested.digest == alone.digest
    assert dict(tested.report.left_out) == {"in split test": 1}
    assert load(save_splits(tmp_path / "c", test=TEXTS)).digest == alone.digest
    languages = lines_of(load(save_splits(tmp_path / "d", en=TEXTS[:20], de=TEXTS[20:])))
    assert sorted(languages) == sorted((TEXTS[:20], TEXTS[20:]))


def test_data_sets_lie_among_other_files(tmp_path):
    save_splits(tmp_path / "dict", train=TEXTS[:20], validation=TEXTS[20:30])
    save(tmp_path / "one", ["of one"])
    for i in range(11):
        put(tmp_path, f"{i}.txt", content=b"text %d\n" % i)
    train, valid = lines_of(load(tmp_path))
    assert set(TEXTS[:20]) < set(train) and set(TEXTS[20:30]) < set(valid)
    assert sorted(set(train + valid) - set(TEXTS)) == sorted(["of one", *(f"text {i}" for i in range(11))])
    assert len(valid) == 10 + 1


def test_a_state_of_something_else_is_no_data_set(tmp_path):
    put(tmp_path, "state.json", content=b"{}")
    put(tmp_path, "a.txt", content=b"text\n")
    assert dict(load(tmp_path).report.left_out) == {".json (a kind that is not read)": 1}


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("state.json", b"[1]", "{}/state.json is not what `datasets` writes"),
        ("state.json", b"{", "{}/state.json is not JSON: Expecting property name"),
        ("state.json", b"{}", "{}/state.json names no files of data"),
        ("state.json", b'{"_data_files": [3]}', "{}/state.json names no files of data"),
        ("state.json", b'{"_data_files": 3}', "{}/state.json names no files of data"),
        ("state.json", b'{"_data_files": [{"filename": "../x"}]}', "{} lacks ../x, which its state.json names"),
        ("dataset_dict.json", b'{"splits": 3}', "{}/dataset_dict.json names no splits"),
        ("dataset_dict.json", b'{"splits": ["a"]}', "{}/dataset_dict.json names the split 'a', which is missing"),
    ],
)
def test_files_about_a_data_set_are_not_trusted(tmp_path, name, content, said):
    folder = save(tmp_path / "one", TEXTS)
    put(folder, name, content=content)
    assert refusal(folder).startswith(said.format(folder))


def test_a_shard_that_is_missing_is_named(tmp_path):
    folder = save(tmp_path / "one", TEXTS, shards=3)
    (folder / "data-00001-of-00003.arrow").unlink()
    assert refusal(folder) == f"{folder} lacks data-00001-of-00003.arrow, which its state.json names"


def test_a_data_set_in_a_bucket_is_the_same_corpus(tmp_path, monkeypatch):
    folder = save_splits(tmp_path / "dict", train=TEXTS[:20], validation=TEXTS[20:30], test=TEXTS[30:])
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "anyone")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    here = load(folder)
    with serving() as server:
        for path in folder.rglob("*.*"):
            server.buckets["corpora"][f"x/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
        there = load(server.uri("corpora/x"))
        assert (there.digest, there.report) == (here.digest, here.report)
        assert load(server.uri("corpora/x/train")).digest == load(folder / "train").digest
    shutil.rmtree(folder / "validation")
    assert refusal(folder) == f"{folder}/dataset_dict.json names the split 'validation', which is missing"
