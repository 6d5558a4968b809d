"""Softmax attention whose queries and keys are normalised after the rotation, as in Hunyuan (Tencent 2025).

    score_ij = scale (g_C * norm(rotate(C_i))) . (g_B * norm(rotate(B_j)))        per head

The rotation preserves mean squares, so the featurizer normalises before it, and only the gains are applied after it.
A score contains the product of both gains, so both multiply the query, and keys are cached without them.
"""

import torch
from torch import nn

from star.architecture.spec import Dimensions, LivSpec
from star.architecture.structures.attention import late_gains
from star.architecture.structures.feature import norm_width
from star.model.operators.attention import Attention


class LateNormAttention(Attention):
    """Attention with gains after the rotation, by role: one per channel of a head, or one per channel of all heads."""

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__(liv, dims)
        widths = {role: norm_width(liv.group(role), dims) for role in late_gains(liv)}
        self.gains = nn.ParameterDict({role: nn.Parameter(torch.ones(width)) for role, width in widths.items()})

    def rotate_queries(self, q: torch.Tensor, position: int) -> torch.Tensor:
        q = super().rotate_queries(q, position)
        for gain in self.gains.values():
            by_head = gain.unflatten(0, (-1, self.head_dim))
            q = q * by_head.repeat_interleave(q.shape[2] // len(by_head), dim=0)
        return q
