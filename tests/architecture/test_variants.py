"""Operators that a scale builds otherwise: as many parameters and bytes of cache as priced, decoding as in parallel."""

from dataclasses import fields

import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from support.families import double
from support.strategies import CLASS_VALUES

from star.architecture.codes import Structure
from star.architecture.genome import DECK, decode
from star.architecture.genome.operator import GENES_PER_OPERATOR, describe_class, repair_class
from star.architecture.overrides import WORDS
from star.architecture.scales import SCALES
from star.architecture.spec import Dimensions, OperatorOverrides
from star.architecture.structures import MEANINGS, specify
from star.architecture.structures.structure import COMMON
from star.cost.cost import price
from star.errors import UserError
from star.model.language_model import LanguageModel
from star.training.optimizers import make_optimizers

SIZES = {
    "num_heads": (2, 4, 8),
    "num_key_heads": (1, 2, 4),
    "head_dim": (4, 8),
    "value_head_dim": (4, 6),
    "d_ff": (5, 32),
    "d_shared": (7, 32),
    "d_inner": (32, 48),
    "d_state": (3, 8),
    "num_groups": (1, 2, 4),
    "norm_groups": (1, 2, 4),
    "rank": (1, 5),
    "taps": (2, 5),
    "kept_taps": (4, 6),
    "num_experts": (3, 6),
    "experts_per_token": (1, 3),
}
CHOICES = WORDS | {"routed_scale": (2.5,), "normalised": (False, True), "gate": (False,)}
CHOICES |= {"clip_limit": (0.0, 1.5), "swish_slope": (1.0, 3.0), "value_shift": (0.0, 0.5)}
OF_OTHERS = {Structure.ATTENTION, Structure.LATENT_ATTENTION, Structure.LINEAR_ATTENTION}
MEANT = list(dict.fromkeys(rules for rules in MEANINGS.values() if rules.structure not in OF_OTHERS))
SHARINGS = ((1, 1, 1, 1, 1), (1, 1, 2, 1, 4), (1, 1, 2, 1, 3))
TOKENS = 9


@st.composite
def variants(draw, rules, roles):
    """Any variant that a structure knows, each of its fields left to the genes half of the time."""
    found = {}
    for field in fields(OperatorOverrides):
        if field.name in (*COMMON, *rules.supported) and draw(st.booleans()):
            if field.name == "bias":
                found["bias"] = "".join(role for role in roles if draw(st.booleans()))
            else:
                choices = SIZES.get(field.name) or CHOICES.get(field.name) or (not field.default,)
                found[field.name] = draw(st.sampled_from(choices))
    return OperatorOverrides(**found)


@torch.no_grad()
def check_decoding(model):
    """Whole sequences against any cuts of them."""
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=parameter.ndim == 1, std=0.2)
    tokens = torch.randint(0, 11, (2, TOKENS))
    expected = model(tokens)
    for cuts in ([1] * TOKENS, [4, 1, 2, 2]):
        cache = model.new_cache(TOKENS, 2)
        found = torch.cat([model(part, cache) for part in tokens.split(cuts, dim=1)], dim=1)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("rules", MEANT, ids=lambda rules: type(rules).__name__)
@settings(max_examples=8)
@given(data=st.data())
def test_every_structure_is_built_as_priced_and_decodes(rules, data):
    """Whatever the genes of its feature groups and the variant: alone, and where slots share what they can."""
    torch.manual_seed(0)
    codes = data.draw(st.sampled_from([codes for codes, one in MEANINGS.items() if one is rules]))
    rows = [data.draw(st.sampled_from(values)) for values in CLASS_VALUES[GENES_PER_OPERATOR:]]
    own = repair_class((data.draw(st.sampled_from((1, 2))), *map(int, codes), *rows))
    liv = describe_class(own)
    overrides = data.draw(variants(rules, [group.role for group in liv.groups]))
    dims = Dimensions(d_model=32, head_dim=4, vocab_size=11, seq_len=16, operators=((liv.name, overrides),))
    slots = decode((-1, *own, *(gene for sharing in SHARINGS for gene in sharing)))
    try:
        with double():
            model = LanguageModel(specify(slots, dims)).eval()
    except UserError:
        reject()
    for context in (1, TOKENS):
        cost = price(slots, dims, context=context, dtype_bytes=8)
        assert cost.params == sum(parameter.numel() for parameter in model.parameters())
        assert cost.cache_bytes == model.new_cache(context).num_bytes
    check_decoding(model)


PUBLISHED = {
    "Mamba": OperatorOverrides(
        chained=True, inner_norm=True, kernel_bias=True, bias="VZ", out_bias=True, rank=3, d_state=5
    ),
    "Mamba-2": OperatorOverrides(
        num_heads=4, num_groups=2, norm_groups=2, d_inner=24, d_state=3, kernel_bias=True, bias="CBVAZ"
    ),
    "GLA": OperatorOverrides(num_heads=2, head_dim=6, value_head_dim=5, bias="CBVAZ", rank=3),
    "GDN": OperatorOverrides(num_heads=4, num_key_heads=2, head_dim=6, value_head_dim=5, bias="AW", kernel_bias=True),
    "RG-LRU": OperatorOverrides(
        d_inner=24, num_heads=3, chained=True, taps=4, kept_taps=3, kernel_bias=True, bias="CV"
    ),
    "GConv-1": OperatorOverrides(d_inner=24, taps=4, kept_taps=3, bias="CBV", out_bias=True),
    "ReLU2": OperatorOverrides(d_ff=11, bias="C", out_bias=True),
    "MoE-shared": OperatorOverrides(
        num_experts=3, experts_per_token=2, bias="CVRSU", out_bias=True, shared_gate=True, d_ff=5
    ),
}


def build(name, overrides):
    """A model of one class as a variant has it."""
    dims = Dimensions(d_model=32, head_dim=8, vocab_size=11, seq_len=16, operators=((name, overrides),))
    number = next(number for number, liv in DECK.items() if liv.name == name)
    return LanguageModel(specify(decode((number, 1, 1, 1, 1)), dims))


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_parameter_is_trained(name):
    """Each has an optimizer and a gradient."""
    torch.manual_seed(0)
    with double():
        model = build(name, PUBLISHED[name])
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=parameter.ndim == 1, std=0.2)
    model(torch.randint(0, 11, (2, TOKENS))).square().mean().backward()
    assert [name for name, parameter in model.named_parameters() if not parameter.grad.any()] == []
    groups = [group for one in make_optimizers(model, SCALES["nano"].recipe) for group in one.param_groups]
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(held) == sorted(map(id, model.parameters()))


@pytest.mark.parametrize("name", ["Mamba", "GConv-k4"])
def test_a_kernel_needs_all_columns_but_one(name):
    for kept in (3, 4):
        build(name, OperatorOverrides(taps=4, kept_taps=kept))
    with pytest.raises(UserError, match="kept_taps is 2, but a kernel of 4 taps needs 3 columns"):
        build(name, OperatorOverrides(taps=4, kept_taps=2))


def test_blocks_of_heads_must_divide_channels():
    with pytest.raises(UserError, match="does not divide|by head, but there are 5 heads"):
        build("RG-LRU", OperatorOverrides(d_inner=40, num_heads=5))
