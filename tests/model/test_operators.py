"""Every token-mixing structure against its naive twin: values, gradients, ugly lengths; and causality."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from support.naive import (
    convolution_naive,
    gated_convolution_naive,
    memoryless_naive,
    recurrence_naive,
    rotate_naive,
    selective_scan_naive,
)
from support.oracle import build

from star.architecture.codes import Nonlinearity, Structure
from star.architecture.genome import DECK
from star.architecture.spec import Dimensions
from star.model.operators.convolution import GatedConvolution
from star.model.operators.featurizer import make_feature
from star.model.operators.liv import MIXERS
from star.model.operators.memoryless import Memoryless
from star.model.operators.recurrence import Recurrence
from star.model.ops.convolution import long_convolution, short_convolution
from star.model.ops.rotary import rotate
from star.model.ops.scan import selective_scan

pytestmark = pytest.mark.usefixtures("double_precision")

DIMS = Dimensions(d_model=32, head_dim=8, vocab_size=11, seq_len=40)
LENGTHS = (1, 2, 63, 64, 65)


def assert_twins(fast, naive, tensors, atol=1e-10):
    """Equal values, and equal gradients of a random projection with respect to every tensor."""
    tensors = [t.detach().requires_grad_() for t in tensors]
    results = [f(*tensors) for f in (fast, naive)]
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=atol)
    weight = torch.randn_like(results[0])
    gradients = [torch.autograd.grad((y * weight).sum(), tensors) for y in results]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=atol * 100)


def features_of(class_id, num_tokens, batch=2):
    """Random features of the widths that the class's featurizer makes; a kernel where it has one."""
    x = torch.randn(batch, num_tokens, DIMS.d_model)
    liv = DECK[class_id]
    return [torch.randn_like(make_feature(group, DIMS, liv).double()(x, None)) for group in liv.groups]


@pytest.mark.parametrize("class_id", DECK)
def test_features_reach_their_mixer_by_role_in_whatever_order_they_are_described(class_id):
    liv, x = DECK[class_id], torch.randn(2, 9, DIMS.d_model)
    operator, backwards = (build(one, DIMS) for one in (liv, replace(liv, groups=liv.groups[::-1])))
    backwards.load_state_dict(operator.state_dict())
    assert torch.equal(operator(x, {})[0], backwards(x, {})[0])


@pytest.mark.parametrize("num_tokens", LENGTHS)
@pytest.mark.parametrize("class_id", [7, 8, 31, 32])
def test_gated_convolution(class_id, num_tokens):
    mixer = GatedConvolution(DECK[class_id], DIMS)

    def fast(c, b, v, k):
        return mixer(c=c, b=b, v=v, k=k)

    assert_twins(fast, gated_convolution_naive, features_of(class_id, num_tokens))


@pytest.mark.parametrize("nonlinearity", [Nonlinearity.SWISH, Nonlinearity.GELU])
def test_a_convolutions_gate_may_bend(nonlinearity):
    c, b, v, k = features_of(7, 9)
    mixer = GatedConvolution(replace(DECK[7], nonlinearity=nonlinearity), DIMS)
    bend = {Nonlinearity.SWISH: F.silu, Nonlinearity.GELU: F.gelu}[nonlinearity]
    torch.testing.assert_close(mixer(c=c, b=b, v=v, k=k), gated_convolution_naive(bend(c), b, v, k))


@pytest.mark.parametrize("num_tokens", LENGTHS)
def test_memoryless(num_tokens):
    mixer = Memoryless(DECK[9], DIMS)
    assert_twins(lambda c, v: mixer(c=c, v=v), memoryless_naive, features_of(9, num_tokens))


def test_recurrence_over_several_segments(monkeypatch):
    """Segments hand their last state on, forwards and backwards."""
    monkeypatch.setattr("star.model.operators.recurrence.STATES_AT_ONCE", 2 * 16 * 32 * 16)  # 16 tokens
    mixer = Recurrence(DECK[5], DIMS)
    parameters = [p.detach() for p in (mixer.log_rate, mixer.step_bias, mixer.skip)]

    def fast(c, b, v, a, log_rate, step_bias, skip):
        named = {"log_rate": log_rate, "step_bias": step_bias, "skip": skip}
        return torch.func.functional_call(mixer, named, kwargs={"c": c, "b": b, "v": v, "a": a})

    assert_twins(fast, recurrence_naive, [*features_of(5, 63), *parameters])


