"""Units and experts of newer families: activations with numbers of their own, as `transformers` computes them."""

import math

import pytest
import torch
from support.families import build, check_exported, check_logits, double, of_family
from support.states import (
    in_double,
    make_dims,
    unit_state,
)
from torch import nn
from transformers import ApertusConfig, ApertusForCausalLM, DeepseekV4Config, GptOssConfig, GptOssForCausalLM
from transformers.activations import ACT2FN, XIELUActivation
from transformers.models.deepseek_v4.modeling_deepseek_v4 import DeepseekV4MLP

from star.architecture.codes import UNSEARCHED, Nonlinearity
from star.architecture.genome import decode, parse
from star.architecture.genome.operator import nearest_codes
from star.architecture.genome.space import CLASS_ALPHABET
from star.architecture.spec import OperatorOverrides
from star.architecture.structures import check_overrides, specify
from star.cost.cost import price
from star.errors import UserError
from star.model.language_model import LanguageModel

XIELU = "11182,1241"
CLIPPED = "11192,1231,1231"
EXPERTS = "11194,1211,1211,1242"
PLAIN_ROTATION = {"rope_type": "default", "rope_theta": 10_000.0}


@pytest.fixture(autouse=True)
def doubles(monkeypatch):
    yield from in_double(monkeypatch)


def sizes(**others):
    """Settings of a reference of two layers."""
    own = {"vocab_size": 29, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    return own | {"num_key_value_heads": 2, "rms_norm_eps": 1e-5, "attn_implementation": "eager"} | others


def name_of(text):
    """The name of the one class of a genome."""
    (slot,) = decode(parse(f"{text}/11111"))
    return slot.liv.name


def test_apertus():
    """Units without a gate, whose activation has two numbers in each layer; norms of queries and keys."""
    deck = f"12123,1511,1514,1214+{XIELU}"
    operators = {"QKNorm-GQA": OperatorOverrides(num_kv_heads=2), name_of(XIELU): OperatorOverrides(d_ff=40)}
    dims = make_dims(32, 8, operators, norm_eps=1e-5, tied=False)
    model = build(f"{deck}/11111-21111-11111-21111", dims)
    config = ApertusConfig(**sizes(intermediate_size=40, rope_parameters=PLAIN_ROTATION), dtype=torch.float64)
    reference = of_family(ApertusForCausalLM, config, model)
    assert sum(p.numel() for p in reference.parameters()) == sum(p.numel() for p in model.parameters())
    check_logits(model, reference, tolerance=1e-10)


def test_gpt_oss_whole():
    """Its experts, too: biases in all maps, a clipped swish, and values that are one more than they say."""
    heads = {"num_kv_heads": 2, "sinks": True, "bias": "CBV", "out_bias": True}
    experts = {"num_experts": 6, "experts_per_token": 2, "d_ff": 20, "scoring": "softmax", "normalised": True}
    experts = OperatorOverrides(bias="CVR", out_bias=True, clip_limit=0.8, **experts)
    operators = {
        "SWA-GQA": OperatorOverrides(window=6, **heads),
        "SA-4": OperatorOverrides(**heads),
        name_of(EXPERTS): experts,
    }
    dims = make_dims(32, 12, operators, heads=4, norm_eps=1e-5, tied=False)
    deck = f"12223,1211,1214,1214+{EXPERTS}+12123,1211,1212,1212"
    model = build(f"{deck}/11111-21111-31111-21111", dims)
    own = {"head_dim": 12, "sliding_window": 6, "num_local_experts": 6, "num_experts_per_tok": 2}
    own |= {"intermediate_size": 20, "swiglu_limit": 0.8, "rope_parameters": PLAIN_ROTATION}
    config = GptOssConfig(**sizes(**own), experts_implementation="eager")
    reference = of_family(GptOssForCausalLM, config, model)
    assert sum(p.numel() for p in reference.parameters()) == sum(p.numel() for p in model.parameters())
    check_logits(model, reference, tolerance=1e-10)


@torch.no_grad()
def test_the_unit_of_deepseek_v4():
    overrides = OperatorOverrides(d_ff=40, clip_limit=1.0, swish_slope=1.0, value_shift=0.0)
    (unit,) = build(f"{CLIPPED}/11111", make_dims(32, 8, {name_of(CLIPPED): overrides})).layers
    with double():
        reference = DeepseekV4MLP(DeepseekV4Config(hidden_size=32, intermediate_size=40, swiglu_limit=1.0))
    reference.load_state_dict(unit_state(unit))
    x = 2 * torch.randn(3, 5, 32, dtype=torch.float64)
    limited, free = reference(x), reference.down_proj(reference.act_fn(reference.gate_proj(x)) * reference.up_proj(x))
    assert (limited - free).abs().max() > 0.1
    torch.testing.assert_close(unit(x, {})[0], limited, rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_gate_may_be_a_squared_relu():
    """As in BitNet b1.58 2B4T: `hidden_act` is relu2 there."""
    (unit,) = build("11172,1231,1231/11111", make_dims(32, 8, {})).layers
    x = torch.randn(3, 5, 32, dtype=torch.float64)
    c, v = (unit.featurizer[role].channels(x) for role in "CV")
    torch.testing.assert_close(unit(x, {})[0], unit.out(ACT2FN["relu2"](c) * v), rtol=0, atol=1e-12)


def test_xielu_and_its_gradients():
    """Beside the reference, and where exp overflows."""
    reference = XIELUActivation(dtype=torch.float64)
    (unit,) = build(f"{XIELU}/11111", make_dims(32, 8, {})).layers
    ours = unit.mixer.activation
    with torch.no_grad():
        ours.positive.copy_(reference.alpha_p), ours.negative.copy_(reference.alpha_n)
    c = torch.cat((torch.linspace(-9, 9, 36), torch.tensor([-2e3, 2e3]))).double().requires_grad_()  # none is 0
    found, expected = ours(c), reference(c)
    torch.testing.assert_close(found, expected)
    tensors = (c, ours.positive, ours.negative), (c, reference.alpha_p, reference.alpha_n)
    gradients = [
        torch.autograd.grad(y.sum(), of, retain_graph=True) for y, of in zip((found, expected), tensors, strict=True)
    ]
    torch.testing.assert_close(*gradients)
    assert torch.autograd.grad(found.sum(), c)[0].isfinite().all()


def test_xielu_begins_as_published():
    """alpha_p = alpha_n = 0.8, beta = 0.5 (Huang and Schlag 2024): below zero 0.8 (exp(c) - 1 - c) + c / 2."""
    dims = make_dims(32, 8, {})
    with double():
        model = LanguageModel(specify(decode(parse(f"{XIELU}/11111")), dims))
    found = model.layers[0].mixer.activation(torch.tensor([-1.0, 2.0], dtype=torch.float64))
    assert found.tolist() == pytest.approx([0.8 * math.exp(-1) - 0.5, 0.8 * 4 + 1], abs=1e-6)


@pytest.mark.parametrize("copies", [1, 2])
def test_an_activation_with_parameters_is_priced(copies):
    """Two numbers for each copy beyond the squared ReLU of the same shape."""
    dims = make_dims(32, 8, {})
    costs = [price(decode(parse(f"{copies}{codes},1241/11111")), dims) for codes in ("1162", "1182")]
    assert costs[1].params - costs[0].params == 2 * copies
    assert costs[1].active_params - costs[0].active_params == 2 * copies


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        (XIELU, {"Xielu"}),
        (CLIPPED, {"ClippedSwish"}),
        (EXPERTS, {"ClippedSwish"}),
        ("11142,1231,1231", set()),
    ],
)
def test_an_exported_file_has_the_activations_that_it_needs(text, needed, tmp_path):
    genome, dims = f"{text}/11111-11111", make_dims(32, 8, {name_of(text): OperatorOverrides(d_ff=12)})
    found = check_exported(genome, dims, build(genome, dims), tmp_path)
    special = {"Xielu", "ClippedSwish"}
    assert {name for name in special if f"\nclass {name}(" in found} == needed


