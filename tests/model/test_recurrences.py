"""Recurrent operators: each mixer against its naive twin, and whole operators against public implementations."""

from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from support.naive import (
    delta_rule_naive,
    gated_linear_attention_naive,
    gated_recurrence_mixer_naive,
    linear_attention_mixer_naive,
    recurrence_naive,
    state_space_naive,
)
from support.oracle import assert_equal, build, load, rows, same, taps
from transformers import Mamba2Config, Qwen3NextConfig
from transformers.models.mamba.modeling_mamba import mamba_selective_scan
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet

from star.architecture.genome import DECK
from star.architecture.spec import Dimensions, OperatorOverrides
from star.architecture.structures import fit
from star.model.operators.delta import DeltaRule
from star.model.operators.featurizer import make_feature
from star.model.operators.gated_linear_attention import GatedLinearAttention
from star.model.operators.gated_recurrence import GatedRecurrence
from star.model.operators.linear_attention import LinearAttention
from star.model.operators.recurrence import Recurrence
from star.model.operators.state_space import StateSpace

DIMS = Dimensions(d_model=32, head_dim=8, vocab_size=11, seq_len=40)
LENGTHS = (1, 2, 63, 64, 65)
NUMBERS = {liv.name: number for number, liv in DECK.items()}


def fitted(name, **fields):
    """A class as a scale with this overrides builds it, and the sizes as it sees them."""
    liv = fit(DECK[NUMBERS[name]], replace(DIMS, operators=((name, OperatorOverrides(**fields)),)))
    return liv, DIMS.of(liv)


def features_of(liv, num_tokens, dims=DIMS):
    """Random features of the widths that the featurizer makes, by role in lower case."""
    x = torch.randn(2, num_tokens, dims.d_model)
    made = {group.role.lower(): make_feature(group, dims, liv).to(x.dtype)(x, None) for group in liv.groups}
    return {role: torch.randn_like(feature) for role, feature in made.items()}


def assert_twins(mixer, naive, features, names):
    """Equal values, and equal gradients for the features and for the mixer's parameters, which have these names."""
    torch.nn.init.normal_(dict(mixer.named_parameters())[names[0]], std=0.3)
    parameters = [dict(mixer.named_parameters())[name] for name in names]
    assert len(parameters) == len(list(mixer.parameters()))
    inputs = [x.requires_grad_() for x in features.values()]
    results = [mixer(**features), naive(*inputs, *parameters)]
    torch.testing.assert_close(*results, rtol=0, atol=1e-10)
    weight = torch.randn_like(results[0])
    gradients = [torch.autograd.grad((y * weight).sum(), inputs + parameters, materialize_grads=True) for y in results]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-8)


