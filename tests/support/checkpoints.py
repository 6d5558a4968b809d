"""Small models of every family, their weights, and `transformers`' own classes with them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from star.architecture.spec import ModelSpec
from star.model.language_model import LanguageModel
from star.model.ops.rotary import rotary_table
from support.families import double

transformers.utils.logging.disable_progress_bar()
logging.getLogger("transformers").setLevel(logging.ERROR)

TOKENS = 13
ROPE = {"rope_type": "default", "rope_theta": 1e4}
SIZES = {
    "vocab_size": 23,
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    **dict.fromkeys(("rms_norm_eps", "norm_eps", "layer_norm_eps", "layer_norm_epsilon"), 1e-3),
    **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id")),
}
BIASED = {"attention_bias": True, "mlp_bias": True}
SLIDING = {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}
EXPERTS = {"num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 10}
LATENT = {
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-6,
    "moe_intermediate_size": 12,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 14,
    "kv_lora_rank": 10,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 6,
    "n_shared_experts": 2,
}
ERNIE = {"moe_num_experts": 8, "moe_k": 3, "moe_intermediate_size": 12}
GPT_2 = {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 32, "n_inner": 24, "activation_function": "gelu"}
GEMMA = {"head_dim": 12, "hidden_activation": "gelu", "query_pre_attn_scalar": 7, "sliding_window": 6}
STATES = {"num_heads": 8, "head_dim": 8, "state_size": 6}
PERIODS = {"attn_layer_period": 3, "attn_layer_offset": 1, "mamba_dt_rank": 3, "mamba_d_state": 5}
NEMOTRON = {
    "layers_block_type": ["linear_attention", "mlp", "full_attention", "linear_attention"],
    "head_dim": 12,
    "ssm_state_size": 5,
    "mamba_num_heads": 6,
    "mamba_head_dim": 8,
    "n_groups": 2,
}
FALCON = {"mamba_d_ssm": 48, "mamba_n_heads": 6, "mamba_d_head": 8, "mamba_n_groups": 2, "mamba_d_state": 5}
DELTA = {
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    "linear_key_head_dim": 6,
    "linear_value_head_dim": 6,
}
QWEN_NEXT = DELTA | EXPERTS | {"head_dim": 8, "linear_num_value_heads": 4, "linear_num_key_heads": 2}
QWEN_NEXT |= {"linear_value_head_dim": 10, "shared_expert_intermediate_size": 14}
HYBRID = DELTA | {"linear_allow_neg_eigval": False, "rms_norm_eps": 1e-5}
GPT_OSS = {"num_local_experts": 6, "num_experts_per_tok": 2, "intermediate_size": 20, "swiglu_limit": 0.8}
GPT_OSS |= {"head_dim": 12, "sliding_window": 6, "rope_parameters": ROPE}

CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("llama", {}),
    ("llama", BIASED | {"head_dim": 12, "hidden_act": "gelu", "tie_word_embeddings": True, "rope_theta": 5e5}),
    ("mistral", {"sliding_window": None, "hidden_act": "relu"}),
    ("mistral", {"sliding_window": 6, "head_dim": 12}),
    ("qwen2", {"hidden_act": "relu2"}),
    ("qwen2", SLIDING | {"num_key_value_heads": 4}),
    ("qwen3", {"head_dim": 12, "tie_word_embeddings": True}),
    ("qwen3", SLIDING | {"head_dim": 8, "attention_bias": True}),
    ("smollm3", {"no_rope_layers": [1, 0, 1]}),
    (
        "granite",
        {"embedding_multiplier": 3.0, "residual_multiplier": 0.3, "logits_scaling": 4.0, "attention_multiplier": 0.2},
    ),
    ("seed_oss", {"attention_out_bias": True, "head_dim": 12}),
    ("olmo2", {}),
    ("olmo3", {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}),
    ("hunyuan_v1_dense", {"head_dim": 12}),
    ("nanochat", {"hidden_act": "relu2"}),
    ("bitnet", {}),
    ("apertus", {"hidden_act": "xielu", "rope_parameters": ROPE}),
    ("gemma2", GEMMA),
    ("gemma3_text", GEMMA | {"sliding_window_pattern": 3, "rope_theta": 5e5}),
    ("stablelm", {"use_qkv_bias": True}),
    ("cohere", {}),
    ("gpt2", GPT_2),
    ("gpt_neox", {}),
    ("gpt_neox", {"use_parallel_residual": False, "hidden_act": "relu"}),
    ("phi3", {"sliding_window": 6, "partial_rotary_factor": 0.5}),
    ("mixtral", {"num_local_experts": 5, "num_experts_per_tok": 2, "sliding_window": 5}),
    ("qwen3_moe", EXPERTS | {"head_dim": 12, "mlp_only_layers": [1]}),
    ("deepseek_v3", LATENT),
    ("deepseek_v3", LATENT | {"q_lora_rank": None, "rope_interleave": False, "norm_topk_prob": False}),
    ("ernie4_5_moe", ERNIE | {"moe_layer_end_index": 1}),
    ("ernie4_5_moe", ERNIE | {"moe_num_shared_experts": 0}),
    ("gpt_oss", GPT_OSS),
    ("mamba", {"intermediate_size": 96, "state_size": 5, "expand": 3, "time_step_rank": 3}),
    ("mamba", {"intermediate_size": 64, "use_bias": True, "use_conv_bias": False, "tie_word_embeddings": False}),
    ("mamba2", STATES | {"n_groups": 2, "use_bias": True}),
    ("mamba2", STATES | {"n_groups": 1, "tie_word_embeddings": True}),
    (
        "recurrent_gemma",
        {"num_key_value_heads": 1, "lru_width": 48, "attention_window_size": 6, "hidden_activation": "gelu"},
    ),
    ("jamba", PERIODS | {"num_experts": 4}),
    ("jamba", PERIODS | {"num_experts": 1}),
    ("nemotron_h", NEMOTRON),
    ("falcon_h1", FALCON | {"embedding_multiplier": 2.0}),
    ("lfm2", {"block_auto_adjust_ff_dim": False, "layer_types": ["conv", "full_attention", "conv"]}),
    ("lfm2", {"block_multiple_of": 8, "full_attn_idxs": [2]}),
    ("qwen3_next", QWEN_NEXT | {"mlp_only_layers": [1]}),
    ("olmo_hybrid", HYBRID),
    ("olmo_hybrid", HYBRID | {"rope_parameters": ROPE | {"rope_theta": None}}),
)
IDS = [f"{name}-{sum(other == name for other, _ in CASES[:i])}" for i, (name, _) in enumerate(CASES)]


def draw(model: nn.Module) -> None:
    """Give a model random weights of float32; gains and biases are multiples of 1/256, which 1 is added to exactly."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if "selection_bias" in name or "correction_bias" in name:
                tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
            elif isinstance(tensor, nn.Parameter) and tensor.ndim > 1 and "A_log" not in name:
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * tensor.shape[-1] ** -0.5)
            elif isinstance(tensor, nn.Parameter):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator).mul(256).round() / 256)


