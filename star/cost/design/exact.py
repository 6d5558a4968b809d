"""Choose whole numbers whose parameter count is within 1 % of a target, near the shape of published models.

For each width, and each width of the gated unit on a grid, the depth follows from the price of one and of two layers.
The one with the least misfit is taken of those whose whole price is within the tolerance:

    misfit = log^2 (d / L) / a(N) + log^2 k d_ff / (3.5 d) + log^2 kv / min(8, heads / 2)

with k experts for each token (1 without experts), N active parameters and kv key/value heads. The ideal width over
depth a(N) = 120 min(1, N / 8 B)^0.45 runs from SmolLM2-135M (576 / 30 = 19) past Qwen3-0.6B (37) and Gemma-3 1B (44)
to Llama-3 8B (128), and stays there: Llama-3 70B has 102, DeepSeek-V3 117, Llama-3.1 405B 130.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from star.cost.cost import Cost
from star.cost.design.shape import HEAD_DIM, KV_HEADS, Design, Shape
from star.errors import UserError

CITATION = "rule exact: blocks of Grattafiori et al. 2024, arXiv:2407.21783"
ROUTED_CITATION = CITATION + "; experts of Jiang et al. 2024, arXiv:2401.04088"
TOLERANCE = 0.01
WIDTHS = (*range(256, 2048, 128), *range(2048, 32_768 + 1, 1024))  # of which eight heads of 128 are a divisor
FF_RATIO = 3.5
FF_DENSE, FF_ROUTED = (8 / 3, 4.0), (2.0, 8.0)  # bounds of k d_ff / d; DeepSeek-V3 has 2.3, Mixtral 7
FF_STEPS = (256, 128, 64, 32, 16, 8)  # the next only where no multiple of the last has the count and a fair shape
FF_TRIED = 24  # multiples next to the ratio, at each width
FAIR = 0.5  # misfit: one ratio that is half or twice its ideal makes 0.48
FARTHEST = math.log(6)  # of width over depth from the ideal


class _Found(NamedTuple):
    """A shape with the keys by which shapes are ordered; the least is chosen."""

    misfit: float
    miss: int  # in parameters
    d_model: int
    d_ff: int
    shape: Shape


def design_exact(target: int, frame: Shape) -> Design:
    """Return the best shape for a target; `frame` gives vocabulary, context, experts, and whether the head is tied.

    Raises:
        UserError: no shape has so few parameters with that vocabulary or so many experts.
    """
    shape, cost = _best(target, frame)
    return Design(
        rule="exact",
        citation=ROUTED_CITATION if frame.num_experts else CITATION,
        target=target,
        shape=shape,
        params=cost.params,
        active_params=cost.active_params,
        embedding_params=cost.embedding_params,
        notes=tuple(_compromises(shape)),
    )


def kv_heads(num_heads: int) -> int:
    """Return the largest of eight, four, two or one key/value heads that each serve two query heads or more."""
    return next(count for count in (8, 4, 2, 1) if num_heads % count == 0 and num_heads >= 2 * count)


def ideal_aspect(active_params: int) -> float:
    """Return width over depth of published models with so many active parameters."""
    return 120 * min(1.0, active_params / 8e9) ** 0.45


def misfit(shape: Shape, active_params: int) -> float:
    """Return the distance of a shape from the ideal one, by the equation above."""
    aspect = math.log(shape.d_model / shape.num_layers / ideal_aspect(active_params))
    unit = math.log(shape.d_ff * (shape.experts_per_token or 1) / (FF_RATIO * shape.d_model))
    heads = math.log(shape.num_kv_heads / min(KV_HEADS, shape.num_heads / 2))
    return aspect**2 + unit**2 + heads**2


def _best(target: int, frame: Shape) -> tuple[Shape, Cost]:
    found: list[_Found] = []
    for step in FF_STEPS:
        found += _shapes(target, frame, step)
        if any(one.misfit <= FAIR for one in found):
            break
    for one in sorted(found, key=lambda one: one[:4]):
        shape, cost = one.shape, one.shape.price()
        if abs(cost.params - target) <= TOLERANCE * target:
            return shape, cost
    experts = f" and {frame.num_experts:,} experts" if frame.num_experts else ""
    raise UserError(
        f"no shape with a vocabulary of {frame.vocab_size:,}{experts} has {target:,} parameters, "
        f"{TOLERANCE:.0%} more or less"
    )


def _shapes(target: int, frame: Shape, step: int) -> Iterator[_Found]:
    """Yield shapes within the tolerance, if each layer adds as much as the second."""
    for d_model in WIDTHS:
        for d_ff in _unit_widths(d_model, frame, step):
            shape = replace(frame, d_model=d_model, num_kv_heads=kv_heads(d_model // HEAD_DIM), d_ff=d_ff)
            one, two = (replace(shape, num_layers=depth).price() for depth in (1, 2))
            more = round((target - one.params) / (two.params - one.params))
            if more < 0:
                break
            shape = replace(shape, num_layers=1 + more)
            params = one.params + more * (two.params - one.params)
            active_params = one.active_params + more * (two.active_params - one.active_params)
            if abs(math.log(d_model / (1 + more) / ideal_aspect(active_params))) > FARTHEST:
                break
            if (miss := abs(params - target)) <= TOLERANCE * target:
                yield _Found(misfit(shape, active_params), miss, d_model, d_ff, shape)


def _unit_widths(d_model: int, frame: Shape, step: int) -> list[int]:
    """Return multiples of `step` within the bounds, nearest to the ideal first."""
    share = d_model / (frame.experts_per_token or 1)
    least, most = FF_ROUTED if frame.num_experts else FF_DENSE
    widths = range(math.ceil(least * share / step) * step, int(most * share) + 1, step)
    return sorted(widths, key=lambda width: abs(width - FF_RATIO * share))[:FF_TRIED]


def _compromises(shape: Shape) -> Iterator[str]:
    if (step := math.gcd(shape.d_ff, FF_STEPS[0])) < FF_STEPS[0]:
        yield f"d_ff is a multiple of {step} alone, because those of {FF_STEPS[0]} miss the count or the shape"
    if shape.num_kv_heads < KV_HEADS:
        yield f"{shape.num_kv_heads} key/value heads, because there are {shape.num_heads} query heads"
