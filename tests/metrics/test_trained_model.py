"""Models are read from trainings, runs and exported files, and damaged or hostile files are one sentence."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.fake_run import write_run
from support.measured import MIXED, PAIRS, TEXTS, export_small
from support.tiny import CONFIG, TINY_TOML
from support.trained import SMALL, train_small

from star.architecture.description import KEY, read_description
from star.architecture.genome import decode, genome_hash, parse, to_text
from star.cli.train import read_initial
from star.cost.cost import price
from star.data.tokenizer import Bytes
from star.errors import UserError
from star.export.front import export_front
from star.metrics.trained_model import read_member, read_model
from star.metrics.weights import opened
from star.model.language_model import LanguageModel
from star.run.plan import read_plan
from star.storage.run_directory import RunDirectory
from star.storage.training_directory import TrainingDirectory

GENOME = "71111-91111-71111"  # that of SMALL


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "text.jsonl"
    path.write_text("".join(json.dumps({"text": one * 4}) + "\n" for one in TEXTS))
    return str(path)


@pytest.fixture(scope="module")
def training(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("trainings") / "small"
    trained = train_small(path, SMALL, corpus=(text,), tokenizer="bpe:300")
    return path, trained


@pytest.fixture
def copied(training, tmp_path):
    """A training that a test may damage."""
    return shutil.copytree(training[0], tmp_path / "copy")


def weights_of(model):
    return {name: one.numpy() for name, one in model.weights().items()}


def stored(file):
    """Weights by the project's names."""
    with opened(file) as weights:
        return {name: weights.read(name).numpy() for name in weights.shapes}


def check_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, one in expected.items():
        np.testing.assert_array_equal(found[name], one)


def test_a_training_is_read_with_its_tokenizer_and_text(training, text):
    path, trained = training
    found = read_model(path)
    check_equal(weights_of(found.model), trained.outcome.weights)
    assert found.genome == trained.plan.genome and found.dims == trained.plan.dims and not found.model.training
    assert found.tokenizer.vocab_size == 300 and found.tokenizer.name == "bpe:300" and found.dims.vocab_size == 320
    assert (found.context, found.source.sources, found.notes) == (16, (text,), ())


def test_the_latest_sound_checkpoint_is_read_and_a_damaged_one_is_named(copied):
    directory = TrainingDirectory(copied)
    *_, before, last = directory.steps()
    file = directory.checkpoint_path(last) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"abcd")
    found = read_model(copied)
    check_equal(weights_of(found.model), load_file(directory.checkpoint_path(before) / "model.safetensors"))
    assert f"trained for {before} of {last} steps" in found.notes[1] and "is torn" in found.notes[0]
    assert file.exists(), "reading changes nothing"


def test_without_checkpoints_the_exported_model_is_read(copied):
    directory = TrainingDirectory(copied)
    exported = copied / "model" / "model.safetensors"
    exported.parent.mkdir()
    shutil.move(directory.checkpoint_path(directory.steps()[-1]) / "model.safetensors", exported)
    shutil.rmtree(copied / "checkpoints")
    check_equal(weights_of(read_model(copied).model), load_file(exported))


def test_a_training_without_weights_or_tokenizer_is_a_sentence(copied):
    shutil.move(copied / "text", copied / "moved")
    with pytest.raises(UserError, match="the tokenizer of .*copy is missing: .*text holds no tokens"):
        read_model(copied)
    shutil.move(copied / "moved", copied / "text")
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(UserError, match="has no weights yet: its first checkpoint comes after 4 training steps"):
        read_model(copied)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ((GENOME, "nonsense"), "slot 1 "),
        ((GENOME, "71111-71111-91111"), "it holds the weights of another model: "),
        ((GENOME, f"11111-{GENOME}"), "numbers, and a model of its genome and sizes has"),
        (("tokens = 1280.0", "tokens = "), "is not a TOML file"),
        (("d_model = 16", "d_model = 16000000"), "numbers, and a model of its genome and sizes has"),
    ],
)
def test_an_edited_configuration_is_a_sentence(copied, change, sentence):
    file = copied / "train.toml"
    assert change[0] in file.read_text()
    file.write_text(file.read_text().replace(*change))
    with pytest.raises(UserError) as caught:
        read_model(copied)
    assert sentence in str(caught.value)