def random_weights(spec: ModelSpec, has_bias: bool) -> dict[str, np.ndarray]:
    """Random weights of a model by name; `has_bias`: experts are chosen with a bias, too."""
    model = LanguageModel(spec)
    draw(model)
    weights = {name: one.numpy().copy() for name, one in model.weights().items()}
    if not has_bias:
        weights |= {name: np.zeros_like(one) for name, one in weights.items() if "selection_bias" in name}
    return weights


@contextmanager
def in_double(monkeypatch) -> Iterator[None]:
    """Double precision even where our table of angles or a reference asks for single, and no gradients."""
    rotary_table.cache_clear()
    with monkeypatch.context() as patch, double(), torch.no_grad():
        patch.setattr(torch, "float32", torch.float64)
        patch.setattr(torch, "float", torch.float64)
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        yield
    rotary_table.cache_clear()


def own_logits(spec: ModelSpec, weights: dict[str, np.ndarray], monkeypatch, tokens: int = TOKENS) -> torch.Tensor:
    """Logits of our model in double precision."""
    with in_double(monkeypatch):
        model = LanguageModel(spec).eval()
        for name, one in model.weights().items():
            one.copy_(torch.from_numpy(weights[name]))
        return model(some_tokens(tokens))


def load(directory: Path) -> nn.Module:
    """The model of a directory by `transformers` alone. It takes every tensor of the file, and misses none."""
    model, report = AutoModelForCausalLM.from_pretrained(directory, output_loading_info=True)
    assert not any(report.values()), report
    return model


def random_reference(values: dict[str, Any]) -> nn.Module:
    """A model of `transformers` with random weights."""
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**values))
    draw(model)
    return model


def reference_logits(model: nn.Module, monkeypatch) -> torch.Tensor:
    """Logits of a model of `transformers` in double precision."""
    state = {name: tensor.double() for name, tensor in model.state_dict().items()}
    model.config._experts_implementation_internal = "eager"  # others have no double precision
    model.config.dtype = None
    with in_double(monkeypatch), monkeypatch.context() as patch:
        exact = type(model)(model.config).eval()
        exact.load_state_dict(state)
        for one in exact.modules():
            if hasattr(one, "_rnn_scan"):  # what RecurrentGemma accumulates in
                patch.setattr(type(one)._rnn_scan, "__defaults__", (torch.float64,))
        return exact(input_ids=some_tokens(), use_cache=False).logits


def some_tokens(number: int = TOKENS) -> torch.Tensor:
    return torch.randint(0, SIZES["vocab_size"], (2, number), generator=torch.Generator().manual_seed(5))
