"""Semi-separable token mixing: an input-varying linear recurrence with N states a channel.

    step_t = softplus(A_t + bias),  h_t = exp(-step_t rate) h_{t-1} + step_t V_t B_t,  y_t = C_t . h_t + skip V_t

rate > 0 is a parameter of shape (D, N); B_t and C_t, of width N, serve every channel. The selective state space
model S6 of Mamba (Gu and Dao 2023, arXiv:2312.00752) with the features made side by side as in Mamba-2. Where the
operator genome names a nonlinearity there is Mamba's output gate, y_t swish(Z_t).
C, B and V take the roles of query, key and value in attention.
"""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from star.architecture.spec import Dimensions, LivSpec
from star.model.operators.cache import CacheTensor, OperatorCache, start_state
from star.model.operators.mixer import Mixer
from star.model.ops.scan import selective_scan
from star.model.ops.shapes import BTD, BTN

STATES_AT_ONCE = 1 << 22  # numbers held for the backward pass; longer sequences recompute them, part by part
STEP_RANGE = (1e-3, 1e-1)  # initial step sizes, spread evenly in the logarithm over channels


class Recurrence(Mixer):
    """Selective scan over features C, B (B, T, N), V, A and optionally Z (B, T, D)."""

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__()
        self.width = liv.group("V").width(dims)
        self.num_states = liv.group("B").width(dims)
        low, high = (math.log(step) for step in STEP_RANGE)
        steps = torch.linspace(low, high, self.width).exp()
        self.log_rate = nn.Parameter(torch.arange(1.0, self.num_states + 1).log().repeat(self.width, 1))
        self.step_bias = nn.Parameter(steps + torch.log(-torch.expm1(-steps)))  # softplus of it is `steps`
        self.skip = nn.Parameter(torch.ones(self.width))

    def cache_spec(self, context: int) -> dict[str, CacheTensor]:
        return {"state": CacheTensor((self.width, self.num_states))}

    def forward(
        self, *, c: BTN, b: BTN, v: BTD, a: BTD, z: BTD | None = None, cache: OperatorCache | None = None
    ) -> BTD:
        step, rate = F.softplus(a + self.step_bias), self.log_rate.exp()
        state = start_state(cache, v, *rate.shape)
        outputs = []
        part_length = max(1, STATES_AT_ONCE // state.numel())
        recomputed = partial(checkpoint, selective_scan, use_reentrant=False)
        scan = recomputed if v.shape[1] > part_length and torch.is_grad_enabled() else selective_scan
        for part in zip(*(x.split(part_length, dim=1) for x in (step, v, b, c)), strict=True):
            y, state = scan(*part, rate, state)
            outputs.append(y)
        if cache is not None:
            cache.keep_state("state", state)
        y = torch.cat(outputs, dim=1) + self.skip * v
        return y if z is None else y * F.silu(z)
