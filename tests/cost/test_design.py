"""Designs: the published rule integer for integer, exact counts at all sizes, files that are read back."""

import json

import numpy as np
import pytest

from star.architecture import catalogue
from star.architecture.genome import decode
from star.cost.cost import price
from star.cost.design import Shape, design, kv_heads, legacy_sizes, to_toml
from star.errors import UserError

TARGETS = [round(target) for target in np.geomspace(1e8, 1e12, 61)]
EXPERTS = [(0, 0), (8, 2), (64, 8), (128, 8)]


def transcribed(billions):
    """The published function, as it stands."""
    N = billions * 1e9
    d_head = 128
    d_model = int((N * 128 / 12) ** (1 / 3))
    d_model = ((d_model + 127) // 128) * 128
    n_layers = d_model // 128
    n_heads = d_model // d_head
    n_kv_heads = 8
    d_ff = int(d_model * 3.5)
    d_ff = ((d_ff + 255) // 256) * 256
    return {
        "d_model": d_model,
        "n_layers": n_layers,
        "n_heads": n_heads,
        "n_kv_heads": n_kv_heads,
        "d_head": d_head,
        "d_ff": d_ff,
    }


def counted(shape):
    """Parameters by hand: embedding, head, norms, four maps of attention, three of a gated unit or of each expert."""
    width, keys = shape.d_model, shape.num_kv_heads * 128
    attention = 2 * width * width + 2 * width * keys
    unit = 3 * width * shape.d_ff
    if shape.num_experts:
        unit = shape.num_experts * (unit + width)
    embedding = shape.vocab_size * width * (1 if shape.tied else 2)
    return embedding + width + shape.num_layers * (attention + unit + 2 * width)


@pytest.mark.parametrize("billions", [0.001, 0.125, 0.35, 1, 1.3, 3, 7, 7.1, 8, 13, 34, 70, 123.4, 175, 405, 1000])
def test_legacy_is_the_published_rule(billions):
    assert legacy_sizes(billions) == transcribed(billions)


@pytest.mark.parametrize("target", TARGETS)
def test_a_legacy_design_has_its_sizes_and_its_count(target):
    made = design(target, "legacy")
    shape, sizes = made.shape, transcribed(target / 1e9)
    found = shape.d_model, shape.num_layers, shape.num_heads, shape.num_kv_heads, shape.d_ff
    assert found == tuple(sizes[name] for name in ("d_model", "n_layers", "n_heads", "n_kv_heads", "d_ff"))
    assert made.params == made.active_params == counted(shape)
    assert made.is_valid == (sizes["n_heads"] % 8 == 0)
    assert any("do not divide" in note for note in made.notes) != made.is_valid


def test_what_is_wrong_with_the_legacy_rule_at_8b():
    made = design(8e9, "legacy")
    assert (made.shape.d_model, made.shape.num_layers, made.shape.d_ff) == (4480, 35, 15_872)
    assert round((made.params - made.embedding_params) / 1e9, 2) == 9.19 and round(made.params / 1e9, 2) == 10.34
    heads, total, inner, layer = made.notes
    assert heads == "8 key/value heads do not divide 35 query heads"
    assert total.startswith("10,341,735,040 ") and "+29.3%" in total
    assert inner.startswith("9,192,561,280 ") and "+14.9%" in inner
    assert "13.1 d^2" in layer
    with pytest.raises(UserError, match="8 key/value heads do not divide 35"):
        to_toml(made)


def test_most_legacy_designs_cannot_be_built():
    sizes = (0.125, 0.35, 0.7, 1.3, 2.7, 3, 6.7, 7, 8, 13, 30, 34, 65, 70, 175, 405)
    assert [billions for billions in sizes if design(billions * 1e9, "legacy").is_valid] == [0.7, 2.7, 34, 405]


def test_a_legacy_design_that_can_be_built_says_what_is_left_of_its_defects():
    large, small = design(405e9, "legacy"), design(1e8, "legacy")
    assert large.is_valid and small.is_valid
    assert not any("heads" in note for note in large.notes)
    assert small.notes[0] == "8 key/value heads for 8 query heads are no groups"


@pytest.mark.parametrize(("experts", "chosen"), EXPERTS)
def test_exact_designs_hit_every_target(experts, chosen):
    for target in TARGETS[:: 3 if experts else 1]:
        made = design(target, num_experts=experts, experts_per_token=chosen)
        shape = made.shape
        assert abs(made.params - target) <= 0.01 * target
        assert made.params == shape.price().params == counted(shape)
        assert shape.d_model % 128 == 0 and shape.num_heads * 128 == shape.d_model
        assert shape.num_heads % shape.num_kv_heads == 0 and shape.num_heads >= 2 * shape.num_kv_heads
        assert shape.num_kv_heads == 8 or (shape.d_model < 2048 and f"{shape.num_kv_heads} key/value" in made.notes[-1])
        assert shape.tied == (target < 4e9)
        unused = 3 * shape.d_model * shape.d_ff * (experts - chosen) * shape.num_layers
        assert made.active_params == made.params - unused
        if experts:
            assert 2 <= shape.d_ff * chosen / shape.d_model <= 8
            assert shape.d_ff % 256 == 0 or any("multiple of" in note for note in made.notes)
        else:
            assert shape.d_ff % 256 == 0 and 8 / 3 <= shape.d_ff / shape.d_model <= 4
            assert 80 <= shape.d_model / shape.num_layers <= 150 or target < 7e9


@pytest.mark.parametrize(
    ("target", "least", "most"),  # around SmolLM2-135M 19, Qwen3-0.6B 37, Gemma-3 1B 44, Llama-3 128 and 102
    [(135e6, 15, 25), (6e8, 30, 45), (1e9, 40, 60), (8e9, 100, 130), (70e9, 100, 130), (405e9, 100, 130)],
)
def test_small_models_are_deep_and_large_ones_as_wide_as_published_ones(target, least, most):
    shape = design(target).shape
    assert least <= shape.d_model / shape.num_layers <= most


def test_tying_vocabulary_and_context_are_as_asked():
    made = design(1e9, vocab_size=32_000, context=4096, tied=False)
    assert (made.shape.vocab_size, made.shape.context, made.shape.tied) == (32_000, 4096, False)
    assert made.embedding_params == 2 * 32_000 * made.shape.d_model
    assert abs(made.error) <= 0.01


def test_key_value_heads_make_groups():
    assert [kv_heads(count) for count in (2, 3, 4, 6, 8, 12, 16, 20, 24, 64)] == [1, 1, 2, 2, 4, 4, 8, 4, 8, 8]


def test_a_design_is_the_same_again():
    assert design(3e9) == design(3e9)


@pytest.mark.parametrize(("target", "experts", "chosen"), [(1e8, 0, 0), (8e9, 0, 0), (47e9, 8, 2), (1e12, 128, 8)])
def test_the_file_of_a_design_is_read_back(tmp_path, target, experts, chosen):
    made = design(target, num_experts=experts, experts_per_token=chosen, context=4096)
    path = tmp_path / "made.toml"
    path.write_text(to_toml(made), encoding="utf-8")
    named = catalogue.load(path)
    assert named.scale.num_slots == 2 * made.shape.num_layers and named.scale.dims.style.tied == made.shape.tied
    cost = price(decode(named.at(named.scale.num_slots)), named.scale.dims)
    assert cost == made.shape.price()
    assert (cost.params, cost.active_params, cost.embedding_params) == (
        made.params,
        made.active_params,
        made.embedding_params,
    )
    assert cost.cache_bytes == 2 * 2 * 128 * made.shape.num_kv_heads * 4096 * made.shape.num_layers
    assert "rule exact" in named.citation and named.note == "; ".join(made.notes)
    assert catalogue.find_scale(path).dims == named.scale.dims


def test_the_shape_of_llama_3_costs_what_llama_3_does():
    sizes = {"d_model": 4096, "num_layers": 32, "num_kv_heads": 8, "d_ff": 14_336}
    assert Shape(**sizes, vocab_size=128_256, context=8192, tied=False).price().params == 8_030_261_248


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", ["--params"]),
        ("--params big", ["params", "8B", "'big'"]),
        ("--params 99M", ["between 100 M and 1 T", "9.9e+07"]),
        ("--params 1.1T", ["between 100 M and 1 T"]),
        ("--params nan", ["params", "'nan'"]),
        ("--params 8B --rule exakt", ["unknown rule 'exakt'", "did you mean 'exact'?"]),
        ("--params 8B --experts 8", ["experts per token"]),
        ("--params 8B --experts 8 --experts-per-token 8", ["fewer than 8 experts, not 8"]),
        ("--params 8B --experts -1", ["--experts"]),
        ("--params 8B --rule legacy --experts 8 --experts-per-token 2", ["legacy knows no experts"]),
        ("--params 100M --vocab 1000000", ["vocabulary of 1,000,000", "100,000,000 parameters"]),
        ("--params 8B --vocab 0", ["--vocab"]),
        ("--params 8B --out model.json", ["ends in .toml", "model.json"]),
        ("--params 8B --out no/such/model.toml", ["cannot write no/such/model.toml", "No such file"]),
        ("--params 8B --rule legacy --out model.toml", ["no genome file", "do not divide 35 query heads"]),
    ],
)
def test_a_wrong_design_is_one_line(refused, options, words):
    refused(["design", *options.split()], *words)