def test_a_member_of_a_run_is_read_and_so_is_its_export(tmp_path):
    run = write_run(tmp_path / "run", replace(CONFIG, window=5), weights=True, failing=0)
    plan, one = read_plan(run), run.latest_generation().front[0]
    found = read_member(run, one, plan)
    check_equal(weights_of(found.model), run.load_weights(one.hash))
    assert found.dims == plan.trained.dims and found.dims.window == 5 and isinstance(found.tokenizer, Bytes)
    assert found.source.sources == ("stdlib",) and found.name == f"{run.path}:{one.id}"
    assert export_front(run, tmp_path / "out") == []
    again = read_model(tmp_path / "out" / str(one.id))
    check_equal(weights_of(again.model), weights_of(found.model))
    assert (again.genome, again.dims, again.context, again.source) == (found.genome, found.dims, found.context, None)
    with pytest.raises(UserError, match="out holds several models: name one, such as .*out/"):
        read_model(tmp_path / "out")
    with pytest.raises(UserError, match="run is a run of many models: name one as .*run:ID"):
        read_model(run.path)
    run.weights_path(one.hash).unlink()
    with pytest.raises(UserError, match=f"the run keeps no weights of .*run:{one.id}, only those of its front"):
        read_member(RunDirectory(run.path), one, plan)


@pytest.mark.parametrize("genome", [MIXED, "331111-341111", "21211-21211-101111-91111", "301111-201112-271111"])
def test_an_exported_file_says_all_of_its_model(tmp_path, genome):
    """By its own figures: what it has is what its genome is priced at, and what the exported weights are."""
    folder = export_small(tmp_path / "one", PAIRS, genome)
    for place in (folder, folder / "model.safetensors"):
        found = read_model(place)
        check_equal(weights_of(found.model), stored(folder / "model.safetensors"))
    assert to_text(found.genome) == genome and found.tokenizer.digest == PAIRS.digest
    assert sum(one.numel() for one in found.model.parameters()) == price(decode(parse(genome)), found.dims).params
    names = {"README.md", "model.py", "model.safetensors", "tokenizer.json", "train.py"}
    assert {one.name for one in folder.iterdir()} == names
    assert export_small(folder) and not (folder / "tokenizer.json").exists(), "an earlier one is no part of it"


def describe(folder):
    """The description in an exported file, as a table."""
    raw = (folder / "model.safetensors").read_bytes()
    return json.loads(json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"][KEY])


def rewrite(folder, table=None, arrays=None, text=None):
    """Write an exported file again, with another description or other weights."""
    file = folder / "model.safetensors"
    told = json.dumps(describe(folder) | (table or {})) if text is None else text
    save_file(load_file(file) if arrays is None else arrays, file, {KEY: told})


def toml(**sizes):
    text = TINY_TOML
    for name, value in sizes.items():
        text = text.replace(f"{name} = {16 if name != 'slots' else 3}\n", f"{name} = {value}\n", 1)
    return text


HUGE = 2**31 - 1
MANY = "999*(999*(11111))"
TABLES = {
    "another hash": ({"hash": "0" * 16}, "the genome that it tells has another hash than the one beside it"),
    "unknown scale": ({"scale": "nanoo", "scale_toml": ""}, "unknown scale 'nanoo'; did you mean 'nano'?"),
    "unknown key": ({"contxt": 3}, "unknown key 'contxt'; did you mean 'context'?"),
    "a text for a number": ({"vocab_size": "256"}, "vocab_size must be a whole number, not '256'"),
    "no number": ({"vocab_size": True}, "vocab_size must be a whole number, not True"),
    "no context": ({"context": 0}, "context must lie between 1 and 10,000,000, not 0"),
    "endless context": ({"context": 10**30}, "context must lie between 1 and 10,000,000, not 1000"),
    "negative window": ({"window": -1}, "window must be 0 or more, not -1"),
    "long window": ({"window": 17}, "window is 17, but must lie between 1 and the context of 16 tokens"),
    "a huge vocabulary": ({"vocab_size": HUGE}, "numbers, and a model of its genome and sizes has 34,359,"),
    "beyond any vocabulary": ({"vocab_size": 10**40}, "vocab_size must be a positive integer of at most"),
    "no vocabulary": ({"vocab_size": 0}, "vocab_size must be a positive integer"),
    "another vocabulary": ({"vocab_size": 128}, "embedding.weight has shape (256, 16), and the model (128, 16)"),
    "a huge width": ({"scale_toml": toml(d_model=2**30)}, "numbers, and a model of its genome and sizes has"),
    "many positions": (
        {"scale_toml": toml(seq_len=HUGE) + '[style]\npositions = "learned"\n'},
        "numbers, and a model of its genome and sizes has 34,359,",
    ),
    "no TOML": ({"scale_toml": "]["}, "is not a TOML file"),
    "deep TOML": ({"scale_toml": "a" + ".a" * 10_000 + " = 1"}, "is nested too deeply"),
    "no scale": ({"scale_toml": "title = 'x'"}, "has no table [scale]"),
    "too many slots": ({"genome": MANY, "hash": "0"}, "which is more than 10,000 slots"),
    "no genome": ({"genome": "1-2"}, "slot 1 ('1') of the genome"),
}


@pytest.mark.parametrize("case", TABLES)
def test_hostile_descriptions_are_a_sentence(tmp_path, case):
    table, sentence = TABLES[case]
    rewrite(export_small(tmp_path), table)
    with pytest.raises(UserError) as caught:
        read_model(tmp_path)
    assert sentence in str(caught.value)


def test_a_genome_that_weights_are_too_few_for_is_a_sentence(tmp_path):
    genome = "999*(8*(11111))"
    rewrite(export_small(tmp_path), {"genome": genome, "hash": genome_hash(parse(genome))})
    with pytest.raises(UserError, match="it holds [0-9,]+ numbers, and a model of its genome and sizes has"):
        read_model(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "3", '{"scale": "nano"}', "[" * 100_000, '{"genome": "' + "1" * 2_000_000])
