"""Softmax attention, over heads and over a latent: against naive twins, plain masked attention and public models, in
values and gradients; decoding with a cache against the whole sequence at once."""

import random
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from support.naive import attention_naive, latent_attention_naive, rotate_naive
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    DeepseekV3Config,
    DeepseekV3Model,
    LlamaConfig,
    LlamaModel,
    MistralConfig,
    MistralModel,
    Qwen3Config,
    Qwen3Model,
)
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.xlnet.modeling_xlnet import XLNetModel, XLNetRelativeAttention

from star.architecture.codes import Sparsity, Structure
from star.architecture.genome.deck import DECK
from star.architecture.genome.operator import build_liv
from star.architecture.spec import BackboneConfig, Dimensions, OperatorOverrides
from star.architecture.structures import check_size, fit, rules_of
from star.architecture.structures.feature import kept_columns
from star.errors import UserError
from star.model.operators.attention import FOCUS, look_back
from star.model.operators.latent_attention import LatentAttention
from star.model.operators.liv import MIXERS, Differential, Liv
from star.model.ops.positions import alibi_scores, alibi_slopes, distance_table, relative_scores
from star.model.ops.rotary import rotary_table, rotate

pytestmark = pytest.mark.usefixtures("double_precision")

DIMS = Dimensions(d_model=32, head_dim=8, vocab_size=11, seq_len=80)
WIDE = Dimensions(d_model=64, head_dim=8, vocab_size=11, seq_len=80, window=20)
LENGTHS = (1, 2, 63, 64, 65)
WINDOWS = (5, 64)  # smaller than a length, and not
SOFTMAX = (Structure.ATTENTION, Structure.LATENT_ATTENTION)

OF_THE_DECK = {liv.name: liv for liv in DECK.values() if liv.structure in SOFTMAX and not liv.differential}
LIVS = OF_THE_DECK | {
    "MLA in a window": replace(OF_THE_DECK["MLA"], sparsity=Sparsity.BANDED),
    "MLA with kernels": build_liv("", (2, 2, 2, 6), ((7, 3, 2, 1), (3, 2, 1, 9), (7, 6, 1, 2))),
    "GQA with kernels": build_liv("", (2, 2, 2, 3), ((3, 4, 1, 1), (7, 5, 1, 2), (1, 4, 1, 2))),
}

