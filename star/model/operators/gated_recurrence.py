"""Semi-separable token mixing that preserves the norm: the real-gated linear recurrent unit RG-LRU.

    a_i = exp(-8 softplus(rate) sigmoid(A_i + bias)),  h_i = a_i h_{i-1} + sqrt(1 - a_i^2) sigmoid(B_i + bias') V_i

    y_i = g(C_i) h_i        elementwise in the channels; g is GELU as published, swish or linear

De et al. 2024, arXiv:2402.19427. The gates A and B come from the operator's input, side by side with V; from V, as
published, where a scale chains them.
C, B and V take the roles of query, key and value in attention.
"""

import torch
from torch import nn

from star.architecture.spec import Dimensions, LivSpec
from star.model.operators.cache import CacheTensor, OperatorCache
from star.model.operators.convolution import GATES
from star.model.operators.mixer import Mixer
from star.model.ops.gated_recurrence import RATE_SCALE, gated_recurrence
from star.model.ops.shapes import BTD

DECAY_RANGE = (0.9, 0.999)  # initial decays where the gate is open, spread evenly over channels


class GatedRecurrence(Mixer):
    """Gated recurrence over features C, B, V, A, all (B, T, D)."""

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__()
        self.width = liv.group("V").width(dims)
        self.gate = GATES.get(liv.nonlinearity)
        softened = -torch.linspace(*DECAY_RANGE, self.width).log() / RATE_SCALE
        self.rate = nn.Parameter(torch.log(torch.expm1(softened)))  # softplus of it is `softened`
        self.input_bias = nn.Parameter(torch.zeros(self.width))
        self.decay_bias = nn.Parameter(torch.zeros(self.width))

    def cache_spec(self, context: int) -> dict[str, CacheTensor]:
        return {"state": CacheTensor((self.width,))}

    def forward(self, *, c: BTD, b: BTD, v: BTD, a: BTD, cache: OperatorCache | None = None) -> BTD:
        start = cache.state("state") if cache is not None and cache.position else None
        h, last = gated_recurrence(v, b + self.input_bias, a + self.decay_bias, self.rate, start)
        if cache is not None:
            cache.keep_state("state", last)
        return (c if self.gate is None else self.gate(c)) * h