def test_what_describes_no_model_is_a_sentence(tmp_path, text):
    rewrite(export_small(tmp_path), text=text)
    with pytest.raises(UserError, match="it does not describe a model"):
        read_model(tmp_path)


def test_an_export_of_an_earlier_version_is_a_sentence(tmp_path):
    folder = export_small(tmp_path)
    rewrite(folder, text=json.dumps({name: describe(folder)[name] for name in ("genome", "hash")}))
    with pytest.raises(UserError, match="which an earlier version wrote: export it again"):
        read_model(tmp_path)
    save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors")
    with pytest.raises(UserError, match="does not tell which model it holds: no export of star wrote it"):
        read_model(tmp_path)


def damaged(data):
    """Bytes of a file of weights that are not what they should be, and the sentence on each."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    name = next(one for one in header if one != "__metadata__")
    far = header | {name: header[name] | {"data_offsets": [0, 2**60]}}
    large = header | {name: header[name] | {"shape": [2**40, 2**40]}}

    def pack(table):
        text = json.dumps(table).encode()
        return len(text).to_bytes(8, "little") + text + data[8 + length :]

    broken = "is not a complete safetensors file"
    return {
        "empty": (b"", broken),
        "half": (data[: len(data) // 2], broken),
        "one byte short": (data[:-1], broken),
        "one byte long": (data + b"0", broken),
        "a header without end": (b"\xff" * 8 + data[8:], broken),
        "a longer header": ((1 << 40).to_bytes(8, "little") + data[8:], broken),
        "no JSON": (data[:8] + b"x" * length + data[8 + length :], broken),
        "numbers far away": (pack(far), broken),
        "a shape beyond memory": (pack(large), broken),
        "a pickle": (b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00", broken),
        "a page": (b"<!doctype html><title>404</title>", broken),
    }


@pytest.mark.parametrize(
    "case", damaged((b"\x40" + bytes(7)) + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(64))
)
def test_damaged_files_are_a_sentence(tmp_path, case):
    file = export_small(tmp_path) / "model.safetensors"
    data, sentence = damaged(file.read_bytes())[case]
    file.write_bytes(data)
    with pytest.raises(UserError) as caught:
        read_model(tmp_path)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


FIRST = "embedding.weight"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda one: one.pop(FIRST), "numbers, and a model of its genome and sizes has"),
        (lambda one: one.update(more=one.pop(FIRST)), "it holds the weights of another model: "),
        (lambda one: one.update(more=np.zeros(3, np.float32)), "this one has no 'more'"),
        (lambda one: one.update({FIRST: one[FIRST].T.copy()}), "has shape (16, 256), and the model (256, 16)"),
        (lambda one: one.update({FIRST: one[FIRST].astype(np.int32)}), "is I32, not one of F32, F16, BF16"),
        (lambda one: one.update({FIRST: np.full_like(one[FIRST], np.nan)}), "holds numbers that are not finite"),
        (lambda one: one.update({FIRST: one[FIRST] * np.float32(np.inf)}), "holds numbers that are not finite"),
    ],
)
def test_weights_of_another_model_are_a_sentence(tmp_path, change, sentence):
    folder = export_small(tmp_path)
    arrays = load_file(folder / "model.safetensors")
    change(arrays)
    rewrite(folder, arrays=arrays)
    with pytest.raises(UserError) as caught:
        read_model(tmp_path)
    assert sentence in str(caught.value)


def test_a_file_from_before_the_names_of_code_is_read(tmp_path):
    """Weights once had the project's names in exported files, and their description none of them."""
    folder = export_small(tmp_path)
    arrays, table = stored(folder / "model.safetensors"), describe(folder)
    names = table.pop("names")
    assert names and not arrays.keys() & set(names.values())
    rewrite(folder, text=json.dumps(table), arrays=arrays)
    check_equal(weights_of(read_model(folder).model), arrays)
    check_equal(read_initial(str(folder)), arrays)


