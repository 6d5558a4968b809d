"""Published models with experts: our modules compute what `transformers`' classes do."""

import pytest
import torch
from support.families import build, check_logits
from support.states import (
    VOCAB,
    attention_state,
    block_norms,
    delta_state,
    experts_state,
    frame_state,
    gated_attention_state,
    in_double,
    latent_attention_state,
    less_one,
    make_dims,
    make_reference,
    mamba_state,
    prefixed,
    shared_state,
    unit_state,
)
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    Ernie4_5_MoeConfig,
    Ernie4_5_MoeForCausalLM,
    JambaConfig,
    JambaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
)

from star.architecture.genome import decode, parse
from star.architecture.spec import OperatorOverrides
from star.cost.cost import price


@pytest.fixture(autouse=True)
def doubles(monkeypatch):
    yield from in_double(monkeypatch)


def test_mixtral():
    """Eight experts of which two are chosen, and gates that are a softmax over these."""
    operators = {
        "SA-3": OperatorOverrides(num_kv_heads=2),
        "MoE": OperatorOverrides(d_ff=20, num_experts=8, experts_per_token=2, scoring="softmax"),
    }
    model = build("31111-331111-31111-331111", make_dims(32, 8, operators, norm_eps=1e-5, tied=False, rope_theta=1e6))
    config = MixtralConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=20,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=8,
        num_experts_per_tok=2,
        rope_theta=1e6,
        experts_implementation="eager",
    )
    state = frame_state(model)
    for i, layer in enumerate(f"model.layers.{i}" for i in range(2)):
        state |= prefixed(f"{layer}.self_attn", attention_state(model.layers[2 * i]))
        state |= prefixed(f"{layer}.mlp", experts_state(model.layers[2 * i + 1], "gate"))
        state |= block_norms(model, i, layer)
    check_logits(model, make_reference(MixtralForCausalLM, config, state), tolerance=1e-10)


def test_jamba():
    """Attention without positions, Mamba with norms of its rates and states, experts every other layer."""
    experts = OperatorOverrides(d_ff=20, num_experts=4, experts_per_token=2, scoring="softmax", normalised=False)
    mamba = OperatorOverrides(chained=True, kernel_bias=True, inner_norm=True, rank=3, d_state=5)
    operators = {
        "Mamba": mamba,
        "SA-3": OperatorOverrides(num_kv_heads=2),
        "GMemless": OperatorOverrides(d_ff=20),
        "MoE": experts,
    }
    dims = make_dims(32, 8, operators, positions="none", tied=False)
    model = build("271111-91111-31111-331111-271111-91111-271111-331111", dims)
    config = JambaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=20,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_experts=4,
        attn_layer_period=4,
        attn_layer_offset=1,
        mamba_d_state=5,
        mamba_dt_rank=3,
        experts_implementation="eager",
    )
    state = frame_state(model, norm="model.final_layernorm")
    for i, layer in enumerate(f"model.layers.{i}" for i in range(4)):
        mixer, unit = model.layers[2 * i], model.layers[2 * i + 1]
        mixing = {"self_attn": attention_state(mixer)} if i == 1 else {"mamba": mamba_state(mixer, inner_norm=True)}
        mixing["feed_forward"] = experts_state(unit, "router") if i % 2 else unit_state(unit)
        state |= {k: v for part, held in mixing.items() for k, v in prefixed(f"{layer}.{part}", held).items()}
        state |= block_norms(model, i, layer, "input_layernorm", "pre_ff_layernorm")
    check_logits(model, make_reference(JambaForCausalLM, config, state), tolerance=1e-10)


def test_deepseek_v3():
    """Sigmoid scores, a bias that chooses, gates that sum to 2.5, a shared expert; the first layer is dense."""
    experts = OperatorOverrides(d_ff=12, d_shared=12, num_experts=8, experts_per_token=3, routed_scale=2.5)
    attention = OperatorOverrides(
        head_dim=8, rope_head_dim=4, value_head_dim=6, latent_dim=10, rank=14, inner_norm=True
    )
    operators = {"MLA": attention, "GMemless": OperatorOverrides(d_ff=24), "MoE-shared": experts}
    model = build("211111-91111-211111-341111", make_dims(32, 8, operators, tied=False))
    config = DeepseekV3Config(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=24,
        moe_intermediate_size=12,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        n_routed_experts=8,
        num_experts_per_tok=3,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=1,
        q_lora_rank=14,
        kv_lora_rank=10,
        qk_nope_head_dim=8,
        qk_rope_head_dim=4,
        v_head_dim=6,
        rope_interleave=False,
        experts_implementation="eager",
    )
    experts = model.layers[3]
    torch.nn.init.normal_(experts.mixer.selection_bias)
    state = frame_state(model)
    for i, layer in enumerate(f"model.layers.{i}" for i in range(2)):
        state |= prefixed(f"{layer}.self_attn", latent_attention_state(model.layers[2 * i], 4, 8))
        state |= block_norms(model, i, layer)
    state |= prefixed("model.layers.0.mlp", unit_state(model.layers[1]))
    state |= prefixed("model.layers.1.mlp", experts_state(experts, "gate"))
    state |= prefixed("model.layers.1.mlp.shared_experts", shared_state(experts))
    state["model.layers.1.mlp.gate.e_score_correction_bias"] = experts.mixer.selection_bias
    check_logits(model, make_reference(DeepseekV3ForCausalLM, config, state), tolerance=1e-10)


