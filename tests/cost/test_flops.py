"""FLOPs from a genome against torch's own counter where it counts the same thing, and against recurrences written out
in numbers that count what is done to them."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import genomes
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from star.architecture.codes import FeatureTokenMixing, Sparsity, Structure
from star.architecture.genome import DECK, decode, parse
from star.architecture.spec import BackboneConfig, Dimensions, ModelSpec, OperatorOverrides
from star.architecture.structures import rules_of
from star.architecture.structures.attention import count_pairs
from star.cost.cost import itemise, price
from star.model.language_model import LanguageModel

DIMS = Dimensions(d_model=16, head_dim=4, vocab_size=32, seq_len=64, window=5)
NUMBERS = {liv.name: number for number, liv in DECK.items()}
ATTENTION = (Structure.ATTENTION, Structure.LATENT_ATTENTION)
IN_MATRICES = (*ATTENTION, Structure.MEMORYLESS, Structure.ROUTED, Structure.CONVOLUTION)


def count(genome, num_tokens, backward=False):
    """What torch counts: matrix products, and attention over all pairs of tokens whether masked or not."""
    torch.manual_seed(0)
    model = LanguageModel(ModelSpec(decode(genome), DIMS))
    for name, parameter in model.named_parameters():
        if name.endswith("out.weight"):
            torch.nn.init.normal_(parameter)
    tokens = torch.randint(0, 32, (1, num_tokens))
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        logits = model(tokens)
        if backward:
            logits.square().sum().backward()
    return counter.get_total_flops()


def uncounted(liv, num_tokens):
    """What torch does not count of ours, and counts besides: products that are elementwise there, masked pairs."""
    copies = 2 if liv.differential else 1
    taps = {FeatureTokenMixing.TOEPLITZ: 3}
    taps |= dict.fromkeys((FeatureTokenMixing.ACTIVATED_TOEPLITZ, FeatureTokenMixing.RESIDUAL_TOEPLITZ), 4)
    found = 0
    for group in liv.groups:
        if group.role == "K":
            found += 2 * num_tokens * group.expansion * DIMS.d_model
        elif group.token_mixing in taps:
            found += 2 * num_tokens * taps[group.token_mixing] * group.width(DIMS)
    if liv.structure in ATTENTION:
        computed = num_tokens**2
        if liv.sparsity is Sparsity.BANDED and num_tokens > 2 * DIMS.band:  # every block with itself and the one before
            computed = -(-num_tokens // DIMS.band) * DIMS.band * 2 * DIMS.band
        # Latent attention pads values to the width of keys, which torch counts and we do not.
        priced, counted = (6, 8) if liv.structure is Structure.LATENT_ATTENTION else (4, 4)
        found += (priced * count_pairs(liv, DIMS, num_tokens) - counted * computed) * DIMS.d_model
    return copies * found


@pytest.mark.parametrize("num_tokens", [1, 4, 5, 6, 33])
@pytest.mark.parametrize(
    "class_id", [n for n, liv in DECK.items() if liv.structure in IN_MATRICES and n not in (8, 17)]
)
def test_torch_counts_the_same(class_id, num_tokens):
    genome = parse(f"{class_id}1111-{class_id}1111")
    ours = price(decode(genome), DIMS, num_tokens).flops
    assert ours == count(genome, num_tokens) + 2 * uncounted(DECK[class_id], num_tokens)


@pytest.mark.parametrize("strategy", [2, 3, 4])
@pytest.mark.parametrize("class_id", [1, 9, 33, 34, 38])
def test_torch_counts_the_same_where_features_are_shared(class_id, strategy):
    """Experts are chosen anew in every slot, so their features are made anew from the input that is shared."""
    genome = parse(f"{class_id}111{strategy}-{class_id}111{strategy}")
    assert price(decode(genome), DIMS, 5).flops == count(genome, 5) + 2 * uncounted(DECK[class_id], 5)


@pytest.mark.parametrize("class_id", [1, 3, 7, 9, 13, 18, 22, 36, 38])
def test_a_training_step_costs_three_forward_passes(class_id):
    genome = parse(f"{class_id}1111-{class_id}1111")
    assert count(genome, 33, backward=True) == 3 * count(genome, 33)


@pytest.mark.parametrize("num_tokens", [1, 2, 5, 6, 40])
@pytest.mark.parametrize("name", ["SA-1", "SWA"])
def test_pairs_are_those_of_the_mask(name, num_tokens):
    window = DIMS.band if name == "SWA" else num_tokens
    looked_at = [j for i in range(num_tokens) for j in range(num_tokens) if i - window < j <= i]
    assert count_pairs(DECK[NUMBERS[name]], DIMS, num_tokens) == len(looked_at)


class Counted:
    """A number that counts multiplications and additions."""

    done = 0

    def __add__(self, other):
        Counted.done += 1
        return self

    __mul__ = __add__


def recur(keys, values, decays, erases):
    """One token of a recurrence with a state (keys, values), written out; what it did."""
    Counted.done = 0
    one = Counted()
    for _ in range(keys * values):
        state = one
        if decays:
            state = state * one
        if erases:
            read = one + state * one  # what the key holds: a sum over keys for each value
        state = state + one * one
        read = one + one * state
    assert isinstance(read, Counted)
    return Counted.done


@pytest.mark.parametrize(
    ("name", "heads", "keys", "values", "decays", "erases"),
    [
        ("Rec-1", 16, 16, 1, True, False),  # every channel is a head with one value
        ("Mamba", 32, 16, 1, True, False),
        ("SSD", 4, 16, 4, True, False),
        ("Mamba-2", 8, 64, 4, True, False),
        ("GLA", 4, 4, 4, True, False),
        ("GDN", 4, 4, 4, True, True),
        ("LinAttn", 4, 4, 5, False, False),  # one value more sums the weights
    ],
)
def test_recurrences_written_out_do_as_much(name, heads, keys, values, decays, erases):
    liv = DECK[NUMBERS[name]]
    width = liv.group("V").width(DIMS)
    output = 2 * width * DIMS.d_model
    done = rules_of(liv).flops(liv, DIMS, 7)
    assert done == 7 * (heads * recur(keys, values, decays, erases) + output)


@pytest.mark.parametrize("taps", [1, 2, 4])
def test_a_shift_written_out_does_as_much(taps):
    """For each slot and channel: as a style, and, for the channels of a feature, as a code."""
    Counted.done = 0
    value = one = Counted()
    for _ in range(taps):
        value = value + one * one
    assert value is one
    slots, shifted = decode(parse("11111-01111-91111")), replace(DIMS, style=BackboneConfig(shift=taps))
    assert price(slots, shifted, 7).flops - price(slots, DIMS, 7).flops == 7 * 2 * DIMS.d_model * Counted.done
    overrides = (("SA-3-Shift", OperatorOverrides(taps=taps)),)
    costs = [
        price(decode((NUMBERS[name], 1, 1, 1, 1)), replace(DIMS, operators=overrides), 7)
        for name in ("SA-3", "SA-3-Shift")
    ]
    assert costs[1].flops - costs[0].flops == 7 * (DIMS.d_model + 2 * DIMS.head_dim) * Counted.done


def test_a_transformer_costs_two_flops_a_weight_and_token_and_its_attention():
    """2 N + 4 d pairs / T, with N the weights of the slots and the head: Kaplan et al. 2020 with a causal mask."""
    dims = Dimensions(d_model=64, head_dim=16, vocab_size=256, seq_len=128)
    cost = price(decode(parse("-".join(["11111-91111"] * 3))), dims)
    weights = cost.params - 7 * 64  # norms are no products
    assert cost.flops_per_token == 2 * weights + 3 * 4 * 64 * (128 * 129 / 2) / 128


def test_experts_that_are_not_chosen_cost_nothing():
    dense, routed = (price(decode((NUMBERS[name], 1, 1, 1, 1)), DIMS) for name in ("SwiGLU-1", "MoE"))
    router = 2 * 16 * 4
    assert routed.flops_per_token - router == 2 * dense.flops_per_token - 2 * 16 * 32  # two experts, but one head
    assert routed.active_params < routed.params


@given(genomes(max_slots=8), st.integers(1, 200))
def test_shared_features_are_made_once_and_slots_add_up(genome, context):
    slots = decode(genome)
    cost = price(slots, DIMS, context)
    head = 2 * 16 * 32
    layers = itemise(slots, DIMS, context)
    assert cost.flops_per_token == pytest.approx(head + sum(layer.flops_per_token for layer in layers))
    made = sum(
        rules_of(slot.liv).group_flops(slot.liv, group, DIMS, context) * (1 + slot.liv.differential)
        for i, slot in enumerate(slots)
        for group, maker in zip(slot.liv.groups, slot.features_from, strict=True)
        if maker == i or group.role in rules_of(slot.liv).deferred
    )
    mixed = sum(rules_of(slot.liv).flops(slot.liv, DIMS, context) * (1 + slot.liv.differential) for slot in slots)
    assert cost.flops == head * context + made + mixed
