"""Published models with experts: our modules compute what `transformers`' classes do."""

import pytest
import torch
from support.families import build, check_logits, of_family
from support.states import (
    VOCAB,
    in_double,
    make_dims,
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
    check_logits(model, of_family(MixtralForCausalLM, config, model), tolerance=1e-10)


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
    check_logits(model, of_family(JambaForCausalLM, config, model), tolerance=1e-10)


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
    torch.nn.init.normal_(model.layers[3].mixer.selection_bias)
    check_logits(model, of_family(DeepseekV3ForCausalLM, config, model), tolerance=1e-10)


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
    reference = of_family(Ernie4_5_MoeForCausalLM, config, model)
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
    check_logits(model, of_family(Qwen3NextForCausalLM, config, model), tolerance=1e-10)
