"""Newer families, whole: gates of their own width, norms of queries and keys without gains or after the rotation, norms
before the map back, and norms at other places in layers of another class; in modules, prices and exported files."""

from dataclasses import replace

import pytest
import torch
from support.families import build, check_exported, check_logits, of_family
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
from torch.nn import functional as F
from transformers import (
    BitNetConfig,
    BitNetForCausalLM,
    HunYuanDenseV1Config,
    HunYuanDenseV1ForCausalLM,
    Lfm3Config,
    Lfm3ForCausalLM,
    NanoChatConfig,
    NanoChatForCausalLM,
    OlmoHybridConfig,
    OlmoHybridForCausalLM,
)

from star.architecture.genome import decode, parse
from star.architecture.spec import OperatorOverrides
from star.architecture.structures import check_overrides, check_size, fit
from star.cost.cost import price
from star.errors import UserError
from star.model.operators.attention import Attention

PLAIN_ROTATION = {"rope_type": "default", "rope_theta": 10_000.0}


@pytest.fixture(autouse=True)
def doubles(monkeypatch):
    yield from in_double(monkeypatch)


def sizes(**others):
    """Settings of a reference of two layers."""
    own = {"vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2}
    own |= {"num_attention_heads": 4, "num_key_value_heads": 2, "attn_implementation": "eager"}
    return own | {"rope_parameters": PLAIN_ROTATION} | others


def check(genome, dims, kind, config, translate=None):
    """The model of a genome is the reference with the same weights, of which neither has more; and priced as built.
    `translate` names them for a reference that is of none of our families.
    """
    model = build(genome, dims)
    reference = make_reference(kind, config, translate(model)) if translate else of_family(kind, config, model)
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
        "GConv-k7": OperatorOverrides(kept_taps=7),
        "SWA-GQA": OperatorOverrides(window=6, **heads),
        "SA-4": OperatorOverrides(rope_theta=5e4, **heads),
        "GMemless": OperatorOverrides(d_ff=40),
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
        for overrides, columns in (
            (OperatorOverrides(gate=True), 32),
            (OperatorOverrides(gate=True, gate_dim=1), 4),
            (OperatorOverrides(gate=True, gate_dim=4), 16),
        ):
            found = price(slots, make_dims(32, 8, {name: overrides}))
            assert found.params == plain.params + copies * 32 * columns
            assert found.cache_bytes == plain.cache_bytes


def test_gates_that_do_not_go_together():
    refused(
        4,
        make_dims(32, 8, {"SA-4": OperatorOverrides(gate=True, gate_dim=3)}),
        "SA-4: gate_dim 3 does not divide the channels",
    )
    refused(
        4, make_dims(32, 8, {"SA-4": OperatorOverrides(gate_dim=1)}), "SA-4: gate_dim means nothing without gate = true"
    )


@torch.no_grad()
def test_a_gate_by_head_is_a_gate_by_channel_that_repeats_itself():
    wide, narrow = (
        build("41111", make_dims(32, 8, {"SA-4": OperatorOverrides(gate=True, gate_dim=numbers)})).layers[0]
        for numbers in (0, 2)
    )
    weights = narrow.state_dict()
    queries, gate = weights["featurizer.C.channels.weight"].split((32, 8))
    weights["featurizer.C.channels.weight"] = torch.cat((queries, gate.repeat_interleave(4, dim=0)))
    wide.load_state_dict(weights)
    x = torch.randn(2, 9, 32, dtype=torch.float64)
    torch.testing.assert_close(wide(x, {})[0], narrow(x, {})[0])


def test_an_exported_file_has_the_gate(tmp_path):
    dims = make_dims(32, 8, {"QKNorm-GQA": OperatorOverrides(gate=True, gate_dim=1)})
    check_exported("221111-91111", dims, build("221111-91111", dims), tmp_path)


# Norms of queries and keys


def test_hunyuan():
    """Queries and keys are rotated, then normalised; a window cuts what the cache keeps of them."""
    heads = OperatorOverrides(num_kv_heads=2, qk_norm_place="after rotation")
    dims = make_dims(32, 12, {"QKNorm-GQA": heads, "GMemless": OperatorOverrides(d_ff=40)}, heads=4, norm_eps=1e-5)
    config = HunYuanDenseV1Config(**sizes(head_dim=12, tie_word_embeddings=True))

    check("221111-91111-221111-91111", dims, HunYuanDenseV1ForCausalLM, config)


def test_nanochat():
    """No gains at all, a norm of the embedding, a squared ReLU, capped logits."""
    heads = OperatorOverrides(num_kv_heads=2, qk_norm_gain=False, qk_norm_place="after rotation")
    style = {"norm_gain": False, "embedding_norm": True, "tied": False, "logit_cap": 3.0}
    dims = make_dims(32, 8, {"QKNorm-GQA": heads, "ReLU2": OperatorOverrides(d_ff=40)}, **style)
    config = NanoChatConfig(**sizes(final_logit_softcapping=3.0, pad_token_id=None))

    check("221111-381111-221111-381111", dims, NanoChatForCausalLM, config)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["head", "all"])