# What a scale may say of them: class, overrides, style.
VARIANTS = {
    "decoupled heads": ("SA-1", OperatorOverrides(num_heads=3, head_dim=12, value_head_dim=4), BackboneConfig()),
    "wide values": (
        "SA-1",
        OperatorOverrides(num_heads=4, num_kv_heads=2, head_dim=6, value_head_dim=10),
        BackboneConfig(),
    ),
    "own window": ("SWA-GQA", OperatorOverrides(window=7, num_kv_heads=2), BackboneConfig()),
    "scaled": ("SA-1", OperatorOverrides(score_scale=0.3), BackboneConfig()),
    "partly rotated": ("SA-4", OperatorOverrides(rotary=0.25, rope_theta=500), BackboneConfig(rope_theta=100.0)),
    "all normalised": ("SWA", OperatorOverrides(qk_norm="all"), BackboneConfig(rotary=0.5)),
    "unrotated": ("SA-1", OperatorOverrides(positions="none"), BackboneConfig()),
    "learned": ("SWA", OperatorOverrides(), BackboneConfig(positions="learned")),
    "alibi": ("SA-1", OperatorOverrides(num_heads=6, head_dim=4), BackboneConfig(positions="alibi")),
    "alibi in a window": ("SWA-GQA", OperatorOverrides(positions="alibi", window=9, score_scale=0.5), BackboneConfig()),
    "relative": ("SA-1", OperatorOverrides(num_heads=2, head_dim=6), BackboneConfig(positions="relative")),
    "relative in a window": (
        "SWA-GQA",
        OperatorOverrides(positions="relative", window=9, rope_theta=50),
        BackboneConfig(),
    ),
    "gated": ("SA-4", OperatorOverrides(gate=True, value_head_dim=6), BackboneConfig()),
    "gated and normalised": (
        "QKNorm-GQA",
        OperatorOverrides(gate=True, qk_norm="all", bias="CBV", out_bias=True),
        BackboneConfig(),
    ),
    "gated by head": ("SA-4", OperatorOverrides(gate=True, gate_dim=1), BackboneConfig()),
    "gated by thirds": (
        "SWA-GQA",
        OperatorOverrides(gate=True, gate_dim=3, value_head_dim=6, window=7),
        BackboneConfig(),
    ),
    "sinks": ("SA-4", OperatorOverrides(sinks=True), BackboneConfig()),
    "sinks in a window": (
        "SWA-GQA",
        OperatorOverrides(sinks=True, window=7, gate=True, value_head_dim=6),
        BackboneConfig(),
    ),
    "capped": ("SA-4", OperatorOverrides(score_cap=0.7, value_head_dim=12), BackboneConfig()),
    "capped in a window": (
        "SWA-GQA",
        OperatorOverrides(score_cap=2.0, sinks=True, window=9),
        BackboneConfig(positions="alibi"),
    ),
    "capped with relative positions": (
        "SWA",
        OperatorOverrides(score_cap=1.5, score_scale=0.5),
        BackboneConfig(positions="relative"),
    ),
    "MLA at sizes of its own": (
        "MLA",
        OperatorOverrides(
            num_heads=3, head_dim=6, rope_head_dim=4, value_head_dim=12, latent_dim=10, rank=5, inner_norm=True
        ),
        BackboneConfig(),
    ),
    "MLA of narrow values": (
        "MLA",
        OperatorOverrides(value_head_dim=4, rope_head_dim=12, score_scale=0.2),
        BackboneConfig(rotary=0.5),
    ),
    "MLA with alibi": ("MLA in a window", OperatorOverrides(positions="alibi", window=9), BackboneConfig()),
    "MLA unrotated": ("MLA", OperatorOverrides(positions="none"), BackboneConfig()),
}
NAMES = [*LIVS, *VARIANTS]


def sized(name, dims):
    """An operator as a scale builds it, and the scale."""
    if name in LIVS:
        return LIVS[name], dims
    base, overrides, style = VARIANTS[name]
    dims = replace(dims, style=style)
    liv = LIVS[base]
    return fit(liv, replace(dims, operators=((liv.name, overrides),))), dims


def assert_same(one, other, tensors, atol=1e-10):
    """Equal results, and equal gradients of a random projection with respect to every tensor. Those are sums over all
    tokens, hence the tolerance is relative to the largest of a tensor."""
    tensors = [t.detach().requires_grad_() for t in tensors]
    results = [form(*tensors) for form in (one, other)]
    torch.testing.assert_close(*results, rtol=0, atol=atol)
    weight = torch.randn_like(results[0])
    for pair in zip(*(torch.autograd.grad((y * weight).sum(), tensors) for y in results), strict=True):
        torch.testing.assert_close(*pair, rtol=0, atol=atol * max(1.0, pair[1].abs().max().item()))


def windows_of(liv):
    return WINDOWS if liv.sparsity is Sparsity.BANDED else (0,)


def make(liv, dims):
    """The operator with an output map that says something: it would start at zero."""
    copies = Differential if liv.differential else Liv
    operator = copies(liv, dims, (None,) * len(liv.groups), (False,) * len(liv.groups))
    for name, parameter in operator.named_parameters():
        if name.endswith("out.weight"):
            nn.init.normal_(parameter, std=dims.d_model**-0.5)
        elif name.endswith("norm.weight"):
            nn.init.normal_(parameter, mean=1.0)
        elif name.endswith("sinks"):
            nn.init.normal_(parameter, std=2.0)
    return operator


