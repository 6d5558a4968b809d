"""Semi-separable token mixing with one decay a head: the state space dual of Mamba-2.

    s_i = softplus(A_i + bias),  S_i = exp(-s_i rate) S_{i-1} + s_i B_i V_i^T,  y_i = C_i S_i + skip V_i

with a rate, a step bias and a skip for each head; B and C, of width N, serve every head. Where the operator genome
names a nonlinearity the output is norm(y_i swish(Z_i)), to unit mean square over all channels, with a gain.
Dao and Gu 2024, arXiv:2405.21060.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from star.operators.featurizer import NORM_EPS
from star.operators.memory import Kept, Memory, start_state
from star.operators.mixer import Mixer
from star.operators.recurrence import STEP_RANGE
from star.ops.linear_attention import linear_attention, linear_attention_naive
from star.ops.shapes import BTD, BTH, BTN, D, H
from star.spec import Dimensions, LivSpec

RATE_RANGE = (1.0, 16.0)  # initial decay rates, spread evenly over heads


class StateSpace(Mixer):
    """The recurrence over features C, B (B, T, N), V (B, T, D), A (B, T, H) and perhaps Z (B, T, D)."""

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__()
        self.width = liv.group("V").width(dims)
        self.num_heads = liv.group("A").width(dims)
        self.num_states = liv.group("B").width(dims)
        low, high = (math.log(step) for step in STEP_RANGE)
        steps = torch.linspace(low, high, self.num_heads).exp()
        self.log_rate = nn.Parameter(torch.linspace(*RATE_RANGE, self.num_heads).log())
        self.step_bias = nn.Parameter(steps + torch.log(-torch.expm1(-steps)))  # softplus of it is `steps`
        self.skip = nn.Parameter(torch.ones(self.num_heads))
        self.norm = nn.RMSNorm(self.width, eps=NORM_EPS) if liv.has("Z") else None

    def keeps(self, context: int) -> dict[str, Kept]:
        return {"state": Kept((self.num_heads, self.num_states, self.width // self.num_heads))}

    def forward(self, c: BTN, b: BTN, v: BTD, a: BTH, z: BTD | None = None, memory: Memory | None = None) -> BTD:
        heads = v.unflatten(2, (self.num_heads, -1))
        step = F.softplus(a + self.step_bias)
        start = start_state(memory, v, self.num_heads, self.num_states, heads.shape[3])
        y, last = linear_attention(
            c[:, :, None], b[:, :, None], heads * step[..., None], -step * self.log_rate.exp(), start
        )
        if memory is not None:
            memory.keep_state("state", last)
        y = (y + self.skip[:, None] * heads).flatten(2)
        return y if z is None or self.norm is None else self.norm(y * F.silu(z))


def state_space_naive(c: BTN, b: BTN, v: BTD, a: BTH, z: BTD, log_rate: H, step_bias: H, skip: H, gain: D) -> BTD:
    """The same, one token after another."""
    heads = v.unflatten(2, (log_rate.shape[0], -1))
    step = torch.log1p(torch.exp(a + step_bias))
    q, k = (x[:, :, None].expand(-1, -1, heads.shape[2], -1) for x in (c, b))
    start = v.new_zeros(v.shape[0], heads.shape[2], c.shape[2], heads.shape[3])
    y, _ = linear_attention_naive(q, k, heads * step[..., None], -step * log_rate.exp(), start)
    y = (y + skip[:, None] * heads).flatten(2) * z / (1 + torch.exp(-z))
    return y / (y.square().mean(2, keepdim=True) + NORM_EPS).sqrt() * gain