@pytest.mark.usefixtures("double_precision")
class TestTwins:
    @pytest.mark.parametrize("num_tokens", LENGTHS)
    @pytest.mark.parametrize("name", ["Rec-1", "Rec-2", "Mamba", "Rec-64"])
    def test_selective_scan(self, name, num_tokens):
        liv = DECK[NUMBERS[name]]

        def naive(c, b, v, a, *rest):
            *gate, log_rate, step_bias, skip = rest
            y = recurrence_naive(c, b, v, a, log_rate, step_bias, skip)
            return y * F.silu(gate[0]) if gate else y

        assert_twins(
            Recurrence(liv, DIMS).double(), naive, features_of(liv, num_tokens), ["log_rate", "step_bias", "skip"]
        )

    @pytest.mark.parametrize("num_tokens", LENGTHS)
    @pytest.mark.parametrize("name", ["SSD", "Mamba-2"])
    def test_state_space(self, name, num_tokens):
        liv = DECK[NUMBERS[name]]
        names = ["log_rate", "step_bias", "skip", "norm.weight"]
        assert_twins(StateSpace(liv, DIMS).double(), state_space_naive, features_of(liv, num_tokens), names)

    @pytest.mark.parametrize("num_tokens", LENGTHS)
    def test_gated_linear_attention(self, num_tokens):
        liv = DECK[NUMBERS["GLA"]]
        mixer = GatedLinearAttention(liv, DIMS).double()
        naive = partial(gated_linear_attention_naive, head_dim=DIMS.head_dim)
        assert_twins(mixer, naive, features_of(liv, num_tokens), ["decay_bias", "norm.weight"])

    @pytest.mark.parametrize("num_tokens", LENGTHS)
    def test_delta_rule(self, num_tokens):
        liv = DECK[NUMBERS["GDN"]]
        naive = partial(delta_rule_naive, head_dim=DIMS.head_dim)
        names = ["log_rate", "step_bias", "norm.weight"]
        assert_twins(DeltaRule(liv, DIMS).double(), naive, features_of(liv, num_tokens), names)

    @pytest.mark.parametrize("num_tokens", LENGTHS)
    def test_gated_recurrence(self, num_tokens):
        liv = DECK[NUMBERS["RG-LRU"]]
        names = ["rate", "input_bias", "decay_bias"]

        def naive(c, *rest):
            return gated_recurrence_mixer_naive(F.gelu(c), *rest)

        assert_twins(GatedRecurrence(liv, DIMS).double(), naive, features_of(liv, num_tokens), names)

    @pytest.mark.parametrize("num_tokens", LENGTHS)
    def test_linear_attention(self, num_tokens):
        liv = DECK[NUMBERS["LinAttn"]]
        mixer = LinearAttention(liv, DIMS).double()
        features = features_of(liv, num_tokens)
        inputs = [x.requires_grad_() for x in features.values()]
        results = [mixer(**features), linear_attention_mixer_naive(*inputs, DIMS.head_dim)]
        torch.testing.assert_close(*results, rtol=0, atol=1e-10)
        weight = torch.randn_like(results[0])
        gradients = [torch.autograd.grad((y * weight).sum(), inputs) for y in results]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("num_tokens", LENGTHS)
class TestTwinsOfVariants:
    def test_selective_scan(self, num_tokens):
        liv, dims = fitted("Rec-1", d_inner=20, d_state=5)
        names = ["log_rate", "step_bias", "skip"]
        assert_twins(Recurrence(liv, dims).double(), recurrence_naive, features_of(liv, num_tokens, dims), names)

    @pytest.mark.parametrize("groups, apart", [(2, 3), (4, 1), (1, 2)])
    def test_state_space(self, groups, apart, num_tokens):
        sizes = {"d_inner": 24, "num_heads": 4, "d_state": 5}
        liv, dims = fitted("Mamba-2", num_groups=groups, norm_groups=apart, **sizes)
        naive = partial(state_space_naive, num_groups=groups, norm_groups=apart)
        names = ["log_rate", "step_bias", "skip", "norm.weight"]
        assert_twins(StateSpace(liv, dims).double(), naive, features_of(liv, num_tokens, dims), names)

    def test_state_space_without_a_norm(self, num_tokens):
        liv, dims = fitted("Mamba-2", out_norm=False)
        naive = partial(state_space_naive, gain=None)
        names = ["log_rate", "step_bias", "skip"]
        assert_twins(StateSpace(liv, dims).double(), naive, features_of(liv, num_tokens), names)

    def test_gated_linear_attention(self, num_tokens):
        liv, dims = fitted("GLA", num_heads=2, head_dim=6, value_head_dim=10)
        naive = partial(gated_linear_attention_naive, head_dim=6)
        mixer = GatedLinearAttention(liv, dims).double()
        assert_twins(mixer, naive, features_of(liv, num_tokens, dims), ["decay_bias", "norm.weight"])

    @pytest.mark.parametrize("key_heads", [1, 2, 6])
    def test_delta_rule(self, key_heads, num_tokens):
        liv, dims = fitted("GDN", num_heads=6, num_key_heads=key_heads, head_dim=4, value_head_dim=5)
        naive = partial(delta_rule_naive, head_dim=4)
        names = ["log_rate", "step_bias", "norm.weight"]
        assert_twins(DeltaRule(liv, dims).double(), naive, features_of(liv, num_tokens, dims), names)


