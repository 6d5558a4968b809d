"""Token shift: of the input of every slot, and of features. Against the kernel written out by hand."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.naive import convolution_naive, two_then_one
from support.oracle import assert_same
from support.soundness import assert_causal
from support.strategies import genomes

from star.architecture.catalogue import read_scale
from star.architecture.genome import DECK, decode, parse
from star.architecture.genome.operator import build_liv
from star.architecture.spec import BackboneConfig, Dimensions
from star.architecture.structures import specify
from star.cost.cost import itemise, price
from star.cost.target import Target
from star.errors import UserError
from star.model.language_model import LanguageModel
from star.model.operators.featurizer import make_feature
from star.model.operators.shift import Shift

pytestmark = pytest.mark.usefixtures("double_precision")

DIMS = Dimensions(d_model=16, head_dim=4, vocab_size=32, seq_len=32)
TAPS = (1, 2, 4, 16)
LENGTHS = (1, 2, 3, 5, 33)
TOKENS = torch.arange(36).view(2, 18) % 32


def styled(taps, **style):
    return replace(DIMS, style=BackboneConfig(shift=taps, **style))


def build(text, dims):
    """A model whose output maps, which start at zero, have something to say."""
    model = LanguageModel(specify(decode(parse(text)), dims)).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("out.weight"):
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def shift_naive(x, kernel):
    return x + convolution_naive(x, kernel)


@pytest.mark.parametrize("num_tokens", LENGTHS)
@pytest.mark.parametrize("taps", TAPS)
def test_a_shift_is_its_kernel_by_hand(taps, num_tokens):
    shift = Shift(taps, 6)

    def fast(x, kernel):
        return (torch.func.functional_call(shift, {"kernel": kernel}, (x, None)),)

    def naive(x, kernel):
        return (shift_naive(x, kernel),)

    assert_same(fast, naive, [torch.randn(2, num_tokens, 6), shift.kernel])


@torch.no_grad()
@pytest.mark.parametrize("codes", [(2, 1, 2, 3), (2, 1, 1, 3), (7, 1, 4, 3)])
@pytest.mark.parametrize("channel_mixing", [2, 4])
def test_a_feature_with_a_residual_kernel_is_the_feature_and_its_convolution(codes, channel_mixing):
    rest = [(1, 2, 1, 1)] * {2: 0, 7: 2}[codes[0]]
    liv, x = build_liv("", codes, [(8, channel_mixing, 1, 1)] * 3 + rest), torch.randn(2, 9, DIMS.d_model)
    for role in "CBV":
        feature = make_feature(liv.group(role), DIMS, liv)
        assert feature.kernel.shape == (4, DIMS.d_model)
        torch.testing.assert_close(feature(x, None), shift_naive(feature.channels(x), feature.kernel))


@torch.no_grad()
def test_norms_come_after_the_residual_kernel():
    groups = ((8, 2, 2, 1), (8, 2, 1, 9), (8, 6, 1, 2))
    liv = build_liv("", (2, 1, 2, 6), groups)
    feature, x = make_feature(liv.group("V"), DIMS, liv), torch.randn(2, 9, DIMS.d_model)
    y = shift_naive(feature.channels(x), feature.kernel)
    torch.testing.assert_close(feature(x, None), feature.norm(y))


@torch.no_grad()
def test_a_kernel_of_two_taps_that_a_head_shares_is_the_shift_of_keys_and_values():
    """a k_t + b k_{t-1} for each head, as in arXiv:2411.19574."""
    liv, x = DECK[52], torch.randn(2, 9, DIMS.d_model)
    feature = make_feature(liv.group("B"), DIMS, liv)
    a, b = torch.randn(2, 4)
    feature.kernel.zero_()
    feature.kernel[:2] = torch.stack((a - 1, b)).repeat_interleave(4, dim=1)
    keys = feature.channels(x).unflatten(2, (4, 4))
    before = torch.cat((torch.zeros_like(keys[:, :1]), keys[:, :-1]), dim=1)
    torch.testing.assert_close(feature(x, None), (a[:, None] * keys + b[:, None] * before).flatten(2))


@torch.no_grad()
@pytest.mark.parametrize("shared_norm", [False, True])
@pytest.mark.parametrize("place", ["before", "after", "both"])
def test_every_slot_shifts_what_it_reads_by_a_kernel_of_its_own(place, shared_norm):
    """Two slots that read the same, one that does not, a differential one; the empty one shifts nothing."""
    model = build("11111-01111-91111-101111", styled(3, parallel=(2, 1), norm_place=place, shared_norm=shared_norm))
    assert len(model.shifts) == 3 and len({id(shift.kernel) for shift in model.shifts}) == 3

    expected = two_then_one(model, TOKENS, place, lambda i, x: shift_naive(x, model.shifts[i].kernel))
    torch.testing.assert_close(model(TOKENS), expected)


@torch.no_grad()
@pytest.mark.parametrize("pieces", [[18], [1] * 18, [2, 1, 3, 1, 7, 4], [17, 1]])
@pytest.mark.parametrize("taps", TAPS)
def test_a_shift_decodes_as_it_trains(taps, pieces):
    """Slots that share features and weights, and read the same, differential ones among them."""
    dims = styled(taps, parallel=(2, 1), shared_norm=True)
    slots = "11214-52.1.1.1.1-10.1.1.1.4-10.1.1.1.4-91114-91114-11214"
    model = build(slots, dims)
    cache = model.new_cache(18, 2)
    assert cache.num_bytes == 2 * price(decode(parse(slots)), dims, 18, 8).cache_bytes
    parts = [model(part, cache) for part in TOKENS.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(TOKENS), rtol=0, atol=1e-10)


@given(genomes(max_slots=5), st.sampled_from(TAPS), st.integers(1, 40))
def test_a_shift_adds_to_every_slot_what_it_is_priced_at(genome, taps, context):
    """Its taps, two FLOPs for each and a token, and columns for all but one of them; nothing that grows."""
    slots, width = decode(genome), DIMS.d_model
    plain, shifted = (price(slots, dims, context) for dims in (DIMS, styled(taps)))
    count = len(slots)
    assert shifted.params - plain.params == shifted.active_params - plain.active_params == count * taps * width
    assert shifted.flops - plain.flops == count * 2 * taps * width * context
    assert shifted.cache_bytes - plain.cache_bytes == 2 * count * (taps - 1) * width
    assert shifted.cache_bytes_per_token == plain.cache_bytes_per_token
    assert shifted.embedding_params == plain.embedding_params
    pairs = zip(itemise(slots, styled(taps), context), itemise(slots, DIMS, context), strict=True)
    assert all(one.params - other.params == taps * width for one, other in pairs)


@pytest.mark.parametrize("taps", TAPS)
def test_shifted_slots_are_causal_and_every_tap_learns(taps):
    torch.manual_seed(0)
    dims = replace(DIMS, vocab_size=256, style=BackboneConfig(shift=taps))
    model = build("11111-91111-23.1.1.1.1-33.1.1.1.1", dims)
    assert_causal(model, 33, 17)
    model(torch.randint(0, 256, (2, 33))).square().mean().backward()
    for shift in model.shifts:
        assert (shift.kernel.grad != 0).all()


def test_a_shift_starts_with_a_third_of_the_mean_square_of_its_input():
    torch.manual_seed(0)
    for taps in TAPS:
        shift, x = Shift(taps, 4096), torch.randn(1, 40, 4096)
        added = (shift(x, None) - x)[:, taps:].square().mean()
        assert added.item() == pytest.approx(1 / 3, rel=0.05)


TOML = """
genome = "11111-91111"
[scale]
slots = 2
d_model = 16
head_dim = 4
vocab_size = 32
seq_len = 32
[style]
shift = {}
"""


def test_a_file_of_sizes_says_how_many_taps_there_are():
    dims = read_scale(TOML.format(4), "mine").dims
    assert dims == styled(4)
    target = Target(dims=dims, num_slots=6, context=32, dtype_bytes=2)
    plain = replace(target, dims=DIMS).count(parse("11111-91111"))
    assert target.count(parse("11111-91111")).params == plain.params + 6 * 4 * 16


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("-1", "from 0 to 16, not -1"),
        ("17", "from 0 to 16, not 17"),
        ("1.5", "must be a whole number"),
    ],
)
def test_other_numbers_of_taps_are_refused(value, words):
    with pytest.raises(UserError, match=words):
        read_scale(TOML.format(value), "mine")