@pytest.mark.parametrize("gain", [True, False])
def test_norms_after_the_rotation_by_their_definition(kind, gain):
    """From maps and gains alone: rotate, normalise, softmax; keys serve two query heads each."""
    overrides = OperatorOverrides(num_kv_heads=2, qk_norm=kind, qk_norm_gain=gain, qk_norm_place="after rotation")
    (liv,) = build("41111", make_dims(32, 8, {"SA-4": overrides})).layers
    x = torch.randn(2, 9, 32, dtype=torch.float64)
    q, k, v = (liv.featurizer[role].channels(x) for role in "CBV")
    gains = liv.mixer.gains
    assert set(gains) == (set("CB") if gain else set())
    q, k = (
        normalise(liv.mixer.positions.rotate(y.unflatten(2, (-1, 8)), 0), gains[role] if gain else None, kind)
        for role, y in (("C", q), ("B", k))
    )
    k, v = k.repeat_interleave(2, dim=2), v.unflatten(2, (-1, 8)).repeat_interleave(2, dim=2)
    scores = torch.einsum("bthk,bshk->bhts", q, k) / 8**0.5
    scores = scores.masked_fill(torch.ones(9, 9).triu(1).bool(), -torch.inf)
    expected = torch.einsum("bhts,bshk->bthk", scores.softmax(dim=3), v).flatten(2)
    torch.testing.assert_close(liv(x, {})[0], liv.out(expected), rtol=0, atol=1e-10)


def normalise(heads, gain, kind):
    """Heads (B, T, H, K) to unit mean square, each or all together, times gains."""
    flat = heads if kind == "head" else heads.flatten(2)
    return F.rms_norm(flat, flat.shape[-1:], gain, 1e-6).view_as(heads)


def test_prices_of_gains():
    """None, or as many as before the rotation, in each copy; but slots that share weights have gains of their own."""
    for number, name, copies in ((22, "QKNorm-GQA", 1), (42, "QKNorm-GQA-Diff", 2)):
        for kind, width in (("", 8 + 8), ("all", 32 + 8)):
            slots = decode((number, 1, 1, 1, 1))
            plain = price(slots, make_dims(32, 8, {name: OperatorOverrides(qk_norm=kind)})).params
            for overrides, less in (
                (OperatorOverrides(qk_norm=kind, qk_norm_gain=False), copies * width),
                (OperatorOverrides(qk_norm=kind, qk_norm_gain=False, qk_norm_place="after rotation"), copies * width),
                (OperatorOverrides(qk_norm=kind, qk_norm_place="after rotation"), 0),
                (OperatorOverrides(qk_norm=kind, qk_norm_place="before rotation"), 0),
            ):
                assert price(slots, make_dims(32, 8, {name: overrides})).params == plain - less
    shared = decode((22, 1, 2, 1, 1) * 2)
    prices = [
        price(shared, make_dims(32, 8, {"QKNorm-GQA": OperatorOverrides(qk_norm_place=place)})).params
        for place in ("before rotation", "after rotation")
    ]
    assert prices[1] - prices[0] == 8 + 8


def test_norms_that_are_not_there():
    for overrides in (OperatorOverrides(qk_norm_gain=False), OperatorOverrides(qk_norm_place="after rotation")):
        refused(4, make_dims(32, 8, {"SA-4": overrides}), "SA-4: queries and keys have no norm")
    late = OperatorOverrides(qk_norm_place="after rotation", positions="alibi")
    (slot,) = decode((22, 1, 1, 1, 1))
    with pytest.raises(UserError, match="QKNorm-GQA: norms after the rotation need rotary positions"):
        check_size(slot.liv, make_dims(32, 8, {"QKNorm-GQA": late}))


def test_an_exported_file_has_norms_after_the_rotation_only_where_they_are(tmp_path):
    for place, count in (("after rotation", 1), ("before rotation", 0)):
        dims = make_dims(32, 8, {"QKNorm-GQA": OperatorOverrides(qk_norm_place=place)})
        text = check_exported("221111-91111", dims, build("221111-91111", dims), tmp_path)
        assert text.count("self.query_gain = ") == text.count("self.key_gain = ") == count


# Norms before the map back


def test_bitnet():
    """In attention and in units, whose gate is a squared ReLU; keys serve two heads each."""
    deck = "12123,1211,1212,1212+11172,1231,1231"
    unit = decode(parse(f"{deck}/21111"))[0].liv.name
    operators = {
        "SA-4": OperatorOverrides(num_kv_heads=2, out_norm=True),
        unit: OperatorOverrides(d_ff=40, out_norm=True),
    }
    dims = make_dims(32, 8, operators, norm_eps=1e-5)
    config = BitNetConfig(**sizes(hidden_act="relu2", tie_word_embeddings=True))

    check(f"{deck}/11111-21111-11111-21111", dims, BitNetForCausalLM, config)