def beside(tensor, head_dim):
    """Rows of heads whose halves are rotated as pairs, with the members of a pair beside each other."""
    return tensor.unflatten(0, (-1, 2, head_dim // 2)).transpose(1, 2).flatten(0, 2)


def test_ernie_4_5():
    """Softmax scores, and a bias that only chooses but is among the parameters; gates of the chosen sum to 1."""
    experts = OperatorOverrides(
        d_ff=12, d_shared=24, num_experts=8, experts_per_token=3, scoring="softmax", selection_bias=True
    )
    operators = {
        "SA-4": OperatorOverrides(num_kv_heads=2),
        "GMemless": OperatorOverrides(d_ff=24),
        "MoE-shared": experts,
    }
    dims = make_dims(32, 8, operators, norm_eps=1e-5, rope_theta=5e5)
    model = build("41111-91111-41111-341111", dims)
    config = Ernie4_5_MoeConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=24,
        moe_intermediate_size=12,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        moe_num_experts=8,
        moe_k=3,
        moe_num_shared_experts=2,
        moe_layer_start_index=1,
        moe_layer_end_index=1,
        experts_implementation="eager",
    )
    experts = model.layers[3]
    state = frame_state(model)
    for i, layer in enumerate(f"model.layers.{i}" for i in range(2)):
        attention = attention_state(model.layers[2 * i])
        attention |= {f"{name}_proj.weight": beside(attention[f"{name}_proj.weight"], 8) for name in "qk"}
        state |= prefixed(f"{layer}.self_attn", attention)
        state |= block_norms(model, i, layer)
    state |= prefixed("model.layers.0.mlp", unit_state(model.layers[1]))
    state |= prefixed("model.layers.1.mlp", experts_state(experts, "gate"))
    state |= prefixed("model.layers.1.mlp.shared_experts", shared_state(experts))
    state["model.layers.1.mlp.gate.moe_statics.e_score_correction_bias"] = experts.mixer.selection_bias[None]
    reference = make_reference(Ernie4_5_MoeForCausalLM, config, state)
    assert sum(p.numel() for p in reference.parameters()) == sum(p.numel() for p in model.parameters())
    assert price(decode(parse("41111-91111-41111-341111")), dims).params == sum(p.numel() for p in model.parameters())
    check_logits(model, reference, tolerance=1e-10)


def test_qwen3_next():
    """Delta rules whose keys serve two heads of values each, attention with a gate, and a shared expert with one."""
    experts = OperatorOverrides(
        d_ff=12, d_shared=14, num_experts=4, experts_per_token=2, scoring="softmax", shared_gate=True
    )
    operators = {
        "GDN": OperatorOverrides(num_heads=4, num_key_heads=2, head_dim=6, value_head_dim=10),
        "QKNorm-GQA": OperatorOverrides(num_kv_heads=2, gate=True),
        "MoE-shared": experts,
    }
    model = build("291111-341111-221111-341111", make_dims(32, 8, operators, rotary=0.25, tied=False))
    config = Qwen3NextConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        num_hidden_layers=2,
        layer_types=["linear_attention", "full_attention"],
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        linear_num_value_heads=4,
        linear_num_key_heads=2,
        linear_key_head_dim=6,
        linear_value_head_dim=10,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=12,
        shared_expert_intermediate_size=14,
        experts_implementation="eager",
    )
    layers = ["model.layers.0", "model.layers.1"]
    state = frame_state(model) | prefixed(f"{layers[0]}.linear_attn", delta_state(model.layers[0], 2))
    state |= prefixed(f"{layers[1]}.self_attn", gated_attention_state(model.layers[2], 4))
    for i, layer in enumerate(layers):
        experts = model.layers[2 * i + 1]
        state |= prefixed(f"{layer}.mlp", experts_state(experts, "gate"))
        state |= prefixed(f"{layer}.mlp.shared_expert", shared_state(experts))
        state[f"{layer}.mlp.shared_expert_gate.weight"] = experts.mixer.shared_gate[None]
        state |= block_norms(model, i, layer)
    state = less_one(state, lambda name: "norm" in name and "linear_attn" not in name)
    check_logits(model, make_reference(Qwen3NextForCausalLM, config, state), tolerance=1e-10)
