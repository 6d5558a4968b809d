"""Newer models of the catalogue against `transformers`' own classes, built without memory at the published sizes:
parameters, those of one token, embeddings, and the cache that their configurations ask for."""

import csv
from pathlib import Path

import pytest
import torch
import transformers

from star.architecture import catalogue

TABLE = Path(__file__).parents[1] / "data" / "models_2026.csv"  # name, params, and where the figure comes from
QWEN_MOE = {"head_dim": 128, "norm_topk_prob": True, "tie_word_embeddings": False}
LFM2_LAYERS = ["full_attention" if i in (2, 6, 10, 14, 18, 21) else "conv" for i in range(24)]
# Name -> prefix of the class, and what the published configuration says beyond the class's own defaults.
CLASSES = {
    "gpt-oss-20b": ("GptOss", {"num_hidden_layers": 24, "num_local_experts": 32}),
    "gpt-oss-120b": ("GptOss", {}),
    "qwen3-30b-a3b": ("Qwen3Moe", QWEN_MOE | {"num_hidden_layers": 48}),
    "qwen3-235b-a22b": (
        "Qwen3Moe",
        QWEN_MOE
        | {"num_hidden_layers": 94, "hidden_size": 4096, "num_attention_heads": 64, "moe_intermediate_size": 1536},
    ),
    "olmo-3-7b": ("Olmo3", {"vocab_size": 100_278}),
    "olmo-3-32b": (
        "Olmo3",
        {
            "vocab_size": 100_278,
            "hidden_size": 5120,
            "intermediate_size": 27_648,
            "num_hidden_layers": 64,
            "num_attention_heads": 40,
            "num_key_value_heads": 8,
        },
    ),
    "smollm3-3b": ("SmolLM3", {}),
    "lfm2-8b-a1b": ("Lfm2Moe", {"num_hidden_layers": 24, "layer_types": LFM2_LAYERS}),
    "seed-oss-36b": ("SeedOss", {"hidden_size": 5120}),
    "glm-4.5-air": ("Glm4Moe", {"attention_bias": True, "head_dim": 128}),
    "minimax-m2": ("MiniMaxM2", {}),
    "apertus-8b": ("Apertus", {"intermediate_size": 21_504, "num_key_value_heads": 8}),
    "ernie-4.5-21b-a3b": ("Ernie4_5_Moe", {}),
    "bitnet-2b-4t": ("BitNet", {"tie_word_embeddings": True}),
    "olmo-hybrid-7b": ("OlmoHybrid", {}),
    "nanochat-d20": (
        "NanoChat",
        {
            "vocab_size": 65_536,
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_hidden_layers": 20,
            "num_attention_heads": 10,
            "num_key_value_heads": 10,
        },
    ),
    "lfm3-1.7b": ("Lfm3", {}),
    "kimi-k2-1t": (
        "DeepseekV3",
        {"vocab_size": 163_840, "n_routed_experts": 384, "num_attention_heads": 64, "first_k_dense_replace": 1},
    ),
}


def read_table():
    """Rows of the table by name."""
    with TABLE.open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def make(name):
    """The model of a name without memory, and its configuration."""
    prefix, settings = CLASSES[name]
    config = getattr(transformers, f"{prefix}Config")(**settings)
    with torch.device("meta"):
        return getattr(transformers, f"{prefix}ForCausalLM")(config), config


def count_idle(model, chosen):
    """Parameters of the experts that one token does not go through, each a row of tensors that hold all of them."""
    experts = [module for name, module in model.named_modules() if name.endswith(".experts")]
    tensors = [tensor for module in experts for tensor in module.parameters(recurse=False)]
    return sum(tensor.numel() // len(tensor) * (len(tensor) - chosen) for tensor in tensors)


def count_cache(config, tokens):
    """Bytes that `tokens` leave behind in bf16: keys and values or a latent, states, columns of short convolutions."""
    if hasattr(config, "kv_lora_rank"):
        return 2 * config.num_hidden_layers * tokens * (config.kv_lora_rank + config.qk_rope_head_dim)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    width = 2 * config.num_key_value_heads * head_dim
    total = 0
    for kind in getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers:
        match kind:
            case "conv":
                total += config.hidden_size * config.conv_L_cache
            case "linear_attention":
                keys = config.linear_num_key_heads * config.linear_key_head_dim
                values = config.linear_num_value_heads * config.linear_value_head_dim
                state = values * config.linear_key_head_dim
                total += state + (2 * keys + values) * config.linear_conv_kernel_dim
            case "sliding_attention":
                total += width * min(tokens, config.sliding_window)
            case _:
                total += width * tokens
    return 2 * total


def test_the_table_and_the_classes_are_of_the_same_models():
    assert read_table().keys() == CLASSES.keys() <= set(catalogue.names())
    assert all("transformers 5.23" in row["source"] for row in read_table().values())


@pytest.mark.parametrize("name", CLASSES)
def test_a_model_has_the_figures_of_its_class(name):
    model, config = make(name)
    assert transformers.__version__.split(".")[0] == "5"
    params = sum(parameter.numel() for parameter in model.parameters())
    ends = {id(end.weight): end.weight.numel() for end in (model.get_input_embeddings(), model.get_output_embeddings())}
    chosen = [getattr(config, key, None) for key in ("num_experts_per_tok", "moe_k")]
    assert catalogue.load(name).published == {
        "params": int(read_table()[name]["params"]),
        "active_params": params - count_idle(model, next(filter(None, chosen), 0)),
        "embedding_params": sum(ends.values()),
        "cache_bytes_4096": count_cache(config, 4096),
        "cache_bytes_131072": count_cache(config, 131_072),
    }
    assert params == int(read_table()[name]["params"])