def with_parameters(operator, form, num_inputs=1):
    """form(x), which uses the operator, as a function of x and the operator's parameters; of a list of inputs, if there
    are more."""
    holder = nn.Module()
    holder.operator, holder.forward = operator, form
    names = [name for name, _ in holder.named_parameters()]

    def call(*tensors):
        inputs = tensors[0] if num_inputs == 1 else list(tensors[:num_inputs])
        return torch.func.functional_call(holder, dict(zip(names, tensors[num_inputs:], strict=True)), (inputs,))

    return call


def whole(operator):
    """Its output as a function of its input and parameters."""
    return with_parameters(operator, lambda x: operator(x, {})[0])


def test_the_deck_has_these_classes():
    numbers = [number for number, liv in DECK.items() if liv in OF_THE_DECK.values()]
    assert numbers == [1, 2, 3, 4, 18, 19, 20, 21, 22, *range(52, 57)]


@pytest.mark.parametrize("num_tokens", LENGTHS)
@pytest.mark.parametrize("name", NAMES)
def test_twins(name, num_tokens):
    for window in WINDOWS if LIVS.get(name, OF_THE_DECK["SA-1"]).sparsity is Sparsity.BANDED else (0,):
        liv, dims = sized(name, replace(DIMS, window=window))
        dims = dims.of(liv)
        mixer = make(liv, dims).mixer
        form = attention_naive if liv.structure is Structure.ATTENTION else latent_attention_naive

        def fast(features, mixer=mixer):
            c, b, v = features
            return mixer(c=c, b=mixer.prepare("B", b, 0), v=v)

        def naive(features, mixer=mixer, form=form):
            return form(mixer, *features)

        features = [torch.randn(2, num_tokens, group.width(dims)) for group in liv.groups]
        pair = (with_parameters(mixer, one, len(features)) for one in (fast, naive))
        assert_same(*pair, [*features, *mixer.parameters()])


@pytest.mark.parametrize("theta", [100.0, 10_000.0])
@pytest.mark.parametrize("stretch", [1.0, 2**0.5])
def test_heads_start_by_looking_back(stretch, theta):
    """On the channels' mean alone, head h scores the token h places back with FOCUS, and every other lower."""
    query, key = torch.zeros(4, 8, 32), torch.zeros(1, 8, 32)
    look_back(query, 1, stretch, theta)
    look_back(key, 0, stretch, theta)
    x = torch.full((1, 20, 32), 0.5**0.5)  # what the mean of the embedding leaves after the norm
    q, k = (rotate(torch.einsum("btd,hkd->bthk", x, maps), theta=theta) for maps in (query, key))
    scores = torch.einsum("bhk,bjgk->hj", q[:, -1], k) / (8**0.5 * stretch)
    assert scores.argmax(dim=1).tolist() == [19, 18, 17, 16]
    torch.testing.assert_close(scores.amax(dim=1), torch.full((4,), FOCUS), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["SA-1", "scaled", "partly rotated", "gated", "MLA", "MLA of narrow values"])
