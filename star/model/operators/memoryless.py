"""Diagonal token mixing: the gated memoryless unit.

    y_i = g(C_i) V_i,   T_ii = W diag(g(C_i)) W_V,   T_ij = 0 otherwise

g = swish is SwiGLU, GELU GEGLU, ReLU ReGLU, none the bilinear unit (Shazeer 2020, arXiv:2002.05202). The squared ReLU
stands alone: y_i = relu(C_i)^2, without V (So et al. 2021, arXiv:2109.08668); in BitNet b1.58 2B4T it is a gate (Ma et
al. 2025, arXiv:2504.12285). xIELU stands alone too and learns two numbers, p and n (Huang and Schlag 2024,
arXiv:2411.13010). The clipped swish of gpt-oss (Agarwal et al. 2025, arXiv:2508.10925) has a limit l, a slope a and a
shift s:

    y_i = c sigmoid(a c) (clip(V_i, -l, l) + s),   c = min(C_i, l)
C and V take the roles of query and value in attention.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from star.architecture.codes import Nonlinearity
from star.architecture.spec import Dimensions, LivSpec, OperatorOverrides
from star.model.operators.cache import OperatorCache
from star.model.operators.mixer import Mixer
from star.model.ops.shapes import BTD


def identity(x: torch.Tensor) -> torch.Tensor:
    """Return x."""
    return x


def squared_relu(x: torch.Tensor) -> torch.Tensor:
    """Return max(x, 0)^2."""
    return F.relu(x).square()


class Xielu(nn.Module):
    """Activation xIELU: c / 2 + softplus(p) c^2 above zero, c / 2 + (1/2 + softplus(n)) (exp(c) - 1 - c) below. Both
    factors begin at 0.8.
    """

    def __init__(self, overrides: OperatorOverrides) -> None:
        super().__init__()
        self.positive = nn.Parameter(torch.full((1,), math.log(math.expm1(0.8))))
        self.negative = nn.Parameter(torch.full((1,), math.log(math.expm1(0.3))))

    def forward(self, c: torch.Tensor, v: torch.Tensor | None = None) -> torch.Tensor:
        # Below zero the curvature is taken where c is negative for certain, so that no gradient is that of an overflow.
        low = torch.expm1(c.clamp(max=0.0)) - c.clamp(max=0.0)
        y = F.softplus(self.positive) * F.relu(c).square() + (0.5 + F.softplus(self.negative)) * low + 0.5 * c
        return y if v is None else y * v


class ClippedSwish(nn.Module):
    """Activation c sigmoid(a c) (V + s), with c = C and V clipped."""

    def __init__(self, overrides: OperatorOverrides) -> None:
        super().__init__()
        self.limit = overrides.clip_limit or math.inf
        self.slope, self.shift = overrides.swish_slope, overrides.value_shift

    def forward(self, c: torch.Tensor, v: torch.Tensor | None = None) -> torch.Tensor:
        c = c.clamp(max=self.limit)
        y = c * torch.sigmoid(self.slope * c)
        return y if v is None else y * (v.clamp(-self.limit, self.limit) + self.shift)


ACTIVATIONS = {
    Nonlinearity.NONE: identity,
    Nonlinearity.RELU: F.relu,
    Nonlinearity.SWISH: F.silu,
    Nonlinearity.GELU: F.gelu,
    Nonlinearity.SQUARED_RELU: squared_relu,
    Nonlinearity.GATED_SQUARED_RELU: squared_relu,
    Nonlinearity.XIELU: Xielu,
    Nonlinearity.CLIPPED_SWISH: ClippedSwish,
}


class Memoryless(Mixer):
    """Gated unit that reads one token only."""

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__()
        self.width = liv.group("C").width(dims)
        self.activation = ACTIVATIONS[liv.nonlinearity]
        self.norm = nn.RMSNorm(self.width, eps=dims.style.norm_eps) if liv.overrides.out_norm else None

    def forward(self, *, c: BTD, v: BTD | None = None, cache: OperatorCache | None = None) -> BTD:
        y = self.unit(c, v)
        return y if self.norm is None else self.norm(y)

    def unit(self, c: BTD, v: BTD | None) -> BTD:
        """Return the output before the norm."""
        y = self.activation(c)
        return y if v is None else y * v


class TunedMemoryless(Memoryless):
    """Memoryless unit whose activation has parameters or constants of its own."""

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__(liv, dims)
        self.activation = ACTIVATIONS[liv.nonlinearity](liv.overrides)

    def unit(self, c: BTD, v: BTD | None) -> BTD:
        return self.activation(c, v)
