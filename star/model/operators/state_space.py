"""Semi-separable token mixing with one decay a head: the state space dual of Mamba-2.

    s_i = softplus(A_i + bias),  S_i = exp(-s_i rate) S_{i-1} + s_i B_i V_i^T,  y_i = C_i S_i + skip V_i

with a rate, a step bias and a skip for each head; B and C, of width N, serve every head, or those of their group.
Where the operator genome names a nonlinearity the output is norm(y_i swish(Z_i)), to unit mean square over all
channels or over groups of them, with a gain; or y_i swish(Z_i) alone. Dao and Gu 2024, arXiv:2405.21060.
C, B and V take the roles of query, key and value in attention.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from star.architecture.spec import Dimensions, LivSpec
from star.model.operators.cache import CacheTensor, OperatorCache, start_state
from star.model.operators.mixer import Mixer
from star.model.operators.recurrence import STEP_RANGE
from star.model.ops.linear_attention import linear_attention
from star.model.ops.shapes import BTD, BTE, BTH

RATE_RANGE = (1.0, 16.0)  # initial decay rates, spread evenly over heads


class GroupedNorm(nn.Module):
    """RMS norm of each group of neighbouring channels on its own, with a gain per channel."""

    def __init__(self, num_groups: int, width: int, eps: float) -> None:
        super().__init__()
        self.num_groups = num_groups
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: BTD) -> BTD:
        groups = x.unflatten(2, (self.num_groups, -1))
        return F.rms_norm(groups, groups.shape[3:], eps=self.eps).flatten(2) * self.weight


class StateSpace(Mixer):
    """State space dual over features C, B (B, T, G N) of G groups of heads, V (B, T, D), A (B, T, H) and optionally Z
    (B, T, D).
    """

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__()
        self.width = liv.group("V").width(dims)
        self.num_heads = liv.group("A").width(dims)
        self.num_groups = liv.overrides.num_groups or 1
        self.num_states = liv.group("B").width(dims) // self.num_groups
        low, high = (math.log(step) for step in STEP_RANGE)
        steps = torch.linspace(low, high, self.num_heads).exp()
        self.log_rate = nn.Parameter(torch.linspace(*RATE_RANGE, self.num_heads).log())
        self.step_bias = nn.Parameter(steps + torch.log(-torch.expm1(-steps)))  # softplus of it is `steps`
        self.skip = nn.Parameter(torch.ones(self.num_heads))
        self.norm = None
        if liv.has("Z") and liv.overrides.out_norm is not False:
            apart, eps = liv.overrides.norm_groups, dims.style.norm_eps
            self.norm = GroupedNorm(apart, self.width, eps) if apart > 1 else nn.RMSNorm(self.width, eps=eps)

    def cache_spec(self, context: int) -> dict[str, CacheTensor]:
        return {"state": CacheTensor((self.num_heads, self.num_states, self.width // self.num_heads))}

    def forward(
        self, *, c: BTE, b: BTE, v: BTD, a: BTH, z: BTD | None = None, cache: OperatorCache | None = None
    ) -> BTD:
        c, b = (x.unflatten(2, (self.num_groups, -1)) for x in (c, b))
        heads = v.unflatten(2, (self.num_heads, -1))
        step = F.softplus(a + self.step_bias)
        start = start_state(cache, v, self.num_heads, self.num_states, heads.shape[3])
        y, last = linear_attention(c, b, heads * step[..., None], -step * self.log_rate.exp(), start, by_key=False)
        if cache is not None:
            cache.keep_state("state", last)
        y = (y + self.skip[:, None] * heads).flatten(2)
        y = y if z is None else y * F.silu(z)
        return y if self.norm is None else self.norm(y)
