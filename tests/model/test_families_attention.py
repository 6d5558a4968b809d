"""Published families of transformers, whole: attention, norms, positions and heads as their own classes compute them,
in double precision; and any genome at any style and variants: priced as built,
decoded as trained."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.families import build, check_logits, copy_weights, double
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


def check(genome, dims, reference, translate, cached=True, tolerance=1e-9):
    """The model of a genome is the reference with the same weights, of which neither has more."""
    model = build(genome, dims)
    own = Own(model)
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


def outside(own, head=True):
    """Embedding, last norm, head, by the names that most models have."""
    names = {"model.embed_tokens": "embedding", "model.norm": "final_norm"}
    return own.named(names | {"lm_head": "head" if "head.weight" in own else "embedding"})


def separate(own, i, norms=("input_layernorm", "post_attention_layernorm")):
    """A layer of two slots whose maps are modules of their own."""
    layer = f"model.layers.{i}"
    attention = dict(zip(("q_proj", "k_proj", "v_proj", "o_proj"), own.maps(2 * i, *"CBV", "out"), strict=True))
    names = {f"{layer}.self_attn.{theirs}": ours for theirs, ours in attention.items()}
    unit = dict(zip(("gate_proj", "up_proj", "down_proj"), own.maps(2 * i + 1, *"CV", "out"), strict=True))
    names |= {f"{layer}.mlp.{theirs}": ours for theirs, ours in unit.items()}
    return own.named(names | {f"{layer}.{name}": f"norms.{2 * i + place}" for place, name in enumerate(norms)})


def layers(own, *parts):
    """What is outside of the layers, and of each layer all that `parts` find."""
    found = outside(own)
    for i in LAYERS:
        for part in parts:
            found |= part(own, i)
    return found


def qk_norms(own, i, change=lambda tensor: tensor):
    names = {"q_norm": "C", "k_norm": "B"}
    return own.named(
        {
            f"model.layers.{i}.self_attn.{name}": f"layers.{2 * i}.featurizer.{role}.norm"
            for name, role in names.items()
        },
        change,
    )


def by_head(tensors):
    """Queries, keys and values of one head after another."""
    return torch.stack([tensor.unflatten(0, (HEADS, -1)) for tensor in tensors], dim=1).flatten(0, 2)


def interleaved(tensor, width=WIDTH):
    """Rows of heads whose halves are rotated as pairs, with the members of a pair beside each other."""
    return tensor.unflatten(0, (-1, 2, width // 2)).transpose(1, 2).flatten(0, 2)


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

    def translate(own):
        names = {"transformer.wte": "embedding", "transformer.wpe": "positions", "transformer.ln_f": "final_norm"}
        found = own.named(names | {"lm_head": "embedding"})
        for i in LAYERS:
            layer = f"transformer.h.{i}"
            found |= own.named({f"{layer}.ln_1": f"norms.{2 * i}", f"{layer}.ln_2": f"norms.{2 * i + 1}"})
            parts = {"attn.c_attn": own.maps(2 * i, *"CBV"), "attn.c_proj": own.maps(2 * i, "out")}
            parts |= {"mlp.c_fc": own.maps(2 * i + 1, "C"), "mlp.c_proj": own.maps(2 * i + 1, "out")}
            for name, modules in parts.items():
                found |= own.joined(f"{layer}.{name}", modules, lambda tensors: torch.cat(tensors).t())
        return found

    check("11111-371111-11111-371111", dims, reference, translate)


@pytest.mark.usefixtures("all_double")
def test_gpt_neox():
    """Pythia: attention and the unit after it read the same stream, each through a norm of its own."""
    style = BackboneConfig(norm="layer", norm_bias=True, norm_eps=1e-5, parallel=(2,), rotary=0.25, tied=False)
    dims = scale(("SA-1", OperatorOverrides(bias="CBV", out_bias=True)), PLAIN, style=style)
    settings = rope(partial_rotary_factor=0.25) | {"hidden_act": "gelu", "tie_word_embeddings": False}
    reference = make(GPTNeoXForCausalLM, GPTNeoXConfig, layer_norm_eps=1e-5, **settings)

    def translate(own):
        names = {"gpt_neox.embed_in": "embedding", "gpt_neox.final_layer_norm": "final_norm", "lm_head": "head"}
        found = own.named(names)
        for i in LAYERS:
            layer = f"gpt_neox.layers.{i}"
            names = dict(
                zip(("dense_h_to_4h", "dense_4h_to_h"), own.maps(2 * i + 1, "C", "out"), strict=True),
            )
            names = {f"{layer}.mlp.{theirs}": ours for theirs, ours in names.items()}
            names |= {f"{layer}.input_layernorm": f"norms.{2 * i}"}
            names |= {f"{layer}.post_attention_layernorm": f"norms.{2 * i + 1}"}
            names |= {f"{layer}.attention.dense": f"layers.{2 * i}.out"}
            found |= own.named(names)
            found |= own.joined(f"{layer}.attention.query_key_value", own.maps(2 * i, *"CBV"), by_head)
        return found

    check("11111-371111-11111-371111", dims, reference, translate)


@pytest.mark.usefixtures("all_double")
def test_llama_3():
    dims = scale(GATED, style=BackboneConfig(norm_eps=1e-5, tied=False, rope_theta=500_000.0))
    settings = rope(500_000.0) | {"rms_norm_eps": 1e-5, "tie_word_embeddings": False}
    reference = make(LlamaForCausalLM, LlamaConfig, **settings)
    check("41111-91111-41111-91111", dims, reference, lambda own: layers(own, separate))


@pytest.mark.usefixtures("all_double")
def test_qwen_2():
    dims = scale(("SA-4", OperatorOverrides(bias="CBV")), GATED, style=BackboneConfig(rope_theta=1e6))
    reference = make(Qwen2ForCausalLM, Qwen2Config, **rope(1e6), tie_word_embeddings=True)
    check("41111-91111-41111-91111", dims, reference, lambda own: layers(own, separate))


@pytest.mark.usefixtures("all_double")
def test_qwen_3():
    """Heads together wider than the stream."""
    dims = scale(
        ("QKNorm-GQA", OperatorOverrides(num_kv_heads=2)), GATED, head_dim=12, style=BackboneConfig(rope_theta=1e6)
    )
    reference = make(Qwen3ForCausalLM, Qwen3Config, **rope(1e6), head_dim=12, tie_word_embeddings=True)
    check("221111-91111-221111-91111", dims, reference, lambda own: layers(own, separate, qk_norms))


@pytest.mark.usefixtures("all_double")
def test_olmo_2():
    style = BackboneConfig(norm_place="after", norm_eps=1e-5, tied=False, rope_theta=5e5)
    dims = scale(("SA-4", OperatorOverrides(qk_norm="all")), GATED, style=style)
    reference = make(Olmo2ForCausalLM, Olmo2Config, **rope(5e5), rms_norm_eps=1e-5, tie_word_embeddings=False)

    def separate_after(own, i):
        return separate(own, i, ("post_attention_layernorm", "post_feedforward_layernorm"))

    check("41111-91111-41111-91111", dims, reference, lambda own: layers(own, separate_after, qk_norms))


def less_one(tensor):
    return tensor - 1


def gemma(own, *parts):
    """Gemma adds one to every gain."""
    found = layers(own, separate_gemma, *parts)
    return {name: less_one(tensor) if "norm" in name else tensor for name, tensor in found.items()}


def separate_gemma(own, i):
    posts = {"post_attention_layernorm": 2 * i, "post_feedforward_layernorm": 2 * i + 1}
    posts = own.named({f"model.layers.{i}.{name}": f"post_norms.{slot}" for name, slot in posts.items()})
    return separate(own, i, ("input_layernorm", "pre_feedforward_layernorm")) | posts


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
    check("201111-371111-41111-371111", dims, reference, lambda own: gemma(own, qk_norms))


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
    check("201111-371111-41111-371111", scale(*operators, style=style), reference, gemma)


@pytest.mark.usefixtures("all_double")
def test_stable_lm():
    style = BackboneConfig(norm="layer", norm_bias=True, norm_eps=1e-5, rotary=0.25, tied=False)
    settings = rope(partial_rotary_factor=0.25) | {"layer_norm_eps": 1e-5, "tie_word_embeddings": False}
    reference = make(StableLmForCausalLM, StableLmConfig, **settings, use_qkv_bias=True)
    dims = scale(("SA-4", OperatorOverrides(bias="CBV")), GATED, style=style)
    check("41111-91111-41111-91111", dims, reference, lambda own: layers(own, separate))


@pytest.mark.usefixtures("all_double")
def test_phi_3():
    """Fused maps, a window, part of a head rotated."""
    style = BackboneConfig(norm_eps=1e-5, tied=False, rotary=0.5)
    settings = rope(partial_rotary_factor=0.5) | {"sliding_window": 6, "tie_word_embeddings": False}
    reference = make(Phi3ForCausalLM, Phi3Config, **settings, rms_norm_eps=1e-5)
    dims = scale(("SWA-GQA", OperatorOverrides(num_kv_heads=2, window=6)), GATED, style=style)

    def fused(own, i):
        layer = f"model.layers.{i}"
        names = {"self_attn.o_proj": f"layers.{2 * i}.out", "mlp.down_proj": f"layers.{2 * i + 1}.out"}
        names |= {"input_layernorm": f"norms.{2 * i}", "post_attention_layernorm": f"norms.{2 * i + 1}"}
        found = own.named({f"{layer}.{theirs}": ours for theirs, ours in names.items()})
        found |= own.joined(f"{layer}.self_attn.qkv_proj", own.maps(2 * i, *"CBV"), torch.cat)
        return found | own.joined(f"{layer}.mlp.gate_up_proj", own.maps(2 * i + 1, *"CV"), torch.cat)

    check("201111-91111-201111-91111", dims, reference, lambda own: layers(own, fused))


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

    def translate(own):
        found = layers(own, lambda own, i: separate(own, i, ("input_layernorm",)))
        turned = ("q_proj.weight", "k_proj.weight")
        return {name: interleaved(tensor) if name.endswith(turned) else tensor for name, tensor in found.items()}

    check("41111-91111-41111-91111", scale(GATED, style=style), reference, translate)


@pytest.mark.usefixtures("all_double")
def test_deepseek_v3():
    """Its dense layers: every width of latent attention its own, queries from a latent too."""
    sizes = {"qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 12, "kv_lora_rank": 10, "q_lora_rank": 5}
    latent = OperatorOverrides(head_dim=6, rope_head_dim=4, value_head_dim=12, latent_dim=10, rank=5, inner_norm=True)
    settings = sizes | {"first_k_dense_replace": 2, "num_key_value_heads": HEADS, "tie_word_embeddings": False}
    reference = make(DeepseekV3ForCausalLM, DeepseekV3Config, **rope(), **settings)

    def interleave_rest(tensor, plain):
        """Of each head, or of one latent, the rows after the first `plain`."""
        return torch.cat((tensor[:plain], interleaved(tensor[plain:], 4)))

    def attention(own, i):
        layer, slot = f"model.layers.{i}.self_attn", f"layers.{2 * i}"
        query = f"{slot}.featurizer.C.channels"
        names = {"q_a_proj": f"{query}.0", "q_a_layernorm": f"{query}.1", "o_proj": f"{slot}.out"}
        names |= {"kv_a_layernorm": f"{slot}.featurizer.V.norm"}
        found = own.named({f"{layer}.{theirs}": ours for theirs, ours in names.items()})
        heads = own[f"{query}.2.weight"].unflatten(0, (HEADS, -1))
        found[f"{layer}.q_b_proj.weight"] = torch.cat([interleave_rest(head, 6) for head in heads])
        down = torch.cat([own[f"{module}.weight"] for module in own.maps(2 * i, *"VB")])
        found[f"{layer}.kv_a_proj_with_mqa.weight"] = interleave_rest(down, 10)
        up = [own[f"{slot}.mixer.{name}.weight"].unflatten(0, (HEADS, -1)) for name in ("up_key", "up_value")]
        found[f"{layer}.kv_b_proj.weight"] = torch.cat(up, dim=1).flatten(0, 1)
        unit = dict(zip(("gate_proj", "up_proj", "down_proj"), own.maps(2 * i + 1, *"CV", "out"), strict=True))
        names = {f"model.layers.{i}.mlp.{theirs}": ours for theirs, ours in unit.items()}
        names |= {f"model.layers.{i}.input_layernorm": f"norms.{2 * i}"}
        return found | own.named(names | {f"model.layers.{i}.post_attention_layernorm": f"norms.{2 * i + 1}"})

    dims = scale(("MLA", latent), GATED, style=BackboneConfig(tied=False))
    check("211111-91111-211111-91111", dims, reference, lambda own: layers(own, attention))


@pytest.mark.usefixtures("all_double")
def test_qwen_3_next():
    """Its gated attention, of which a quarter of a head is rotated."""
    operators = (("QKNorm-GQA", OperatorOverrides(num_kv_heads=2, gate=True)), GATED)
    settings = rope(partial_rotary_factor=0.25) | {"head_dim": WIDTH, "tie_word_embeddings": True}
    settings |= {"layer_types": ["full_attention"] * 2, "num_experts": 0}
    reference = make(Qwen3NextForCausalLM, Qwen3NextConfig, **settings)

    def translate(own):
        found = layers(own, separate, qk_norms)
        for name in [name for name in found if "q_proj" in name]:  # there each head has its gate beside it
            parts = [part.unflatten(0, (HEADS, -1)) for part in found[name].chunk(2)]
            found[name] = torch.cat(parts, dim=1).flatten(0, 1)
        return {name: less_one(tensor) if "norm" in name else tensor for name, tensor in found.items()}

    dims = scale(*operators, style=BackboneConfig(rotary=0.25))
    check("221111-91111-221111-91111", dims, reference, translate)


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
