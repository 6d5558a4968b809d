"""Semi-separable token mixing with a decay for each key channel: gated linear attention.

    S_i = diag(a_i) S_{i-1} + B_i V_i^T,   y_i = norm(C_i S_i / sqrt(K)) swish(Z_i),   a = sigmoid(A + bias)^(1/16)

per head, the norm to unit mean square with a gain that all heads share, the gate only where the operator genome names a
nonlinearity. Yang et al. 2023, arXiv:2312.06635.
"""

import torch
import torch.nn.functional as F
from torch import nn

from star.operators.featurizer import NORM_EPS
from star.operators.memory import Kept, Memory, start_state
from star.operators.mixer import Mixer
from star.ops.linear_attention import linear_attention, linear_attention_naive
from star.ops.shapes import BTD, D, K
from star.spec import Dimensions, LivSpec

TEMPERATURE = 16  # root taken of the forget gates, which keeps them near 1


class GatedLinearAttention(Mixer):
    """The recurrence over features C, B, V, A and perhaps Z, all (B, T, D)."""

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__()
        self.head_dim = dims.head_dim
        self.width = dims.d_model
        self.decay_bias = nn.Parameter(torch.zeros(self.width))
        self.norm = nn.RMSNorm(self.head_dim, eps=NORM_EPS)

    def keeps(self, context: int) -> dict[str, Kept]:
        return {"state": Kept((self.width // self.head_dim, self.head_dim, self.head_dim))}

    def forward(self, c: BTD, b: BTD, v: BTD, a: BTD, z: BTD | None = None, memory: Memory | None = None) -> BTD:
        log_decay = F.logsigmoid(a + self.decay_bias) / TEMPERATURE
        q, k, v, log_decay = (x.unflatten(2, (-1, self.head_dim)) for x in (c, b, v, log_decay))
        start = start_state(memory, v, v.shape[2], self.head_dim, self.head_dim)
        y, last = linear_attention(q * self.head_dim**-0.5, k, v, log_decay, start)
        if memory is not None:
            memory.keep_state("state", last)
        y = self.norm(y).flatten(2)
        return y if z is None else y * F.silu(z)


def gated_linear_attention_naive(c: BTD, b: BTD, v: BTD, a: BTD, z: BTD, bias: D, gain: K) -> BTD:
    """The same, one token after another."""
    head_dim = gain.shape[0]
    log_decay = torch.log(1 / (1 + torch.exp(-a - bias))) / TEMPERATURE
    q, k, v, log_decay = (x.unflatten(2, (-1, head_dim)) for x in (c, b, v, log_decay))
    start = v.new_zeros(v.shape[0], v.shape[2], head_dim, head_dim)
    y, _ = linear_attention_naive(q / head_dim**0.5, k, v, log_decay, start)
    y = y / (y.square().mean(3, keepdim=True) + NORM_EPS).sqrt() * gain
    return y.flatten(2) * z / (1 + torch.exp(-z))
