"""Checkpoints of families: written by us and loaded by `transformers` alone, written by it and read by us."""

import json

import numpy as np
import pytest
import torch
from support.checkpoints import (
    CASES,
    IDS,
    SIZES,
    load,
    own_logits,
    random_reference,
    random_weights,
    reference_logits,
)

from star.architecture import catalogue
from star.architecture.genome import canonical, decode
from star.architecture.structures import specify
from star.export.native import export_native, import_native, write_genome_file
from star.families.config import Config
from star.families.table import FAMILIES

CHOOSING = ("deepseek_v3", "ernie4_5_moe")  # whose experts are chosen with a bias


def blueprint_of(name, more):
    return FAMILIES[name].read(Config(SIZES | {"model_type": name} | more))


def test_every_family_has_a_case():
    assert {name for name, _ in CASES} == set(FAMILIES)


@pytest.mark.parametrize(("name", "more"), CASES, ids=IDS)
def test_out_and_back_in(name, more, tmp_path, monkeypatch):
    """Equal logits in double precision, and our own weights again, bit for bit."""
    spec = blueprint_of(name, more).spec()
    weights = random_weights(spec, name in CHOOSING)
    assert export_native(spec, weights, tmp_path / "out", name) == name
    found = reference_logits(load(tmp_path / "out"), monkeypatch)
    torch.testing.assert_close(own_logits(spec, weights, monkeypatch), found, rtol=0, atol=1e-9)
    again = import_native(tmp_path / "out")
    assert again.weights.keys() == weights.keys()
    for key, one in weights.items():
        np.testing.assert_array_equal(again.weights[key], one, err_msg=key)


@pytest.mark.parametrize(("name", "more"), CASES, ids=IDS)
def test_in_from_transformers(name, more, tmp_path, monkeypatch):
    """What `save_pretrained` writes, in several files, is read as a genome file whose model has equal logits."""
    reference = random_reference(SIZES | {"model_type": name} | more)
    reference.save_pretrained(tmp_path / "saved", max_shard_size="20KB")
    assert len([*(tmp_path / "saved").glob("*.safetensors")]) > 1
    model = import_native(tmp_path / "saved")
    write_genome_file(model, tmp_path / "read.toml")
    named = catalogue.load(tmp_path / "read.toml")
    genome = named.at(named.scale.num_slots)
    assert genome == canonical(model.blueprint.genome)
    assert named.scale.dims == model.blueprint.scaled
    found = own_logits(specify(decode(genome), named.scale.dims), model.weights, monkeypatch)
    expected = reference_logits(reference, monkeypatch)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_a_tied_head_is_in_no_file(tmp_path):
    spec = blueprint_of("qwen3", {"tie_word_embeddings": True}).spec()
    export_native(spec, random_weights(spec, has_bias=False), tmp_path)
    index = (tmp_path / "model.safetensors").read_bytes()
    assert b"lm_head" not in index and b'"format":"pt"' in index
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"] is True
    assert json.loads((tmp_path / "generation_config.json").read_text())["eos_token_id"] is None
