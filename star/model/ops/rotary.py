"""Rotary position embedding.

For each pair (u, v) = (x[k], x[k + K/2]) of a head and position t:  (u, v) -> (u cos - v sin, v cos + u sin)
with angle t theta^(-2k/K), so that the inner product of two rotated heads depends on their distance alone.
Su et al. 2021, arXiv:2104.09864; halves paired as in Llama. Where only the first channels of a head are rotated, K is
their number (Black et al. 2022, arXiv:2204.06745).
"""

import torch

from star.model.ops.shapes import BTHK
from star.model.ops.tables import keep_tables, table_length

ROTARY_THETA = 10_000.0


@keep_tables(64)
def rotary_table(
    num_tokens: int, head_dim: int, device: torch.device, theta: float = ROTARY_THETA
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cos and sin of every angle, each of shape (T, 1, K/2), in float32."""
    rates = theta ** -(torch.arange(0, head_dim, 2, device=device, dtype=torch.float32) / head_dim)
    angles = torch.arange(num_tokens, device=device, dtype=torch.float32)[:, None, None] * rates
    return angles.cos(), angles.sin()


def rotate(x: BTHK, position: int = 0, theta: float = ROTARY_THETA, channels: int | None = None) -> BTHK:
    """Rotate the first `channels` of every head of `x`, all if None, by its position; the first token has index
    `position`.
    """
    if channels is not None:
        return torch.cat((rotate(x[..., :channels], position, theta), x[..., channels:]), dim=-1)
    stop = position + x.shape[1]
    length = table_length(stop) if position else stop
    cos, sin = (table[position:stop].to(x.dtype) for table in rotary_table(length, x.shape[3], x.device, theta))
    u, v = x.chunk(2, dim=-1)
    return torch.cat((u * cos - v * sin, v * cos + u * sin), dim=-1)
