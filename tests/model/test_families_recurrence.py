"""Published models with recurrences and convolutions: our modules compute what `transformers`' classes do."""

from types import SimpleNamespace

import pytest
import torch
from support.families import build, check_logits, of_family
from support.states import (
    VOCAB,
    in_double,
    make_dims,
)
from transformers import (
    DynamicCache,
    FalconH1Config,
    FalconH1ForCausalLM,
    Lfm2Config,
    Lfm2ForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    NemotronHConfig,
    NemotronHForCausalLM,
    RecurrentGemmaConfig,
    RecurrentGemmaForCausalLM,
)
from transformers.models.recurrent_gemma.modeling_recurrent_gemma import RecurrentGemmaRglru

from star.architecture.spec import OperatorOverrides


@pytest.fixture(autouse=True)
def doubles(monkeypatch):
    yield from in_double(monkeypatch)


def with_states(reference):
    """A reference that calls its cache by another name."""

    def call(past_key_values=None, **arguments):
        out = reference(cache_params=past_key_values, **arguments)
        return SimpleNamespace(logits=out.logits, past_key_values=out.cache_params)

    return call


def with_cache(reference):
    """A reference that takes a cache and does not give it back."""

    def call(past_key_values=None, use_cache=False, **arguments):
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=reference.config)
        out = reference(past_key_values=past_key_values, use_cache=use_cache, **arguments)
        return SimpleNamespace(logits=out.logits, past_key_values=past_key_values)

    return call


# Mamba and Mamba-2: one operator a layer


@pytest.mark.parametrize("sizes", [(2, 16, 2), (3, 5, 3)])
def test_mamba(sizes):
    expand, states, rank = sizes
    overrides = OperatorOverrides(
        chained=True, kernel_bias=True, d_inner=32 * expand, d_state=states, rank=rank, kept_taps=4
    )
    model = build("271111-271111", make_dims(32, 8, {"Mamba": overrides}))
    config = MambaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        num_hidden_layers=2,
        expand=expand,
        state_size=states,
        time_step_rank=rank,
        layer_norm_epsilon=1e-6,
        residual_in_fp32=False,
    )
    check_logits(model, with_states(of_family(MambaForCausalLM, config, model)), tolerance=1e-10)


@pytest.mark.parametrize("num_groups", [1, 2])
@pytest.mark.parametrize("bias", ["", "ZVBCA"])
def test_mamba_2(num_groups, bias):
    overrides = OperatorOverrides(
        d_state=6,
        num_heads=8,
        num_groups=num_groups,
        norm_groups=num_groups,
        kernel_bias=True,
        bias=bias,
        out_bias=bool(bias),
    )
    model = build("261111-261111", make_dims(32, 8, {"Mamba-2": overrides}, norm_eps=1e-5))
    config = Mamba2Config(
        vocab_size=VOCAB,
        hidden_size=32,
        num_hidden_layers=2,
        num_heads=8,
        head_dim=8,
        state_size=6,
        n_groups=num_groups,
        use_bias=bool(bias),
        chunk_size=4,
        residual_in_fp32=False,
        tie_word_embeddings=True,
    )
    check_logits(model, with_states(of_family(Mamba2ForCausalLM, config, model)), tolerance=1e-10)


# LFM2: gated convolutions and attention


def test_lfm2():
    operators = {
        "GConv-1": OperatorOverrides(kept_taps=3),
        "QKNorm-GQA": OperatorOverrides(num_kv_heads=2, rope_theta=1e6),
        "GMemless": OperatorOverrides(d_ff=40),
    }
    model = build("71111-91111-221111-91111", make_dims(32, 8, operators, norm_eps=1e-5))
    config = Lfm2Config(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        block_auto_adjust_ff_dim=False,
        layer_types=["conv", "full_attention"],
    )
    check_logits(model, of_family(Lfm2ForCausalLM, config, model), tolerance=1e-10)


# Side by side with attention, or by turns


def test_recurrent_gemma(monkeypatch):
    """Two gated recurrences to one window of attention, a GEGLU after each; half of a head is rotated."""
    monkeypatch.setattr(RecurrentGemmaRglru._rnn_scan, "__defaults__", (torch.float64,))  # what it accumulates in
    biased = {"bias": "CV", "out_bias": True}
    operators = {
        "RG-LRU": OperatorOverrides(d_inner=48, taps=4, kept_taps=3, chained=True, kernel_bias=True, **biased),
        "SWA": OperatorOverrides(num_kv_heads=1, window=6, out_bias=True),
        "GEGLU": OperatorOverrides(d_ff=40, **biased),
    }
    style = {"rotary": 0.5, "embedding_scale": 8.0, "logit_cap": 30.0}
    model = build("301111-371111-301111-371111-191111-371111", make_dims(64, 16, operators, **style))
    config = RecurrentGemmaConfig(
        vocab_size=VOCAB,
        hidden_size=64,
        intermediate_size=80,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=1,
        lru_width=48,
        attention_window_size=6,
        hidden_activation="gelu",
    )
    check_logits(model, with_cache(of_family(RecurrentGemmaForCausalLM, config, model)), tolerance=1e-10)


def test_nemotron_h():
    """Mamba-2 in groups, squared ReLU and attention without positions, each with a norm of its own. The reference
    bounds steps from below, which these weights do not reach."""
    operators = {
        "Mamba-2": OperatorOverrides(
            num_heads=6, head_dim=8, d_inner=48, d_state=5, num_groups=2, norm_groups=2, kernel_bias=True
        ),
        "SA-3": OperatorOverrides(num_kv_heads=2),
        "ReLU2": OperatorOverrides(d_ff=40),
    }
    model = build("261111-381111-31111-261111-381111", make_dims(32, 8, operators, positions="none", tied=False))
    kinds = {26: "linear_attention", 38: "mlp", 3: "full_attention"}
    order = [26, 38, 3, 26, 38]
    config = NemotronHConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        layer_types=[kinds[one] for one in order],
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=40,
        ssm_state_size=5,
        mamba_num_heads=6,
        mamba_head_dim=8,
        n_groups=2,
        chunk_size=4,
        layer_norm_epsilon=1e-6,
    )
    check_logits(model, of_family(NemotronHForCausalLM, config, model), tolerance=1e-10)


def test_falcon_h1():
    """Mamba-2 and attention read one norm side by side; a gate and no norm at the end of the former."""
    mamba = OperatorOverrides(
        num_heads=6, head_dim=8, d_inner=48, d_state=5, num_groups=2, out_norm=False, kernel_bias=True
    )
    operators = {"Mamba-2": mamba, "SA-3": OperatorOverrides(num_kv_heads=2), "GMemless": OperatorOverrides(d_ff=40)}
    style = {"parallel": (2, 1), "shared_norm": True, "norm_eps": 1e-5, "tied": False}
    model = build("261111-31111-91111-261111-31111-91111", make_dims(32, 8, operators, **style))
    config = FalconH1Config(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        mamba_d_ssm=48,
        mamba_n_heads=6,
        mamba_n_groups=2,
        mamba_d_state=5,
        mamba_chunk_size=4,
    )
    check_logits(model, of_family(FalconH1ForCausalLM, config, model), tolerance=1e-10)