@pytest.mark.parametrize("num_tokens", LENGTHS)
def test_scan_carries_its_start_and_returns_its_end(num_tokens):
    s, v = torch.rand(2, num_tokens, 5) + 0.1, torch.randn(2, num_tokens, 5)
    b, c = torch.randn(2, num_tokens, 3), torch.randn(2, num_tokens, 3)
    arguments = [s, v, b, c, torch.rand(5, 3) * 4, torch.randn(2, 5, 3)]

    def both(scan):
        return lambda *tensors: torch.cat([result.flatten() for result in scan(*tensors)])

    assert_twins(both(selective_scan), both(selective_scan_naive), arguments)


def test_scan_forgets_exactly_where_its_decay_underflows():
    """Decays of e^-1000 leave no trace and no NaN, in the values and in every gradient."""
    s = torch.full((1, 64, 4), 1000.0)
    v, b, c = torch.randn(1, 64, 4), torch.randn(1, 64, 2), torch.randn(1, 64, 2)
    tensors = [s, v, b, c, torch.ones(4, 2), torch.randn(1, 4, 2)]
    assert_twins(lambda *a: selective_scan(*a)[0], lambda *a: selective_scan_naive(*a)[0], tensors, atol=1e-6)
    y, _ = selective_scan(*tensors)
    torch.testing.assert_close(y, s * v * (b * c).sum(-1, keepdim=True))


@pytest.mark.parametrize("num_tokens", LENGTHS)
def test_convolutions(num_tokens):
    x = torch.randn(2, num_tokens, 4)
    assert_twins(short_convolution, convolution_naive, [x, torch.randn(3, 4)])
    assert_twins(long_convolution, convolution_naive, [x, torch.randn(num_tokens, 4)])


def test_short_convolution_is_the_librarys_depthwise_convolution():
    x, kernel = torch.randn(2, 20, 4), torch.randn(3, 4)
    padded = F.pad(x.mT, (2, 0))
    expected = F.conv1d(padded, kernel.flip(0).mT[:, None], groups=4).mT
    torch.testing.assert_close(short_convolution(x, kernel), expected)


def test_rotation():
    x = torch.randn(2, 9, 3, 8)
    torch.testing.assert_close(rotate(x), rotate_naive(x), rtol=0, atol=1e-5)
    q, k = torch.randn(2, 1, 1, 8)
    turned_q, turned_k = (rotate(y.expand(1, 30, 1, 8))[0, :, 0] for y in (q, k))
    scores = turned_q @ turned_k.T
    for distance in range(5):  # a score depends on the distance alone
        diagonal = scores.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-4)


def test_implicit_kernel_does_not_depend_on_tokens_or_on_how_many_there_are():
    kernel = make_feature(DECK[8].group("K"), DIMS, DECK[8])
    long, short = kernel(torch.randn(1, 40, 32), None), kernel(torch.randn(3, 7, 32), None)
    torch.testing.assert_close(long[:7], short)


def test_implicit_kernel_tells_positions_apart_in_half_precision():
    kernel = make_feature(DECK[8].group("K"), DIMS, DECK[8])
    x = torch.zeros(1, 1024, 32)
    expected = kernel(x, None)
    found = kernel.to(torch.bfloat16)(x.to(torch.bfloat16), None)
    error = (found.double() - expected)[512:].norm() / expected[512:].norm()
    assert found.dtype == torch.bfloat16 and error < 0.03  # with positions in half precision it is 0.07


def test_every_structure_has_a_module_of_its_own():
    own = {key: mixer for key, mixer in MIXERS.items() if isinstance(key, Structure)}
    assert set(own) == set(Structure)
    assert len(set(own.values())) == len(own)
