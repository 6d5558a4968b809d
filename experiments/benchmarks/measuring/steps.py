"""The timed actions of an operator: a training step, and decoding one token."""

from collections.abc import Callable, Iterable

import torch
from torch import nn

from measuring.clock import Action
from star.architecture.spec import Dimensions, LivSpec
from star.model.operators.liv import Liv


def build(liv: LivSpec, dims: Dimensions, device: torch.device) -> Liv:
    """Build an operator without sharing, with random output projections in place of zeros."""
    count = len(liv.groups)
    operator = Liv(liv, dims, (None,) * count, (False,) * count).to(device)
    for name, parameter in operator.named_parameters():
        if name.endswith("out.weight"):
            nn.init.normal_(parameter, std=dims.d_model**-0.5)
    return operator


def training_step(
    run: Callable[[torch.Tensor], torch.Tensor], parameters: Iterable[nn.Parameter], x: torch.Tensor
) -> Action:
    """Return a forward pass and a backward pass to the input and every parameter."""
    leaves = [x.detach().requires_grad_(), *parameters]
    weight = torch.randn_like(x)

    def step() -> None:
        for leaf in leaves:
            leaf.grad = None
        run(leaves[0]).backward(weight)

    return step


def operator_step(liv: LivSpec, dims: Dimensions, x: torch.Tensor) -> Action:
    """Return the training step of one of star's operators."""
    operator = build(liv, dims, x.device)
    return training_step(lambda x: operator(x, {})[0], operator.parameters(), x)


@torch.no_grad()
def decoding_step(liv: LivSpec, dims: Dimensions, context: int, device: torch.device) -> Action:
    """Return the decoding of the last token of `context` from a cache of all tokens before it."""
    operator = build(liv, dims, device).eval()
    cache = operator.new_cache(1, context, {})
    prompt = torch.randn(1, context, dims.d_model, device=device)

    @torch.no_grad()
    def read(start: int, stop: int) -> None:
        cache.begin(start)
        operator(prompt[:, start:stop], {}, cache)

    read(0, context - 1)
    return lambda: read(context - 1, context)
