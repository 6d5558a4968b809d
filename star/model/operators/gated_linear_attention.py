"""Semi-separable token mixing with a decay for each key channel: gated linear attention.

    S_i = diag(a_i) S_{i-1} + B_i V_i^T,   y_i = norm(C_i S_i / sqrt(K)) swish(Z_i),   a = sigmoid(A + bias)^(1/16)

per head, the norm to unit mean square with a gain that all heads share, the gate only where the operator genome names a
nonlinearity. Yang et al. 2023, arXiv:2312.06635.
C, B and V take the roles of query, key and value in attention.
"""

import torch
import torch.nn.functional as F
from torch import nn

from star.architecture.spec import Dimensions, LivSpec
from star.model.operators.cache import CacheTensor, OperatorCache, start_state
from star.model.operators.mixer import Mixer
from star.model.ops.linear_attention import linear_attention
from star.model.ops.shapes import BTD, BTE

TEMPERATURE = 16  # root taken of the forget gates, which keeps them near 1


class GatedLinearAttention(Mixer):
    """Gated linear attention over features C, B, A (B, T, H K), V and optionally Z (B, T, H V)."""

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__()
        self.head_dim = dims.head_dim
        self.num_heads = dims.num_heads
        self.width = liv.group("V").width(dims)
        self.value_head_dim = self.width // self.num_heads
        self.decay_bias = nn.Parameter(torch.zeros(liv.group("A").width(dims)))
        self.norm = nn.RMSNorm(self.value_head_dim, eps=dims.style.norm_eps)

    def cache_spec(self, context: int) -> dict[str, CacheTensor]:
        return {"state": CacheTensor((self.num_heads, self.head_dim, self.value_head_dim))}

    def forward(
        self, *, c: BTE, b: BTE, v: BTD, a: BTE, z: BTD | None = None, cache: OperatorCache | None = None
    ) -> BTD:
        log_decay = F.logsigmoid(a + self.decay_bias) / TEMPERATURE
        q, k, v, log_decay = (x.unflatten(2, (self.num_heads, -1)) for x in (c, b, v, log_decay))
        start = start_state(cache, v, self.num_heads, self.head_dim, self.value_head_dim)
        y, last = linear_attention(q * self.head_dim**-0.5, k, v, log_decay, start, by_key=True)
        if cache is not None:
            cache.keep_state("state", last)
        y = self.norm(y).flatten(2)
        return y if z is None else y * F.silu(z)
