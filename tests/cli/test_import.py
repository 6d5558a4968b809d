"""The command import: a checkpoint as a genome file; what is wrong with one is a sentence, and nothing is written."""

import json
import struct

import numpy as np
import pytest
import safetensors.numpy
from support.checkpoints import SIZES, random_weights
from support.tiny import write_text

from star.architecture import catalogue
from star.architecture.genome import decode
from star.architecture.structures import specify
from star.cost.cost import price
from star.errors import UserError
from star.export import native
from star.export.checkpoint import WEIGHTS
from star.export.native import export_native
from star.families.config import Config
from star.families.table import FAMILIES

CONFIG, INDEX, BIG = "config.json", "model.safetensors.index.json", 2**31 - 1


@pytest.fixture
def checkpoint(tmp_path):
    """A directory with a Llama of two layers whose vocabulary is that of bytes."""
    values = SIZES | {"vocab_size": 256, "num_hidden_layers": 2}
    spec = FAMILIES["llama"].read(Config(values)).spec()
    export_native(spec, random_weights(spec, has_bias=False), tmp_path / "checkpoint", "llama")
    return tmp_path / "checkpoint"


def change(checkpoint, **values):
    """Give a configuration other values, or take a key away by None."""
    found = json.loads((checkpoint / CONFIG).read_text()) | values
    (checkpoint / CONFIG).write_text(json.dumps({key: one for key, one in found.items() if one is not None}))


def change_weights(checkpoint, change):
    """Write the weights anew, after a change of the table of arrays."""
    arrays = safetensors.numpy.load_file(checkpoint / WEIGHTS)
    change(arrays)
    safetensors.numpy.save_file(arrays, checkpoint / WEIGHTS)


@pytest.fixture
def refused_import(checkpoint, refused):
    """An import that fails by a sentence with some words and leaves no file."""

    def check(*words):
        place = checkpoint.parent / "found" / "model.toml"
        refused(["import", checkpoint, "--to", place], *words)
        assert not place.parent.exists()

    return check


def test_a_genome_file_and_its_weights(checkpoint, star):
    """They are what other commands take: priced as built, trained from these weights."""
    place = checkpoint.parent / "mine.toml"
    code, out, err = star("import", checkpoint, "--to", place, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "family": "llama",
        "slots": 4,
        "numbers": 27_296,
        "genome": str(place),
        "weights": str(place.with_suffix(".safetensors")),
    }
    named = catalogue.load(place)
    assert price(decode(named.at(4)), named.scale.dims).params == 27_296
    weights = safetensors.numpy.load_file(place.with_suffix(".safetensors"))
    spec = specify(decode(named.at(4)), named.scale.dims)
    for name, array in random_weights(spec, has_bias=False).items():
        np.testing.assert_array_equal(weights[name], array)
    assert star("inspect", place)[0] == 0
    train = ("train", place, "--init-from", place.with_suffix(".safetensors"), "--tokens", 4096, "--out")
    text = ("--corpus", write_text(checkpoint.parent), "--peak-flops", "1G")
    code, out, err = star(*train, checkpoint.parent / "training", "--batch-size", 2, *text)
    assert code == 0, err


def test_the_genome_file_is_a_seed(checkpoint, star):
    place = checkpoint.parent / "mine.toml"
    assert star("import", checkpoint, "--to", place)[0] == 0
    run = ("evolve", "--scale", "nano", "--slots", 4, "--seed-genomes", place, "--objectives", "quality,params")
    run += ("--generations", 1, "--population", 2, "--tokens", 1024, "--serial", "--deck", "extended")
    code, _, err = star(*run, "--out", checkpoint.parent / "run")
    assert code == 0, err


def test_nothing_is_overwritten(checkpoint, star, refused):
    place = checkpoint.parent / "mine.toml"
    assert star("import", checkpoint, "--to", place)[0] == 0
    refused(["import", checkpoint, "--to", place], "mine.toml is there already")
    place.unlink()
    refused(["import", checkpoint, "--to", place], "mine.safetensors is there already")
    refused(["import", checkpoint, "--to", checkpoint.parent / "mine.txt"], "a genome file ends in .toml")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"hidden_size": None}, "the key 'hidden_size' is missing"),
        ({"hidden_size": "32"}, "hidden_size must be a whole number from 1 to"),
        ({"hidden_size": True}, "hidden_size must be a whole number"),
        ({"hidden_size": 10**30}, "hidden_size must be a whole number from 1 to 2,147,483,647, not 1000"),
        ({"num_hidden_layers": BIG}, "num_hidden_layers must be a whole number from 1 to 2,000"),
        ({"num_hidden_layers": -1}, "num_hidden_layers must be a whole number"),
        ({"vocab_size": BIG, "hidden_size": 2**30, "head_dim": 2**28}, "numbers, and a model of its config.json has"),
        ({"num_attention_heads": BIG}, "does not divide num_heads"),
        ({"num_key_value_heads": 3}, "num_kv_heads 3 does not divide num_heads 4"),
        ({"head_dim": 7}, "which are no pairs"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps must be a number"),
        ({"rms_norm_eps": float("inf")}, "rms_norm_eps must be a number"),
        ({"rms_norm_eps": 0}, "norm_eps must be positive"),
        ({"hidden_act": ["silu"]}, "hidden_act is ['silu'], and only"),
        ({"hidden_act": "gelu_pytorch_tanh"}, "hidden_act is 'gelu_pytorch_tanh', and only"),
        ({"rope_parameters": [1]}, "rope_parameters must be a table"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "rotary frequencies are scaled ('llama3')"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2}}, "are scaled ('linear')"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings must be true or false"),
        ({"model_type": "lama"}, "its model_type is 'lama', which cannot be read; did you mean 'llama'?"),
        ({"model_type": ["llama"]}, "it names no model_type"),
        ({"intermediate_size": 25}, "numbers, and a model of its config.json has"),
        ({"intermediate_size": 23}, "has shape (24, 32), and its config.json asks for (23, 32)"),
        ({"attention_bias": True, "intermediate_size": 22}, "it lacks the tensor"),
        ({"tie_word_embeddings": True}, "lm_head.weight is not the embedding"),
        ({"num_hidden_layers": 1}, "it holds 'model.layers.1.input_layernorm.weight', which a model of its"),
    ],
)
def test_hostile_configurations(values, words, checkpoint, refused_import):
    change(checkpoint, **values)
    refused_import(words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "config.json: it is not JSON"),
        (b"[1]", "it must hold a table"),
        (b"[" * 100_000, "it is not JSON"),
        (b'{"hidden_size": ' + b"9" * 5000 + b"}", "it is not JSON"),
        (b" " * (1 << 21), "which no configuration has"),
        (b"\xff\xfe\xfd", "it is not JSON"),
    ],
)
def test_configurations_that_are_none(text, words, checkpoint, refused_import):
    (checkpoint / CONFIG).write_bytes(text)
    refused_import(words)


