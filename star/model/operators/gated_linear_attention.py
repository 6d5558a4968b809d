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
from star.model.operators.featurizer import NORM_EPS
from star.model.operators.mixer import Mixer
from star.model.ops.linear_attention import linear_attention, linear_attention_naive
from star.model.ops.shapes import BTD, BTE, E, V

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
        y, last = linear_attention(q * self.head_dim**-0.5, k, v, log_decay, start)
        if cache is not None:
            cache.keep_state("state", last)
        y = self.norm(y).flatten(2)
        return y if z is None else y * F.silu(z)


def gated_linear_attention_naive(c: BTE, b: BTE, v: BTD, a: BTE, z: BTD | None, bias: E, gain: V, head_dim: int) -> BTD:
    """Compute gated linear attention one token at a time."""
    num_heads = c.shape[2] // head_dim
    log_decay = torch.log(1 / (1 + torch.exp(-a - bias))) / TEMPERATURE
    q, k, v, log_decay = (x.unflatten(2, (num_heads, -1)) for x in (c, b, v, log_decay))
    start = v.new_zeros(v.shape[0], num_heads, head_dim, v.shape[3])
    y, _ = linear_attention_naive(q / head_dim**0.5, k, v, log_decay, start)
    y = (y / (y.square().mean(3, keepdim=True) + NORM_EPS).sqrt() * gain).flatten(2)
    return y if z is None else y * z / (1 + torch.exp(-z))
