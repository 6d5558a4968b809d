"""Positions in attention: queries and keys are rotated, or scores are added to, or neither.

`learned` positions are added to the embedding; they and `none` leave attention unchanged. The equations of the
others are in `star.model.ops`.
"""

import math

import torch
from torch import nn

from star.architecture.spec import Dimensions, LivSpec
from star.architecture.structures.attention import positions_of, rotated_channels
from star.model.operators.maps import linear
from star.model.ops.positions import alibi_scores, relative_scores
from star.model.ops.rotary import rotate
from star.model.ops.shapes import BTHK


class Positions(nn.Module):
    """Attention without positions; the base class of all kinds.

    Args:
        liv, dims: the operator and its sizes.
        head_dim: channels of a head that may be rotated.
        scale: the factor of the scores.

    Attributes:
        channels: the first of a head that are rotated.
        part: their number, None if it is all of them.
        theta: the base of the rates.
    """

    def __init__(self, liv: LivSpec, dims: Dimensions, head_dim: int, scale: float) -> None:
        super().__init__()
        self.channels = 0
        self.part: int | None = None
        self.theta = float(liv.overrides.rope_theta or dims.style.rope_theta)

    def rotate(self, x: BTHK, position: int) -> BTHK:
        """Return queries or keys with rotated channels; the first token has index `position`."""
        return x

    def scores(self, q: BTHK, num_keys: int) -> torch.Tensor | None:
        """Return the term added to the scaled scores of queries that are the last of `num_keys` tokens, (H, T, S) or
        (B, H, T, S), or None if there is none.
        """
        return None


class Rotary(Positions):
    """Rotary positions: the first channels of every head are rotated."""

    def __init__(self, liv: LivSpec, dims: Dimensions, head_dim: int, scale: float) -> None:
        super().__init__(liv, dims, head_dim, scale)
        self.channels = rotated_channels(liv.overrides, dims, head_dim)
        self.part = None if self.channels == head_dim else self.channels

    def rotate(self, x: BTHK, position: int) -> BTHK:
        return rotate(x, position, self.theta, self.part) if self.channels else x


class Alibi(Positions):
    """Linear biases (ALiBi)."""

    def scores(self, q: BTHK, num_keys: int) -> torch.Tensor | None:
        return alibi_scores(q, num_keys)


class Relative(Positions):
    """Scores of relative positions."""

    def __init__(self, liv: LivSpec, dims: Dimensions, head_dim: int, scale: float) -> None:
        super().__init__(liv, dims, head_dim, scale)
        self.scale = scale
        self.map = linear(dims.d_model, dims.num_heads * head_dim)

    def scores(self, q: BTHK, num_keys: int) -> torch.Tensor | None:
        maps = self.map.weight.unflatten(0, (q.shape[2], -1))
        return relative_scores(self.scale * q, maps, num_keys, self.theta)


POSITION_KINDS = {
    "rotary": Rotary,
    "alibi": Alibi,
    "relative": Relative,
    "learned": Positions,
    "none": Positions,
}


def make_positions(liv: LivSpec, dims: Dimensions, head_dim: int, scale: float) -> Positions:
    """Return the positions of an operator whose heads have `head_dim` channels that may be rotated."""
    return POSITION_KINDS[positions_of(liv, dims)](liv, dims, head_dim, scale)


def score_scale(liv: LivSpec, width: int) -> float:
    """Return the factor of the scores of queries and keys of `width` channels."""
    return liv.overrides.score_scale or 1 / math.sqrt(width)