@pytest.mark.parametrize("key", ["mlp_only_layers", "full_attn_idxs", "no_rope_layers"])
def test_long_lists_are_not_searched(key):
    """A list of half a million numbers, which every layer would be looked up in."""
    family = {"mlp_only_layers": "qwen3_moe", "full_attn_idxs": "lfm2", "no_rope_layers": "smollm3"}[key]
    more = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 4, key: [1] * 500_000}
    with pytest.raises(ValueError, match=f"{key} must be a list of numbers of layers"):
        FAMILIES[family].read(Config(SIZES | {"num_hidden_layers": 2_000} | more))


def test_truncated_weights(checkpoint, refused_import):
    data = (checkpoint / WEIGHTS).read_bytes()
    (checkpoint / WEIGHTS).write_bytes(data[:-100])
    refused_import(f"{WEIGHTS} is not a complete safetensors file")


def test_a_header_that_promises_too_much(checkpoint, refused_import):
    entry = {"dtype": "F32", "shape": [BIG, BIG], "data_offsets": [0, 4 * BIG * BIG]}
    header = json.dumps({"model.embed_tokens.weight": entry}).encode()
    (checkpoint / WEIGHTS).write_bytes(struct.pack("<Q", len(header)) + header)
    refused_import("is not a complete safetensors file")


def test_a_header_that_is_longer_than_the_file(checkpoint, refused_import):
    (checkpoint / WEIGHTS).write_bytes(struct.pack("<Q", 2**62) + b"{}")
    refused_import("is not a complete safetensors file")


def test_other_tensors(checkpoint, refused_import):
    change_weights(checkpoint, lambda arrays: arrays.update(secret=np.zeros(3, np.float32)))
    refused_import("it holds 'secret', which a model of its config.json does not have")


def test_numbers_that_are_not_finite(checkpoint, refused_import):
    change_weights(checkpoint, lambda arrays: arrays["model.norm.weight"].fill(np.nan))
    refused_import("final_norm.weight holds numbers that are not finite")


def test_whole_numbers_are_no_weights(checkpoint, refused_import):
    change_weights(checkpoint, lambda arrays: arrays.update({"model.norm.weight": np.zeros(32, np.int8)}))
    refused_import("'model.norm.weight' is I8, not one of F64, F32, F16, BF16")


def test_pickles_are_never_loaded(checkpoint, refused_import):
    (checkpoint / WEIGHTS).rename(checkpoint / "pytorch_model.bin")
    refused_import("pytorch_model.bin, a pickle, which can run code and is never loaded")


def test_no_weights(checkpoint, refused_import):
    (checkpoint / WEIGHTS).unlink()
    refused_import("holds neither model.safetensors nor model.safetensors.index.json")


@pytest.mark.parametrize(
    ("weight_map", "words"),
    [
        ({"model.norm.weight": "../checkpoint/a.safetensors"}, "which is no name of a safetensors file beside it"),
        ({"model.norm.weight": "/etc/passwd"}, "'/etc/passwd', which is no name of a safetensors file"),
        ({"model.norm.weight": "..safetensors"}, "which is no name of a safetensors file"),
        ({"model.norm.weight": 3}, "it names the file 3"),
        ({"model.norm.weight": "b.safetensors"}, "it names b.safetensors, which is not there"),
        ({"other": "a.safetensors"}, "a.safetensors lacks 'other', which the index places there"),
        ({}, "it has no table weight_map"),
        ([], "it has no table weight_map"),
    ],
)
def test_indices(weight_map, words, checkpoint, refused_import):
    (checkpoint / WEIGHTS).rename(checkpoint / "a.safetensors")
    (checkpoint / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    refused_import(words)


def test_no_checkpoint(tmp_path, refused):
    refused(["import", tmp_path / "nothing", "--to", tmp_path / "a.toml"], "is no checkpoint: it holds no config.json")


def test_a_title_is_one_line(tmp_path, checkpoint, star):
    odd = checkpoint.rename(tmp_path / 'odd"\n[scale]')
    assert star("import", odd, "--to", tmp_path / "a.toml")[0] == 0
    assert catalogue.load(tmp_path / "a.toml").title == 'odd"[scale]'


def test_a_full_disk_leaves_nothing(checkpoint, monkeypatch, refused):
    def full(path, data):
        raise UserError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(native, "write_atomic", full)
    place = checkpoint.parent / "mine.toml"
    refused(["import", checkpoint, "--to", place], "No space left on device")
    assert not place.with_suffix(".safetensors").exists()