def test_names_that_mean_one_weight_twice_are_refused(tmp_path):
    folder = export_small(tmp_path)
    first, second = list(describe(folder)["names"].items())[:2]
    rewrite(folder, table={"names": {first[0]: first[1], "final_norm": second[1]}})
    with pytest.raises(UserError, match="weights of another model|two weights one name"):
        read_model(folder)


def test_a_training_begins_with_what_was_exported(tmp_path):
    folder = export_small(tmp_path)
    check_equal(read_initial(str(folder)), stored(folder / "model.safetensors"))


def test_halves_are_read_as_what_they_are(tmp_path):
    folder = export_small(tmp_path)
    arrays = {name: one.astype(np.float16) for name, one in load_file(folder / "model.safetensors").items()}
    rewrite(folder, arrays=arrays)
    halves = stored(folder / "model.safetensors")
    assert all(one.dtype == np.float16 for one in halves.values())
    check_equal(weights_of(read_model(folder).model), {name: one.astype(np.float32) for name, one in halves.items()})


def test_a_tokenizer_that_is_not_the_models_is_a_sentence(tmp_path):
    folder = export_small(tmp_path, PAIRS)
    file = folder / "tokenizer.json"
    data = file.read_bytes()
    file.write_bytes(data + b" ")
    with pytest.raises(UserError, match="tokenizer.json is not the tokenizer that model.safetensors was trained with"):
        read_model(folder)
    file.write_bytes(data[:100])
    with pytest.raises(UserError, match="is not a tokenizer.json"):
        read_model(folder)
    file.unlink()
    with pytest.raises(UserError, match="was trained with tokenizer bpe:300, and beside it is no tokenizer.json"):
        read_model(folder)
    with pytest.raises(UserError, match="has a vocabulary of 256, and its tokenizer bpe:300 300 tokens"):
        replace(read_model(export_small(tmp_path / "bytes")), tokenizer=PAIRS)


@pytest.mark.parametrize("name", ["nothing", "text.txt", "folder", "x:3"])
def test_what_is_no_model_is_a_sentence(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("abc")
    (tmp_path / "folder").mkdir()
    sentence = "is not a complete safetensors file" if name == "text.txt" else f"{name} is no model: neither the "
    with pytest.raises(UserError, match=sentence):
        read_model(Path(name))


def test_a_description_is_read_as_it_was_written(tmp_path):
    table = describe(export_small(tmp_path))
    found = read_description(json.dumps(table), "it")
    assert read_description(found.to_json(), "it") == found
    assert found.read_scale().recipe.tokens == 64 and replace(found, scale="nano", scale_toml="").read_scale().recipe


def test_a_model_is_built_without_memory_before_it_is_compared(tmp_path, monkeypatch):
    """On the device that holds nothing; the second time it is the model itself."""
    devices = []
    whole = LanguageModel.__init__

    def watched(self, spec):
        whole(self, spec)
        devices.append(self.embedding.weight.device.type)

    monkeypatch.setattr(LanguageModel, "__init__", watched)
    read_model(export_small(tmp_path))
    assert devices == ["cpu", "meta", "cpu"], "the first one is that of the export"
