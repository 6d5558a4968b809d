"""Whole operators that are no recurrence and no attention, against public implementations with the same weights."""

import pytest
import torch
from support.oracle import assert_equal, build, load, rows, same, taps
from transformers import Lfm2Config, LlamaConfig, NemotronConfig
from transformers.models.lfm2.modeling_lfm2 import Lfm2ShortConv
from transformers.models.llama.modeling_llama import LlamaMLP
from transformers.models.nemotron.modeling_nemotron import NemotronMLP

from star.architecture.genome import DECK
from star.architecture.spec import Dimensions

DIMS = Dimensions(d_model=32, head_dim=8, vocab_size=11, seq_len=40)
NUMBERS = {liv.name: number for number, liv in DECK.items()}

pytestmark = pytest.mark.usefixtures("either_precision")


@pytest.mark.parametrize("num_tokens", [1, 2, 5, 40])
@pytest.mark.parametrize(("name", "num_taps"), [("GConv-1", 3), ("GConv-k4", 4), ("GConv-k7", 7)])
def test_short_convolution_of_lfm2(name, num_taps, num_tokens):
    operator = build(DECK[NUMBERS[name]], DIMS)
    config = Lfm2Config(
        hidden_size=32, conv_L_cache=num_taps, conv_bias=False, num_hidden_layers=1, layer_types=["conv"]
    )
    reference = Lfm2ShortConv(config, layer_idx=0).to(torch.get_default_dtype())
    made, held = operator.featurizer, reference.in_proj.weight
    pairs = [(made[role].channels.weight, held, rows(32 * i, 32 * i + 32)) for i, role in enumerate("BCV")]
    pairs += [
        (made["K"].kernel, reference.conv.weight, taps(0, 32)),
        (operator.out.weight, reference.out_proj.weight, same),
    ]
    load(pairs)
    assert_equal(lambda x: operator(x, {})[0], reference, torch.randn(2, num_tokens, 32), pairs)


@pytest.mark.parametrize(
    ("name", "module", "config", "activation", "width"),
    [
        ("GMemless", LlamaMLP, LlamaConfig, "silu", 85),
        ("SwiGLU-1", LlamaMLP, LlamaConfig, "silu", 32),
        ("SwiGLU-4", LlamaMLP, LlamaConfig, "silu", 128),
        ("GEGLU", LlamaMLP, LlamaConfig, "gelu", 85),
        ("ReLU2", NemotronMLP, NemotronConfig, "relu2", 128),
    ],
)
def test_memoryless_units(name, module, config, activation, width):
    operator = build(DECK[NUMBERS[name]], DIMS)
    kind = config(hidden_size=32, intermediate_size=width, hidden_act=activation, num_attention_heads=4)
    reference = module(kind).to(torch.get_default_dtype())
    gate = reference.gate_proj if hasattr(reference, "gate_proj") else reference.up_proj
    pairs = [(operator.featurizer["C"].channels.weight, gate.weight, same)]
    if "V" in operator.featurizer:
        pairs.append((operator.featurizer["V"].channels.weight, reference.up_proj.weight, same))
    pairs.append((operator.out.weight, reference.down_proj.weight, same))
    load(pairs)
    assert_equal(lambda x: operator(x, {})[0], reference, torch.randn(2, 9, 32), pairs)
