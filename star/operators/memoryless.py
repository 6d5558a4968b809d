"""Diagonal token mixing: the gated memoryless unit.

    y_i = swish(C_i) V_i,   T_ii = W diag(swish(C_i)) W_V,   T_ij = 0 otherwise

SwiGLU: Shazeer 2020, arXiv:2002.05202.
"""

import torch.nn.functional as F

from star.operators.mixer import Mixer
from star.ops.shapes import BTD
from star.spec import Dimensions, LivSpec


class Memoryless(Mixer):
    """A gated unit that looks at one token only."""

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__()
        self.width = liv.groups[1].width(dims)

    def forward(self, c: BTD, v: BTD) -> BTD:
        return F.silu(c) * v


def memoryless_naive(c: BTD, v: BTD) -> BTD:
    """The same from the definition of swish."""
    return c / (1 + (-c).exp()) * v
