"""Newer families, whole: gates of their own width, norms of queries and keys without gains or after the rotation, norms
before the map back, and norms at other places in layers of another class; in modules, prices and exported files."""

import pytest
import torch
from support.families import build, check_exported, check_logits
from support.states import (
    VOCAB,
    attention_state,
    block_norms,
    conv,
    frame_state,
    in_double,
    joined,
    make_dims,
    make_reference,
    prefixed,
    unit_state,
)
from transformers import Lfm3Config, Lfm3ForCausalLM

from star.architecture.genome import decode, parse
from star.architecture.spec import Variant
from star.architecture.structures import fit
from star.cost.cost import price
from star.errors import UserError

PLAIN_ROTATION = {"rope_type": "default", "rope_theta": 10_000.0}


@pytest.fixture(autouse=True)
def doubles(monkeypatch):
    yield from in_double(monkeypatch)


def sizes(**others):
    """Settings of a reference of two layers."""
    own = {"vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2}
    own |= {"num_attention_heads": 4, "num_key_value_heads": 2, "attn_implementation": "eager"}
    return own | {"rope_parameters": PLAIN_ROTATION} | others


def check(genome, dims, kind, config, translate):
    """The model of a genome is the reference with the same weights, of which neither has more; and priced as built."""
    model = build(genome, dims)
    reference = make_reference(kind, config, translate(model))
    count = sum(parameter.numel() for parameter in model.parameters())
    assert sum(parameter.numel() for parameter in reference.parameters()) == count
    assert price(decode(parse(genome)), dims).params == count
    check_logits(model, reference, tolerance=1e-10)


def refused(number, dims, words):
    """That a class cannot be built at a scale, and why."""
    (slot,) = decode((number, 1, 1, 1, 1))
    with pytest.raises(UserError, match=words):
        fit(slot.liv, dims)


# A gate of one number for each head


def test_lfm3():
    """Beside a convolution, attention within a window and without, norms before and after."""
    heads = {"num_kv_heads": 2, "qk_norm": "head", "gate": True, "gate_dim": 1}
    operators = {
        "GConv-k7": Variant(kept_taps=7),
        "SWA-GQA": Variant(window=6, **heads),
        "SA-4": Variant(rope_theta=5e4, **heads),
        "GMemless": Variant(d_ff=40),
    }
    dims = make_dims(32, 12, operators, heads=4, norm_eps=1e-5, norm_place="both")
    rotation = {"full_attention": PLAIN_ROTATION | {"rope_theta": 5e4}, "sliding_attention": PLAIN_ROTATION}
    kinds = ["conv", "sliding_attention", "full_attention"]
    own = {"layer_types": kinds, "num_hidden_layers": 3, "head_dim": 12, "sliding_window": 6}
    config = Lfm3Config(**sizes(rope_parameters=rotation, pad_token_id=None, **own))

    def translate(model):
        state = frame_state(model, norm="model.embedding_norm")
        for i, layer in enumerate(f"model.layers.{i}" for i in range(3)):
            mixer, unit = model.layers[2 * i : 2 * i + 2]
            made = mixer.featurizer
            if i == 0:
                state[f"{layer}.conv.in_proj.weight"] = joined(mixer, "BCV", "channels.weight")
                state[f"{layer}.conv.conv.weight"] = conv(made["K"].kernel)
                state[f"{layer}.conv.out_proj.weight"] = mixer.out.weight
            else:
                attention = attention_state(mixer) | {
                    f"{name}_norm.weight": made[role].norm.weight for name, role in ("qC", "kB")
                }
                queries, gate = attention["q_proj.weight"].split((48, 4))
                state |= prefixed(f"{layer}.self_attn", attention | {"q_proj.weight": queries, "g_proj.weight": gate})
            state |= prefixed(f"{layer}.feed_forward", unit_state(unit, ("w1", "w3", "w2")))
            state |= block_norms(model, i, layer, "operator_norm", "ffn_norm")
            posts = zip(("post_operator_norm", "post_ffn_norm"), model.post_norms[2 * i : 2 * i + 2], strict=True)
            state |= {f"{layer}.{name}.weight": norm.weight for name, norm in posts}
        return state

    check("321111-91111-201111-91111-41111-91111", dims, Lfm3ForCausalLM, config, translate)


def test_prices_of_gates():
    """As many columns of the map of queries as the gate has numbers, in each copy of a differential operator."""
    for number, name, copies in ((4, "SA-4", 1), (13, "SA-4-Diff", 2)):
        slots = decode((number, 1, 1, 1, 1))
        plain = price(slots, make_dims(32, 8, {}))
        for variant, columns in (
            (Variant(gate=True), 32),
            (Variant(gate=True, gate_dim=1), 4),
            (Variant(gate=True, gate_dim=4), 16),
        ):
            found = price(slots, make_dims(32, 8, {name: variant}))
            assert found.params == plain.params + copies * 32 * columns
            assert found.cache_bytes == plain.cache_bytes


def test_gates_that_do_not_go_together():
    refused(
        4, make_dims(32, 8, {"SA-4": Variant(gate=True, gate_dim=3)}), "SA-4: gate_dim 3 does not divide the channels"
    )
    refused(4, make_dims(32, 8, {"SA-4": Variant(gate_dim=1)}), "SA-4: gate_dim means nothing without gate = true")


@torch.no_grad()
def test_a_gate_by_head_is_a_gate_by_channel_that_repeats_itself():
    wide, narrow = (
        build("41111", make_dims(32, 8, {"SA-4": Variant(gate=True, gate_dim=numbers)})).layers[0] for numbers in (0, 2)
    )
    weights = narrow.state_dict()
    queries, gate = weights["featurizer.C.channels.weight"].split((32, 8))
    weights["featurizer.C.channels.weight"] = torch.cat((queries, gate.repeat_interleave(4, dim=0)))
    wide.load_state_dict(weights)
    x = torch.randn(2, 9, 32, dtype=torch.float64)
    torch.testing.assert_close(wide(x, {})[0], narrow(x, {})[0])


def test_an_exported_file_has_the_gate(tmp_path):
    dims = make_dims(32, 8, {"QKNorm-GQA": Variant(gate=True, gate_dim=1)})
    check_exported("221111-91111", dims, build("221111-91111", dims), tmp_path)