@pytest.mark.usefixtures("either_precision")
class TestOracles:
    def test_mamba(self):
        """The scan, skip and gate of Mamba, given its features."""
        liv = DECK[NUMBERS["Mamba"]]
        mixer = Recurrence(liv, DIMS).to(torch.get_default_dtype())
        torch.nn.init.normal_(mixer.skip)
        features = features_of(liv, 37)
        c, b, v, a, z = features.values()
        theirs = mamba_selective_scan(
            v.mT,
            a.mT,
            -mixer.log_rate.exp(),
            b.mT,
            c.mT,
            D=mixer.skip,
            z=z.mT,
            delta_bias=mixer.step_bias,
            delta_softplus=True,
        )
        theirs = theirs[0] if isinstance(theirs, tuple) else theirs
        atol = 1e-10 if v.dtype == torch.float64 else 1e-5
        torch.testing.assert_close(mixer(**features), theirs.mT, rtol=0, atol=atol)

    @pytest.mark.parametrize("num_tokens", [1, 7, 64, 100])
    def test_mamba_2(self, num_tokens):
        liv = DECK[NUMBERS["Mamba-2"]]
        operator = build(liv, DIMS)
        config = Mamba2Config(
            hidden_size=32,
            num_heads=8,
            head_dim=8,
            state_size=64,
            expand=2,
            n_groups=1,
            conv_kernel=4,
            chunk_size=16,
            use_conv_bias=False,
            use_bias=False,
            layer_norm_epsilon=1e-6,
            num_hidden_layers=1,
        )
        reference = Mamba2Mixer(config, layer_idx=0).to(torch.get_default_dtype())
        torch.nn.init.normal_(reference.norm.weight)
        made, mixer = operator.featurizer, operator.mixer
        held, kernel = reference.in_proj.weight, reference.conv1d.weight
        pairs = [
            (made["Z"].channels.weight, held, rows(0, 64)),
            (made["V"].channels.weight, held, rows(64, 128)),
            (made["B"].channels.weight, held, rows(128, 192)),
            (made["C"].channels.weight, held, rows(192, 256)),
            (made["A"].channels.weight, held, rows(256, 264)),
            (made["V"].kernel, kernel, taps(0, 64)),
            (made["B"].kernel, kernel, taps(64, 128)),
            (made["C"].kernel, kernel, taps(128, 192)),
            (mixer.log_rate, reference.A_log, same),
            (mixer.step_bias, reference.dt_bias, same),
            (mixer.skip, reference.D, same),
            (mixer.norm.weight, reference.norm.weight, same),
            (operator.out.weight, reference.out_proj.weight, same),
        ]
        load(pairs)
        assert_equal(lambda x: operator(x, {})[0], reference, torch.randn(2, num_tokens, 32), pairs)

    @pytest.mark.parametrize("num_tokens", [1, 7, 64, 100])
    def test_gated_delta_net(self, num_tokens):
        liv = DECK[NUMBERS["GDN"]]
        operator = build(liv, DIMS)
        config = Qwen3NextConfig(
            hidden_size=32,
            linear_num_value_heads=4,
            linear_num_key_heads=4,
            linear_key_head_dim=8,
            linear_value_head_dim=8,
            linear_conv_kernel_dim=4,
            rms_norm_eps=1e-6,
            num_hidden_layers=1,
            layer_types=["linear_attention"],
        )
        reference = Qwen3NextGatedDeltaNet(config, 0).to(torch.get_default_dtype())
        torch.nn.init.normal_(reference.norm.weight)
        made, mixer = operator.featurizer, operator.mixer
        mixed, rates, kernel = reference.in_proj_qkvz.weight, reference.in_proj_ba.weight, reference.conv1d.weight

        def of_heads(which, width, total):
            """The rows of one feature, where each head has its q, k, v, z in a row."""
            return lambda weight: weight.unflatten(0, (4, total))[:, which * width : (which + 1) * width].flatten(0, 1)

        pairs = [(made[role].channels.weight, mixed, of_heads(i, 8, 32)) for i, role in enumerate("CBVZ")]
        pairs += [(made[role].channels.weight, rates, of_heads(i, 1, 2)) for i, role in enumerate("WA")]
        pairs += [(made[role].kernel, kernel, taps(32 * i, 32 * i + 32)) for i, role in enumerate("CBV")]
        pairs += [
            (mixer.log_rate, reference.A_log, same),
            (mixer.step_bias, reference.dt_bias, same),
            (mixer.norm.weight, reference.norm.weight, same),
            (operator.out.weight, reference.out_proj.weight, same),
        ]
        load(pairs)
        assert_equal(lambda x: operator(x, {})[0], reference, torch.randn(2, num_tokens, 32), pairs)