def test_design_prints_the_file_and_tells_the_rest_beside_it(star, tmp_path):
    code, out, err = star("design", "--params", "1.2B")
    made = design(1.2e9)
    assert code == 0 and out == to_toml(made)
    assert f"{made.params:,} parameters" in err and all(f"note: {note}\n" in err for note in made.notes)
    path = tmp_path / "made.toml"
    code, text, err = star("design", "--params", "1.2B", "--out", path)
    assert code == 0 and path.read_text() == out and f"{made.params:,} parameters" in text and str(path) in err
    figures = json.loads(star("inspect", path, "--json")[1])
    assert figures["params"] == made.params


def test_design_as_json(star, tmp_path):
    path = tmp_path / "made.toml"
    arguments = ("--params", "47B", "--experts", 8, "--experts-per-token", 2, "--json", "--out", path)
    found = json.loads(star("design", *arguments)[1])
    assert found["file"] == path.read_text() and found["out"] == str(path)
    assert found["rule"] == "exact" and found["genome"] == "31111-331111"
    assert abs(found["error"]) <= 0.01 and found["active_params"] < found["params"]
    assert found["shape"]["num_experts"] == 8 and found["shape"]["head_dim"] == 128
    found = json.loads(star("design", "--params", "8e9", "--rule", "legacy", "--json")[1])
    assert found["file"] is None and not found["is_valid"] and found["shape"]["num_heads"] == 35


def test_a_legacy_design_without_a_file_is_still_told(star):
    code, out, err = star("design", "--params", "8B", "--rule", "legacy")
    assert (code, err) == (0, "")
    assert "35 layers of width 4,480" in out and "note: 8 key/value heads do not divide 35 query heads" in out