def test_searches_draw_what_they_drew():
    """A seed leads to the same genomes: published models' own activations are no values of mutation."""
    assert CLASS_ALPHABET[3] == (1, 2, 3, 4, 5, 6)
    assert UNSEARCHED == (7, 8, 9) == tuple(Nonlinearity)[6:]
    assert nearest_codes((1, 1, 70, 2)) == (1, 1, 6, 2)


@pytest.mark.parametrize("key", ["clip_limit", "swish_slope", "value_shift"])
def test_only_a_clipped_swish_has_limits(key):
    clipped, plain = (decode(parse(f"{text}/11111"))[0].liv for text in (CLIPPED, "11142,1231,1231"))
    check_overrides(clipped, OperatorOverrides(**{key: 0.5}))
    with pytest.raises(UserError, match=f"{key} means nothing to .*, whose nonlinearity is no clipped swish"):
        check_overrides(plain, OperatorOverrides(**{key: 0.5}))


@torch.no_grad()
def test_without_a_limit_nothing_is_clipped():
    overrides = OperatorOverrides(clip_limit=0.0, swish_slope=1.0, value_shift=0.0)
    (unit,) = build(f"{CLIPPED}/11111", make_dims(32, 8, {name_of(CLIPPED): overrides})).layers
    x = 100 * torch.randn(2, 3, 32, dtype=torch.float64)
    c, v = (unit.featurizer[role].channels(x) for role in "CV")
    torch.testing.assert_close(unit(x, {})[0], unit.out(nn.functional.silu(c) * v))
