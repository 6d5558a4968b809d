"""Published families of transformers, whole: attention, norms, positions and heads as their own classes compute them,
in double precision; and any genome at any style and variants: priced as built,
decoded as trained."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.families import build, check_logits, copy_weights, double, family_state
from support.strategies import scaled_genomes
from torch import nn
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    FalconConfig,
    FalconForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
    StableLmConfig,
    StableLmForCausalLM,
)

from star.architecture.genome import decode, parse, to_text
from star.architecture.spec import BackboneConfig, Dimensions, OperatorOverrides
from star.architecture.structures import specify
from star.cost.cost import price
from star.model.language_model import LanguageModel
from star.model.ops.rotary import rotary_table

HEADS, WIDTH, D_FF = 4, 8, 24
LAYERS = range(2)
NO_TOKENS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
SIZES = NO_TOKENS | {
    "vocab_size": 23,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "intermediate_size": D_FF,
    "max_position_embeddings": 32,
}
GATED = ("GMemless", OperatorOverrides(d_ff=D_FF))
PLAIN = ("GEGLU", OperatorOverrides(gate=False, d_ff=D_FF, bias="C", out_bias=True))


@pytest.fixture
def all_double(monkeypatch):
    """Double precision even where a reference asks for single, so that errors alone are left."""
    rotary_table.cache_clear()
    for name in ("float", "float32"):
        monkeypatch.setattr(torch, name, torch.float64)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    yield
    monkeypatch.undo()
    rotary_table.cache_clear()


class Own(dict):
    """Our weights, which notes those that were read."""

    def __init__(self, model):
        super().__init__(model.weights())
        self.read = set()

    def __getitem__(self, name):
        self.read.add(name)
        return super().__getitem__(name)

    def named(self, names, change=lambda tensor: tensor):
        """Weights, and biases where there are any, of our modules under the names of theirs."""
        found = [(theirs, ours, end) for theirs, ours in names.items() for end in ("weight", "bias")]
        return {
            f"{theirs}.{end}": change(self[f"{ours}.{end}"]) for theirs, ours, end in found if f"{ours}.{end}" in self
        }

    def maps(self, i, *names):
        """Modules of slot i, by role, or `out`."""
        place = {"out": f"layers.{i}.out"}
        return [place.get(name, f"layers.{i}.featurizer.{name}.channels") for name in names]

    def joined(self, theirs, modules, join):
        """Some modules of ours as one of theirs: `join` makes one tensor of a list."""
        ends = [end for end in ("weight", "bias") if f"{modules[0]}.{end}" in self]
        return {f"{theirs}.{end}": join([self[f"{module}.{end}"] for module in modules]) for end in ends}


def check(genome, dims, reference, translate=None, cached=True, tolerance=1e-9):
    """The model of a genome is the reference with the same weights, of which neither has more. `translate` names them
    for a reference that is of none of our families.
    """
    model = build(genome, dims)
    own = Own(model)
    if translate is None:
        copy_weights(reference.eval(), family_state(model, specify(decode(parse(genome)), dims), reference))
    else:
        copy_weights(reference.eval(), translate(own))
        assert own.read == set(own)
    assert price(decode(parse(genome)), dims).params == sum(p.numel() for p in reference.parameters())
    check_logits(model, reference, tolerance, cached)


def scale(*operators, style=None, **sizes):
    """Tiny sizes of ours."""
    given = {"d_model": 32, "head_dim": WIDTH, "vocab_size": 23, "seq_len": 32, "heads": HEADS} | sizes
    return Dimensions(**given, style=style or BackboneConfig(), operators=operators)


def make(model_class, config_class, **settings):
    """A tiny reference in double precision."""
    with double():
        return model_class(config_class(**SIZES | settings))


def rope(theta=10_000.0, **more):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta, **more}}


def by_head(tensors):
    """Queries, keys and values of one head after another."""
    return torch.stack([tensor.unflatten(0, (HEADS, -1)) for tensor in tensors], dim=1).flatten(0, 2)


# --- Families


@pytest.mark.usefixtures("all_double")
def test_gpt_2():
    style = BackboneConfig(norm="layer", norm_bias=True, norm_eps=1e-5, positions="learned")
    dims = scale(("SA-1", OperatorOverrides(bias="CBV", out_bias=True)), PLAIN, style=style)
    sizes = {
        "n_embd": 32,
        "n_layer": 2,
        "n_head": HEADS,
        "n_positions": 32,
        "n_inner": D_FF,
        "activation_function": "gelu",
    }
    with double():
        reference = GPT2LMHeadModel(GPT2Config(vocab_size=23, **NO_TOKENS, **sizes))

    check("11111-371111-11111-371111", dims, reference)


@pytest.mark.usefixtures("all_double")
def test_gpt_neox():
    """Pythia: attention and the unit after it read the same stream, each through a norm of its own."""
    style = BackboneConfig(norm="layer", norm_bias=True, norm_eps=1e-5, parallel=(2,), rotary=0.25, tied=False)
    dims = scale(("SA-1", OperatorOverrides(bias="CBV", out_bias=True)), PLAIN, style=style)
    settings = rope(partial_rotary_factor=0.25) | {"hidden_act": "gelu", "tie_word_embeddings": False}
    reference = make(GPTNeoXForCausalLM, GPTNeoXConfig, layer_norm_eps=1e-5, **settings)

    check("11111-371111-11111-371111", dims, reference)


@pytest.mark.usefixtures("all_double")
def test_llama_3():
    dims = scale(GATED, style=BackboneConfig(norm_eps=1e-5, tied=False, rope_theta=500_000.0))
    settings = rope(500_000.0) | {"rms_norm_eps": 1e-5, "tie_word_embeddings": False}
    reference = make(LlamaForCausalLM, LlamaConfig, **settings)
    check("41111-91111-41111-91111", dims, reference)


@pytest.mark.usefixtures("all_double")
def test_qwen_2():
    dims = scale(("SA-4", OperatorOverrides(bias="CBV")), GATED, style=BackboneConfig(rope_theta=1e6))
    reference = make(Qwen2ForCausalLM, Qwen2Config, **rope(1e6), tie_word_embeddings=True)
    check("41111-91111-41111-91111", dims, reference)


@pytest.mark.usefixtures("all_double")
def test_qwen_3():
    """Heads together wider than the stream."""
    dims = scale(
        ("QKNorm-GQA", OperatorOverrides(num_kv_heads=2)), GATED, head_dim=12, style=BackboneConfig(rope_theta=1e6)
    )
    reference = make(Qwen3ForCausalLM, Qwen3Config, **rope(1e6), head_dim=12, tie_word_embeddings=True)
    check("221111-91111-221111-91111", dims, reference)


@pytest.mark.usefixtures("all_double")
def test_olmo_2():
    style = BackboneConfig(norm_place="after", norm_eps=1e-5, tied=False, rope_theta=5e5)
    dims = scale(("SA-4", OperatorOverrides(qk_norm="all")), GATED, style=style)
    reference = make(Olmo2ForCausalLM, Olmo2Config, **rope(5e5), rms_norm_eps=1e-5, tie_word_embeddings=False)

    check("41111-91111-41111-91111", dims, reference)


@pytest.mark.usefixtures("all_double")
def test_gemma_3():
    """A window with one base of rotation, all of the context with another."""
    heads = {"num_kv_heads": 2, "score_scale": 7**-0.5, "qk_norm": "head"}
    windowed = OperatorOverrides(rope_theta=10_000.0, window=6, **heads)
    operators = (("SWA-GQA", windowed), ("SA-4", OperatorOverrides(**heads)), ("GEGLU", OperatorOverrides(d_ff=D_FF)))
    style = BackboneConfig(norm_place="both", rope_theta=1e6, embedding_scale=32**0.5)
    settings = {
        "head_dim": 12,
        "query_pre_attn_scalar": 7,
        "sliding_window": 6,
        "layer_types": ["sliding_attention", "full_attention"],
        "hidden_activation": "gelu",
        "tie_word_embeddings": True,
    }
    reference = make(Gemma3ForCausalLM, Gemma3TextConfig, **settings)
    dims = scale(*operators, head_dim=12, style=style)
    check("201111-371111-41111-371111", dims, reference)


@pytest.mark.usefixtures("all_double")
def test_gemma_2():
    """Capped logits and scores."""
    heads = {"num_kv_heads": 2, "score_cap": 50.0}
    operators = (
        ("SWA-GQA", OperatorOverrides(window=6, **heads)),
        ("SA-4", OperatorOverrides(**heads)),
        ("GEGLU", OperatorOverrides(d_ff=D_FF)),
    )
    style = BackboneConfig(norm_place="both", embedding_scale=32**0.5, logit_cap=3.0)
    settings = {
        "head_dim": WIDTH,
        "query_pre_attn_scalar": WIDTH,
        "sliding_window": 6,
        "layer_types": ["sliding_attention", "full_attention"],
        "hidden_activation": "gelu",
        "final_logit_softcapping": 3.0,
        "tie_word_embeddings": True,
    }
    reference = make(Gemma2ForCausalLM, Gemma2Config, **settings)
    check("201111-371111-41111-371111", scale(*operators, style=style), reference)


@pytest.mark.usefixtures("all_double")
def test_stable_lm():
    style = BackboneConfig(norm="layer", norm_bias=True, norm_eps=1e-5, rotary=0.25, tied=False)
    settings = rope(partial_rotary_factor=0.25) | {"layer_norm_eps": 1e-5, "tie_word_embeddings": False}
    reference = make(StableLmForCausalLM, StableLmConfig, **settings, use_qkv_bias=True)
    dims = scale(("SA-4", OperatorOverrides(bias="CBV")), GATED, style=style)
    check("41111-91111-41111-91111", dims, reference)


@pytest.mark.usefixtures("all_double")
def test_phi_3():
    """Fused maps, a window, part of a head rotated."""
    style = BackboneConfig(norm_eps=1e-5, tied=False, rotary=0.5)
    settings = rope(partial_rotary_factor=0.5) | {"sliding_window": 6, "tie_word_embeddings": False}
    reference = make(Phi3ForCausalLM, Phi3Config, **settings, rms_norm_eps=1e-5)
    dims = scale(("SWA-GQA", OperatorOverrides(num_kv_heads=2, window=6)), GATED, style=style)

    check("201111-91111-201111-91111", dims, reference)


def falcon_layers(own, join):
    """Falcon's and BLOOM's names."""
    names = {"transformer.word_embeddings": "embedding", "transformer.ln_f": "final_norm", "lm_head": "embedding"}
    found = own.named(names | {"transformer.word_embeddings_layernorm": "embedding_norm"})
    for i in LAYERS:
        names = {"self_attention.dense": f"layers.{2 * i}.out", "mlp.dense_4h_to_h": f"layers.{2 * i + 1}.out"}
        names |= {"mlp.dense_h_to_4h": own.maps(2 * i + 1, "C")[0], "input_layernorm": f"norms.{2 * i}"}
        names |= {"post_attention_layernorm": f"norms.{2 * i + 1}"}
        layer = f"transformer.h.{i}"
        found |= own.named({f"{layer}.{theirs}": ours for theirs, ours in names.items()})
        found |= own.joined(f"{layer}.self_attention.query_key_value", own.maps(2 * i, *"CBV"), join)
    return found


@pytest.mark.usefixtures("all_double")
def test_falcon():
    """Attention with one head of keys and values beside the unit after it, behind one norm."""
    style = BackboneConfig(norm="layer", norm_bias=True, norm_eps=1e-5, parallel=(2,), shared_norm=True)
    dims = scale(("GEGLU", OperatorOverrides(gate=False, d_ff=D_FF)), style=style)
    settings = {"multi_query": True, "parallel_attn": True, "bias": False, "alibi": False, "ffn_hidden_size": D_FF}
    reference = make(FalconForCausalLM, FalconConfig, **rope(), **settings, tie_word_embeddings=True)
    check("181111-371111-181111-371111", dims, reference, lambda own: falcon_layers(own, torch.cat))


@pytest.mark.usefixtures("all_double")
def test_bloom():
    style = BackboneConfig(norm="layer", norm_bias=True, norm_eps=1e-5, positions="alibi", embedding_norm=True)
    plain = OperatorOverrides(gate=False, d_ff=4 * 32, bias="C", out_bias=True)
    dims = scale(("SA-1", OperatorOverrides(bias="CBV", out_bias=True)), ("GEGLU", plain), style=style)
    with double():
        sizes = {"hidden_size": 32, "n_layer": 2, "n_head": HEADS, "tie_word_embeddings": True}
        reference = BloomForCausalLM(BloomConfig(vocab_size=23, **NO_TOKENS, **sizes))
    for block in reference.transformer.h:
        block.mlp.gelu_impl = nn.GELU()  # instead of the tanh form
    check("11111-371111-11111-371111", dims, reference, lambda own: falcon_layers(own, by_head))


@pytest.mark.usefixtures("all_double")
def test_cohere():
    """A norm without bias before both; pairs of rotated channels lie beside each other there."""
    style = BackboneConfig(norm="layer", norm_eps=1e-5, parallel=(2,), shared_norm=True, logit_scale=0.0625)
    reference = make(CohereForCausalLM, CohereConfig, **rope(), tie_word_embeddings=True)

    check("41111-91111-41111-91111", scale(GATED, style=style), reference)


@pytest.mark.usefixtures("all_double")
def test_deepseek_v3():
    """Its dense layers: every width of latent attention its own, queries from a latent too."""
    sizes = {"qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 12, "kv_lora_rank": 10, "q_lora_rank": 5}
    latent = OperatorOverrides(head_dim=6, rope_head_dim=4, value_head_dim=12, latent_dim=10, rank=5, inner_norm=True)
    settings = sizes | {"first_k_dense_replace": 2, "num_key_value_heads": HEADS, "tie_word_embeddings": False}
    reference = make(DeepseekV3ForCausalLM, DeepseekV3Config, **rope(), **settings)

    dims = scale(("MLA", latent), GATED, style=BackboneConfig(tied=False))
    check("211111-91111-211111-91111", dims, reference)


@pytest.mark.usefixtures("all_double")
def test_qwen_3_next():
    """Its gated attention, of which a quarter of a head is rotated."""
    operators = (("QKNorm-GQA", OperatorOverrides(num_kv_heads=2, gate=True)), GATED)
    settings = rope(partial_rotary_factor=0.25) | {"head_dim": WIDTH, "tie_word_embeddings": True}
    settings |= {"layer_types": ["full_attention"] * 2, "num_experts": 0}
    reference = make(Qwen3NextForCausalLM, Qwen3NextConfig, **settings)

    dims = scale(*operators, style=BackboneConfig(rotary=0.25))
    check("221111-91111-221111-91111", dims, reference)


# --- Any genome at any style and variants

SMALL = Dimensions(d_model=16, head_dim=4, vocab_size=32, seq_len=32, window=6)
NUM_TOKENS = 23


def count_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@settings(max_examples=200)
@given(scaled_genomes(SMALL))
def test_scaled_genomes_are_priced_as_built(scaled):
    genome, dims = scaled
    spec = specify(decode(genome), dims)
    cost = price(decode(genome), dims)
    assert price(spec.slots, spec.dims) == cost, (to_text(genome), dims)
    with torch.device("meta"):
        assert count_parameters(LanguageModel(spec)) == cost.params, (to_text(genome), dims)


@settings(max_examples=60)
@given(scaled_genomes(SMALL), st.integers(1, NUM_TOKENS - 1))
@torch.no_grad()
def test_scaled_genomes_decode_as_they_train(scaled, prompt):
    """From a prompt on one token at a time; the cache weighs what it is priced at."""
    genome, dims = scaled
    with double():
        model = LanguageModel(specify(decode(genome), dims)).eval()
    for name, parameter in model.named_parameters():
        if "out" in name or name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1)
    tokens = torch.randint(0, dims.vocab_size, (2, NUM_TOKENS))
    cache = model.new_cache(NUM_TOKENS, 2)
    parts = [model(part, cache) for part in tokens.split([prompt] + [1] * (NUM_TOKENS - prompt), dim=1)]
    torch.testing.assert_close(
        torch.cat(parts, dim=1), model(tokens), rtol=0, atol=1e-9, msg=f"{to_text(genome)} {dims}"
    )
    assert cache.num_bytes == 2 * price(decode(genome), dims, NUM_TOKENS, 8).cache_bytes, (to_text(genome), dims)