@pytest.mark.parametrize(
    ("text", "overrides", "width"),
    [
        ("11111", OperatorOverrides(value_head_dim=6), 24),
        ("101111", OperatorOverrides(), 2 * 32),
        ("91111", OperatorOverrides(d_ff=40), 40),
        ("381111", OperatorOverrides(), 128),
        ("11182,1241/11111", OperatorOverrides(d_ff=24), 24),
        ("11192,1231,1231/11111", OperatorOverrides(d_ff=24), 24),
    ],
)
@torch.no_grad()
def test_the_norm_is_the_last_before_the_map_back(text, overrides, width):
    """A gain for each channel, in each copy; what comes out does not change with the size of what goes in."""
    (slot,) = decode(parse(text))
    plain, normed = (
        make_dims(32, 8, {slot.liv.name: replace(overrides, out_norm=norm)}, norm_eps=1e-12) for norm in (None, True)
    )
    assert price((slot,), normed).params == price((slot,), plain).params + width
    (operator,) = build(text, normed).layers
    if not slot.liv.differential:
        seen = []
        operator.out.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        operator(torch.randn(2, 5, 32, dtype=torch.float64), {})
        ratios = seen[0] / operator.mixer.norm.weight
        torch.testing.assert_close(ratios.square().mean(dim=2), torch.ones(2, 5, dtype=torch.float64))


def test_who_knows_norms_before_the_map_back():
    for number in (21, 23, 33, 5):
        (slot,) = decode((number, 1, 1, 1, 1))
        with pytest.raises(UserError, match="out_norm means nothing to"):
            check_overrides(slot.liv, OperatorOverrides(out_norm=True))


def test_an_exported_file_has_norms_before_the_map_back(tmp_path):
    dims = make_dims(32, 8, {"SA-1": OperatorOverrides(out_norm=True), "GMemless": OperatorOverrides(out_norm=True)})
    check_exported("11111-91111", dims, build("11111-91111", dims), tmp_path)


# Norms at other places in slots of another class


def hybrid_operators(place_of_attention):
    """Delta rules, attention, and the unit that follows each: norms before the former two."""
    return {
        "GDN": OperatorOverrides(num_heads=4, head_dim=6, value_head_dim=10),
        "SA-4": OperatorOverrides(num_kv_heads=2, qk_norm="all", norm_place=place_of_attention),
        "GMemless": OperatorOverrides(d_ff=40),
        "SwiGLU-1": OperatorOverrides(d_ff=40, norm_place=place_of_attention),
    }


HYBRID = "291111-91111-41111-351111"


def test_olmo_hybrid():
    """Norms before a delta rule and its unit, and after attention and its unit."""
    dims = make_dims(32, 8, hybrid_operators("after"), norm_eps=1e-5, tied=False)
    own = {"layer_types": ["linear_attention", "full_attention"], "linear_key_head_dim": 6, "rms_norm_eps": 1e-5}
    own |= {"linear_value_head_dim": 10, "linear_allow_neg_eigval": False, "pad_token_id": None}
    config = OlmoHybridConfig(**sizes(**own))

    check(HYBRID, dims, OlmoHybridForCausalLM, config)


@torch.no_grad()
@pytest.mark.parametrize("style", ["before", "after", "both"])
@pytest.mark.parametrize("own", ["before", "after", "both"])
def test_a_class_has_its_norms_where_it_says(own, style):
    """By the definition, and two norms are priced where there are two."""
    text, dims = "11111-91111-11111", make_dims(32, 8, {"SA-1": OperatorOverrides(norm_place=own)}, norm_place=style)
    model = build(text, dims)
    assert price(decode(parse(text)), dims).params == sum(parameter.numel() for parameter in model.parameters())
    tokens = torch.arange(12).reshape(2, 6)
    x = model.embedding(tokens)
    for i, place in enumerate((own, style, own)):
        y, _ = model.layers[i](x if place == "after" else model.norms[i](x), {})
        x = x + {"before": y, "after": model.norms[i](y)}.get(place, model.post_norms[i](y) if place == "both" else y)
    torch.testing.assert_close(model(tokens), model.final_norm(x) @ model.embedding.weight.T)


def test_classes_that_share_a_norm_have_it_at_one_place():
    variants = {"SA-1": OperatorOverrides(norm_place="after")}
    refused(
        1, make_dims(32, 8, variants, shared_norm=True, parallel=(2,)), "SA-1: norm_place of a class goes with norms"
    )
    with pytest.raises(UserError, match="norm_place must be one of before, after, both, not 'between'"):
        OperatorOverrides(norm_place="between")


def test_what_is_read_without_a_norm_has_no_mean_to_look_back_by():
    """Attention begins by looking back only where a norm stands before it."""
    dims = make_dims(32, 8, {"SA-1": OperatorOverrides(norm_place="after")})
    (slot,) = decode((1, 1, 1, 1, 1))
    assert not Attention(fit(slot.liv, dims), dims).looks_back
    assert Attention(fit(slot.liv, make_dims(32, 8, {})), dims).looks_back == ["C", "B", "V"]


def test_an_exported_file_has_norms_at_their_places(tmp_path):
    dims = make_dims(32, 8, hybrid_operators("both"), norm_place="after")
    check_exported(HYBRID, dims, build(HYBRID, dims), tmp_path)