@torch.no_grad()
def test_variants_start_by_looking_back_too(name):
    """Head h scores the token h places back with FOCUS, whatever is rotated and however scores are scaled."""
    liv, dims = sized(name, DIMS)
    operator = make(liv, dims)
    made, mixer = {role: operator.featurizer[role] for role in "CB"}, operator.mixer
    for feature in made.values():
        nn.init.zeros_(feature.channels.weight)
    mixer.start(made)
    x = torch.full((1, 20, DIMS.d_model), 0.5**0.5)
    c, b = (feature(x, None) for feature in made.values())
    heads = c[:, :, : dims.num_heads * mixer.total].unflatten(2, (-1, mixer.total))
    q = mixer.positions.rotate(heads[..., mixer.total - mixer.rope_dim :], 0)[0, -1]
    k = mixer.prepare("B", b, 0).unflatten(2, (-1, mixer.rope_dim))[0]
    k = k.repeat_interleave(len(q) // k.shape[1], dim=1)
    scores = mixer.scale * torch.einsum("hk,jhk->hj", q, k)
    assert scores.argmax(dim=1).tolist() == [19, 18, 17, 16]
    torch.testing.assert_close(scores.amax(dim=1), torch.full((4,), FOCUS), rtol=0, atol=1e-5)
    assert not c[:, :, dims.num_heads * mixer.total :].any()


@pytest.mark.parametrize("name", ["unrotated", "learned", "alibi", "relative", "MLA unrotated"])
@pytest.mark.parametrize("style", [BackboneConfig(norm="layer"), BackboneConfig(norm_place="after"), None])
def test_nothing_looks_back_where_nothing_could_be_seen(name, style):
    """Without a rotation, or where the norm takes the mean that it would be seen by."""
    liv, dims = sized("SA-1" if style else name, replace(DIMS, style=style or BackboneConfig()))
    assert not MIXERS[liv.structure](liv, dims.of(liv)).looks_back


@pytest.mark.parametrize("channels", [None, 0, 2, 6, 8])
def test_the_first_channels_are_rotated(channels):
    x = torch.randn(2, 9, 3, 8)
    torch.testing.assert_close(rotate(x, 0, 500.0, channels), rotate_naive(x, 500.0, channels), rtol=0, atol=1e-5)


def test_tables_serve_many_steps():
    """Neither angles nor sinusoids are made anew for a token."""
    for name in ("partly rotated", "relative"):
        liv, dims = sized(name, DIMS)
        operator, x = make(liv, dims), torch.randn(1, 70, dims.d_model)
        cache = operator.new_cache(1, 70, {})
        for table in (rotary_table, distance_table):
            table.cache_clear()
        for i in range(70):
            cache.begin(i)
            operator(x[:, i : i + 1], {}, cache)
        assert rotary_table.cache_info().misses + distance_table.cache_info().misses <= 8  # one for each power of two


@pytest.mark.parametrize("heads", [1, 2, 3, 6, 8, 12, 20])
def test_linear_biases_are_blooms(heads):
    """It adds slopes times positions, which differs by a number for each query, and softmax does not see that."""
    theirs = build_alibi_tensor(torch.ones(1, 9), heads, torch.float64)
    ours = alibi_scores(torch.zeros(1, 9, heads, 4), 9)
    torch.testing.assert_close(ours - ours[:, :, :1], (theirs - theirs[:, :, :1]).expand_as(ours), rtol=0, atol=1e-6)
    assert ours.diagonal(dim1=1, dim2=2).eq(0).all() and len(alibi_slopes(heads)) == heads


def test_relative_scores_are_those_of_xlnet():
    """Its attention is Transformer-XL's; its biases are zero here."""
    heads, width, d_model, num_tokens = 3, 4, 12, 7
    q, maps = torch.randn(1, num_tokens, heads, width), torch.randn(heads, width, d_model)
    rates = 1 / 10_000 ** (torch.arange(0, d_model, 2.0) / d_model)
    sinusoids = XLNetModel.positional_embedding(torch.arange(num_tokens, -num_tokens, -1.0), rates)[:, 0]
    keys = torch.einsum("pd,hkd->phk", sinusoids, maps)[:, None]
    theirs = torch.einsum("ibhk,jbhk->bhij", q.transpose(0, 1), keys)
    theirs = XLNetRelativeAttention.rel_shift_bnij(theirs, klen=num_tokens)
    ours = relative_scores(q, maps, num_tokens, 10_000.0)
    torch.testing.assert_close(ours.tril(), theirs.tril(), rtol=0, atol=1e-5)
    for i in range(num_tokens):  # one query is scored in another form
        one = relative_scores(q[:, i : i + 1], maps, i + 1, 10_000.0)
        torch.testing.assert_close(one[:, :, 0], ours[:, :, i, : i + 1], rtol=0, atol=1e-10)


def test_latent_attention_knows_no_relative_positions():
    with pytest.raises(UserError, match="MLA: latent attention has no relative positions"):
        check_size(LIVS["MLA"], replace(DIMS, style=BackboneConfig(positions="relative")))


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_of_the_rules(name):
    liv, dims = sized(name, DIMS)
    operator, rules, dims = make(liv, dims), rules_of(liv), dims.of(liv)
    found = sum(p.numel() for part in (operator.mixer, operator.out) for p in part.parameters())
    assert found == rules.params(liv, dims)
    for group in liv.groups:
        found = sum(p.numel() for p in operator.featurizer[group.role].parameters())
        assert found == rules.group_params(liv, group, dims)


def test_maps_from_the_latent_start_at_the_scale_of_their_inputs():
    dims = Dimensions(d_model=256, head_dim=32, vocab_size=11, seq_len=8)
    mixer = LatentAttention(LIVS["MLA"], dims)
    for parameter in mixer.parameters():
        assert parameter.shape == (256, 64)
        assert abs(parameter.std().item() * 8 - 1) < 0.02 and abs(parameter.mean().item()) < 0.01


# --- The whole operator, against others' attention with the same weights


def plain_attention(operator, liv, dims, x):
    """The library's attention with every key and value written out and a mask drawn token by token."""
    c, b, v = (operator.featurizer[role](x, None).unflatten(2, (-1, dims.head_dim)) for role in "CBV")
    if liv.structure is Structure.LATENT_ATTENTION:
        plain, turned = c[:, :, 0::2], c[:, :, 1::2]
        latent = v.flatten(2)
        keys = operator.mixer.up_key(latent).unflatten(2, (-1, dims.head_dim))
        v = operator.mixer.up_value(latent).unflatten(2, (-1, dims.head_dim))
        q, k = (torch.cat(pair, dim=3) for pair in ((plain, rotate(turned)), (keys, rotate(b).expand_as(keys))))
    else:
        repeat = c.shape[2] // b.shape[2]
        q, k, v = rotate(c), rotate(b).repeat_interleave(repeat, dim=2), v.repeat_interleave(repeat, dim=2)
    reach = dims.band if liv.sparsity is Sparsity.BANDED else x.shape[1]
    mask = torch.tensor([[0 <= i - j < reach for j in range(x.shape[1])] for i in range(x.shape[1])])
    y = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask)
    return operator.out(y.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("dtype, atol", [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", LIVS)
def test_is_plain_masked_attention(name, dtype, atol):
    liv = LIVS[name]
    torch.set_default_dtype(dtype)
    for window in windows_of(liv):
        dims = replace(WIDE, window=window)
        operator = make(liv, dims)
        plain = with_parameters(operator, partial(plain_attention, operator, liv, dims))
        assert_same(whole(operator), plain, [torch.randn(2, 33, dims.d_model), *operator.parameters()], atol)


PUBLIC = {
    "SA-1": (LlamaModel, LlamaConfig),
    "SA-3": (LlamaModel, LlamaConfig),
    "SA-4": (LlamaModel, LlamaConfig),
    "MQA": (LlamaModel, LlamaConfig),
    "SWA": (MistralModel, MistralConfig),
    "SWA-GQA": (MistralModel, MistralConfig),
    "QKNorm-GQA": (Qwen3Model, Qwen3Config),
    "MLA": (DeepseekV3Model, DeepseekV3Config),
}


def public_model(liv, dims):
    """A model of one layer, whose attention sees the embeddings themselves."""
    make_model, make_config = PUBLIC[liv.name]
    sizes = {
        "hidden_size": dims.d_model,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": dims.num_heads,
        "num_key_value_heads": max(1, liv.group("B").width(dims) // dims.head_dim),
        "head_dim": dims.head_dim,
        "vocab_size": dims.vocab_size,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        "attn_implementation": "sdpa",
    }
    if make_config is MistralConfig:
        sizes["sliding_window"] = dims.band
    if make_config is DeepseekV3Config:
        del sizes["head_dim"]
        sizes["num_key_value_heads"] = dims.num_heads
        sizes |= dict.fromkeys(("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), dims.head_dim)
        sizes |= {"kv_lora_rank": liv.group("V").width(dims), "q_lora_rank": None}
        sizes |= {"rope_interleave": False, "first_k_dense_replace": 1}
    model = make_model(make_config(**sizes)).to(torch.get_default_dtype())
    model.layers[0].input_layernorm = nn.Identity()
    return model


def public_weights(liv, dims, own):
    """The parameters of the public attention, from ours by name."""
    if liv.structure is Structure.ATTENTION:
        names = {"q": "C", "k": "B", "v": "V"}
        weights = {f"{name}_proj.weight": own[f"featurizer.{role}.channels.weight"] for name, role in names.items()}
        gains = {f"{name}_norm.weight": own.get(f"featurizer.{role}.norm.weight") for name, role in names.items()}
        weights |= {name: gain for name, gain in gains.items() if gain is not None}
    else:
        up = [own[f"mixer.{name}.weight"].unflatten(0, (-1, dims.head_dim)) for name in ("up_key", "up_value")]
        down = [own[f"featurizer.{role}.channels.weight"] for role in "VB"]
        weights = {
            "q_proj.weight": own["featurizer.C.channels.weight"],
            "kv_a_proj_with_mqa.weight": torch.cat(down),
            "kv_a_layernorm.weight": own["featurizer.V.norm.weight"],
            "kv_b_proj.weight": torch.cat(up, dim=1).flatten(0, 1),
        }
    return weights | {"o_proj.weight": own["out.weight"]}


@pytest.mark.parametrize("dtype, atol", [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", PUBLIC)
def test_is_the_public_attention(name, dtype, atol):
    """As the public model calls it, with its own rotation and its own mask."""
    torch.set_default_dtype(dtype)
    liv = LIVS[name]
    operator, model = make(liv, WIDE), public_model(liv, WIDE)
    attention = model.layers[0].self_attn
    if dtype is torch.float64:  # the public norms compute in single precision whatever they are given
        for norm in ("q_norm", "k_norm", "kv_a_layernorm"):
            if hasattr(attention, norm):
                setattr(attention, norm, nn.RMSNorm(getattr(attention, norm).weight.shape, eps=1e-6))
    seen = []
    attention.register_forward_hook(lambda module, inputs, outputs: seen.append(outputs[0]))
    names = [name for name, _ in operator.named_parameters()]

    def public(x, *tensors):
        weights = public_weights(liv, WIDE, dict(zip(names, tensors, strict=True)))
        assert set(weights) == {name for name, _ in attention.named_parameters()}
        weights = {f"layers.0.self_attn.{name}": weight for name, weight in weights.items()}
        torch.func.functional_call(model, weights, kwargs={"inputs_embeds": x})
        return seen[-1]

    for num_tokens in (1, 20, 21, 65):  # the window is 20
        x = torch.randn(2, num_tokens, WIDE.d_model)
        assert_same(whole(operator), public, [x, *operator.parameters()], atol)


# --- Decoding


def expected_shapes(liv, dims, context):
    """What the rules say that decoding keeps, without the batch."""
    shapes = {}
    for one in rules_of(liv).cache_spec(liv, dims):
        shapes[one.roles] = (min(context, dims.band) if one.banded else context, one.growing)
    for group in liv.groups:
        if kept_columns(group, dims):
            width = group.width(dims)
            shapes[f"{group.role} columns"] = (kept_columns(group, dims) // width, width)
    return shapes


def decode(operator, x, cuts, context):
    """The operator over one part of x after another, with a cache; and the cache."""
    cache = operator.new_cache(x.shape[0], context, {})
    parts, position = [], 0
    for part in x.split(cuts, dim=1):
        cache.begin(position)
        parts.append(operator(part, {}, cache)[0])
        position += part.shape[1]
    return torch.cat(parts, dim=1), cache


def random_cuts(num_tokens, choose):
    """Prefill and single steps; single steps only; pieces of random length."""
    prefill = choose.randint(1, num_tokens - 1)
    marks = sorted(choose.sample(range(1, num_tokens), min(5, num_tokens - 1)))
    pieces = [end - start for start, end in zip([0, *marks], [*marks, num_tokens], strict=True)]
    return [prefill] + [1] * (num_tokens - prefill), [1] * num_tokens, pieces


DIFFERENTIAL = {liv.name: liv for liv in DECK.values() if liv.structure in SOFTMAX and liv.differential}


@pytest.mark.parametrize("context", [12, 16, 40])  # the window is 16
@pytest.mark.parametrize("name", [*NAMES, *DIFFERENTIAL])
@torch.no_grad()
def test_decoding_is_the_whole_sequence(name, context):
    dims = replace(DIMS, window=16)
    liv, dims = (DIFFERENTIAL[name], dims) if name in DIFFERENTIAL else sized(name, dims)
    operator = make(liv, dims)
    x = torch.randn(2, context, dims.d_model)
    expected, _ = operator(x, {})
    for cuts in random_cuts(context, random.Random(context)):
        found, cache = decode(operator, x, cuts, context)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
        for one in cache.parts or (cache,):
            shapes = {name: tuple(tensor.shape[1:]) for name, tensor in one.tensors.items()}
            assert shapes == expected_shapes(liv, dims.of(liv), context)


@pytest.mark.parametrize("window", [1, 2, 80])
@pytest.mark.parametrize("name", ["SWA-GQA", "MLA in a window"])
@torch.no_grad()
def test_decoding_in_extreme_windows(name, window):
    dims = replace(DIMS, window=window)
    operator, x = make(LIVS[name], dims), torch.randn(2, 9, dims.d_model)
    for cuts in random_cuts(9, random.Random(window)):
        found, _ = decode(operator, x, cuts, context=11)
        torch.testing.assert_close(found, operator(x, {})[0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("shared", ["B", "V", "BV"])
@pytest.mark.parametrize("name", ["SA-4", "SWA-GQA", "MLA", "MLA in a window"])
@torch.no_grad()
def test_decoding_with_features_of_an_earlier_slot(name, shared):
    """The later slot keeps nothing of what the earlier one keeps."""
    liv, dims = LIVS[name], replace(DIMS, window=4)
    first, second = make(liv, dims), Liv(liv, dims, (None,) * 3, tuple(role in shared for role in "CBV"))
    nn.init.normal_(second.out.weight)

    def both(x, caches=(None, None)):
        y, features = first(x, {}, caches[0])
        return second(x + y, {role: features[role] for role in shared}, caches[1])[0]

    x = torch.randn(2, 12, dims.d_model)
    for cuts in random_cuts(12, random.Random(0)):
        kept = first.new_cache(2, 12, {})
        caches = kept, second.new_cache(2, 12, dict.fromkeys(shared, kept))
        assert set(caches[1].tensors) == set("BV") - set(shared)
        parts, position = [], 0
        for part in x.split(cuts, dim=1):
            for cache in caches:
                cache.begin(position)
            parts.append(both(part, caches))
            position += part.shape[1]
        torch.testing.assert_close(torch.cat(parts, dim=1), both(x), rtol=0, atol=1e-10)


class Largest(TorchDispatchMode):
    """Notes the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@pytest.mark.parametrize("name", ["MLA", "MLA in a window"])
@torch.no_grad()
def test_a_step_never_expands_the_latents(name):
    """One token makes no tensor of the size of the keys; two tokens at once do."""
    operator, context = make(LIVS[name], WIDE), 70
    remembered = context if name == "MLA" else WIDE.window
    for num_tokens in (1, 2):
        cache = operator.new_cache(1, context, {})
        cache.begin(context - num_tokens)
        with Largest() as largest:
            operator.mixer(
                c=torch.randn(1, num_tokens, 2 * WIDE.d_model),
                b=torch.randn(1, num_tokens, WIDE.head_dim),
                v=torch.randn(1, num_tokens, LIVS[name].group("V").width(WIDE)),
                cache=cache,
            )
        assert (largest.elements >= remembered * WIDE.d_model) == (num_tokens > 1)
