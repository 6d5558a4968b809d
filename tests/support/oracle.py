"""Comparing two forms of one function, and one of our operators with a public implementation of the same weights."""

import torch

from star.architecture.spec import Dimensions, LivSpec
from star.model.operators.liv import Liv


def build(liv: LivSpec, dims: Dimensions) -> Liv:
    """An operator that shares nothing, with an output map that says something, of the default type."""
    count = len(liv.groups)
    operator = Liv(liv, dims, (None,) * count, (False,) * count).to(torch.get_default_dtype())
    for name, parameter in operator.named_parameters():
        if name.endswith("out.weight"):
            torch.nn.init.normal_(parameter, std=0.2)
        elif parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=1, std=0.2)  # gains, biases, rates: something else than all alike
    return operator


def assert_equal(ours, theirs, x, pairs):
    """Equal outputs, and equal gradients of a random projection: for the input, and for each (our parameter, the tensor
    in which the reference holds it, how to bring that tensor into our shape)."""
    atol = 1e-10 if x.dtype == torch.float64 else 1e-5
    outputs, gradients = [], []
    places = [x.clone().requires_grad_() for _ in range(2)]
    weight = torch.randn_like(x)
    for function, place, held in zip(
        (ours, theirs), places, zip(*[pair[:2] for pair in pairs], strict=True), strict=True
    ):
        y = function(place)
        outputs.append(y)
        gradients.append(torch.autograd.grad((y * weight).sum(), [place, *held]))
    torch.testing.assert_close(*outputs, rtol=0, atol=atol * scale(outputs[1]))
    atol *= 10  # gradients are sums over all tokens
    torch.testing.assert_close(gradients[0][0], gradients[1][0], rtol=0, atol=atol * scale(gradients[1][0]))
    for (_, _, reshape), one, other in zip(pairs, gradients[0][1:], gradients[1][1:], strict=True):
        torch.testing.assert_close(one, reshape(other), rtol=0, atol=atol * scale(other))


def scale(tensor: torch.Tensor) -> float:
    """The largest entry, if it is above 1: what rounding errors of sums go with."""
    return max(1.0, tensor.abs().max().item())


def load(pairs) -> None:
    """Give each of our parameters the weights of the reference."""
    with torch.no_grad():
        for parameter, tensor, reshape in pairs:
            parameter.copy_(reshape(tensor))


def rows(start: int, stop: int):
    """Rows of a matrix that holds several."""
    return lambda tensor: tensor[start:stop]


def taps(start: int, stop: int):
    """Channels of a depthwise convolution (channels, 1, taps) as our kernel (taps, channels), present token first."""
    return lambda tensor: tensor[start:stop, 0].flip(1).T


def same(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself."""
    return tensor


def with_gradients(form, tensors):
    """What `form` returns, and the gradients of a projection of all of it with respect to every tensor."""
    tensors = [t.detach().requires_grad_() for t in tensors]
    results = form(*tensors)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(result.shape, generator=generator).to(result) for result in results]
    projection = sum((result * weight).sum() for result, weight in zip(results, weights, strict=True))
    return [*results, *torch.autograd.grad(projection, tensors, materialize_grads=True)]


def assert_same(one, other, tensors, atol=1e-10):
    """Equal results and equal gradients."""
    for a, b in zip(with_gradients(one, tensors), with_gradients(other, tensors), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=atol)
