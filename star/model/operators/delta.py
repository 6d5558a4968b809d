"""Semi-separable token mixing with Householder transitions: the gated delta rule.

    S_i = a_i (I - w_i k_i k_i^T) S_{i-1} + w_i k_i V_i^T,   y_i = norm(q_i S_i / sqrt(K)) swish(Z_i)        per head

    k = B / |B|,  q = C / |C|,  a = exp(-rate softplus(A + bias)),  w = sigmoid(W)

Before a value is written under a key, what the key held is erased. A head of keys and queries may serve several heads
of values, as in Qwen3-Next. The norm is to unit mean square with a gain that all heads share; the gate is there only
where the operator genome names a nonlinearity. Yang et al. 2024, arXiv:2412.06464.
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
from star.model.operators.state_space import RATE_RANGE
from star.model.ops.delta import gated_delta_rule
from star.model.ops.shapes import BTD, BTE, BTH, BTHK

L2_EPS = 1e-6  # added to the squared length of keys and queries


class DeltaRule(Mixer):
    """Gated delta rule over features C, B (B, T, G K), V (B, T, H V), A, W (B, T, H) and optionally Z (B, T, H V)."""

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__()
        self.head_dim = dims.head_dim
        self.width = liv.group("V").width(dims)
        self.num_heads = liv.group("A").width(dims)
        self.value_head_dim = self.width // self.num_heads
        self.served = self.num_heads * self.head_dim // liv.group("B").width(dims)  # by each head of keys
        low, high = (math.log(step) for step in STEP_RANGE)
        steps = torch.linspace(low, high, self.num_heads).exp()
        self.log_rate = nn.Parameter(torch.linspace(*RATE_RANGE, self.num_heads).log())
        self.step_bias = nn.Parameter(steps + torch.log(-torch.expm1(-steps)))  # softplus of it is `steps`
        self.norm = nn.RMSNorm(self.value_head_dim, eps=dims.style.norm_eps)

    def cache_spec(self, context: int) -> dict[str, CacheTensor]:
        return {"state": CacheTensor((self.num_heads, self.head_dim, self.value_head_dim))}

    def forward(
        self, *, c: BTE, b: BTE, v: BTD, a: BTH, w: BTH, z: BTD | None = None, cache: OperatorCache | None = None
    ) -> BTD:
        q, k = (x.unflatten(2, (-1, self.head_dim)) for x in (c, b))
        v = v.unflatten(2, (self.num_heads, -1))
        log_decay = -self.log_rate.exp() * F.softplus(a + self.step_bias)
        start = start_state(cache, v, self.num_heads, self.head_dim, self.value_head_dim)
        q, k = l2_normalise(q) * self.head_dim**-0.5, l2_normalise(k)
        if self.served > 1:
            q, k = (x.repeat_interleave(self.served, dim=2) for x in (q, k))
        y, last = gated_delta_rule(q, k, v, log_decay, torch.sigmoid(w), start)
        if cache is not None:
            cache.keep_state("state", last)
        y = self.norm(y).flatten(2)
        return y if z is None else y * F.silu(z)


def l2_normalise(x: BTHK) -> BTHK:
    """Scale every head to length 1."""
    return x * torch.rsqrt(x.square().sum(3, keepdim=True) + L2_EPS)
