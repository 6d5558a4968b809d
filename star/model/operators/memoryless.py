"""Diagonal token mixing: the gated memoryless unit.

    y_i = g(C_i) V_i,   T_ii = W diag(g(C_i)) W_V,   T_ij = 0 otherwise

g = swish is SwiGLU, GELU GEGLU, ReLU ReGLU, none the bilinear unit (Shazeer 2020, arXiv:2002.05202). The squared ReLU
stands alone: y_i = relu(C_i)^2, without V (So et al. 2021, arXiv:2109.08668).
"""

import torch
import torch.nn.functional as F

from star.architecture.codes import Nonlinearity
from star.architecture.spec import Dimensions, LivSpec
from star.model.operators.memory import Memory
from star.model.operators.mixer import Mixer
from star.model.ops.shapes import BTD


def identity(x: torch.Tensor) -> torch.Tensor:
    """x."""
    return x


def squared_relu(x: torch.Tensor) -> torch.Tensor:
    """max(x, 0)^2."""
    return F.relu(x).square()


ACTIVATIONS = {
    Nonlinearity.NONE: identity,
    Nonlinearity.RELU: F.relu,
    Nonlinearity.SWISH: F.silu,
    Nonlinearity.GELU: F.gelu,
    Nonlinearity.SQUARED_RELU: squared_relu,
}


class Memoryless(Mixer):
    """A gated unit that looks at one token only."""

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__()
        self.width = liv.group("C").width(dims)
        self.activation = ACTIVATIONS[liv.nonlinearity]

    def forward(self, *, c: BTD, v: BTD | None = None, memory: Memory | None = None) -> BTD:
        y = self.activation(c)
        return y if v is None else y * v


def memoryless_naive(c: BTD, v: BTD) -> BTD:
    """The same from the definition of swish."""
    return c / (1 + (-c).exp()) * v
