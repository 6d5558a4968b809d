"""Positions that change the scores of attention: linear biases and relative positions.

    alibi:     score_ij - m_h (i - j),   m_h = 2^(-8 h / H),   h = 1..H
    relative:  score_ij + C_i . (W_R s(i - j)),   s(t) = [sin(t theta^(-2k/D)), cos(t theta^(-2k/D))],   k = 0..D/2-1

Where H is no power of two, the heads beyond the largest one P below it take every second slope of 2 P heads. Press et
al. 2021, arXiv:2108.12409; Dai et al. 2019, arXiv:1901.02860, without its two bias vectors.
"""

import torch

from star.model.ops.shapes import BTHK
from star.model.ops.tables import keep_tables, table_length


def alibi_slopes(num_heads: int) -> tuple[float, ...]:
    """Return the slope m of every head."""
    whole = 1 << (num_heads.bit_length() - 1)  # the largest power of two
    slopes = [2 ** (-8 * h / whole) for h in range(1, whole + 1)]
    between = [2 ** (-4 * h / whole) for h in range(1, 2 * whole, 2)]
    return tuple((slopes + between)[:num_heads])


def distances(num_queries: int, num_keys: int, device: torch.device) -> torch.Tensor:
    """Return the distance of each key before each of the last `num_queries` tokens, (T, S); negative for later keys."""
    last = torch.arange(num_keys - num_queries, num_keys, device=device)[:, None]
    return last - torch.arange(num_keys, device=device)


def alibi_scores(q: BTHK, num_keys: int) -> torch.Tensor:
    """Return the linear biases, (H, T, S), for the scores of queries that are the last T of S tokens."""
    precise = torch.promote_types(q.dtype, torch.float32)  # half precision cannot tell positions apart
    slopes = torch.tensor(alibi_slopes(int(q.shape[2])), dtype=precise, device=q.device)
    return (-slopes[:, None, None] * distances(q.shape[1], num_keys, q.device)).to(q.dtype)


@keep_tables(16)
def distance_table(num_distances: int, width: int, device: torch.device, theta: float) -> torch.Tensor:
    """Return s of every distance from 0 on, (S, D), in float32."""
    rates = theta ** -(torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)
    angles = torch.arange(num_distances, device=device, dtype=torch.float32)[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), dim=1)[:, :width]


def relative_scores(q: BTHK, maps: torch.Tensor, num_keys: int, theta: float) -> torch.Tensor:
    """Return the terms, (B, H, T, S), that relative positions add to the scores of queries that are the last T of S
    tokens. `maps` is W_R by heads, (H, K, D).
    """
    num_queries = q.shape[1]
    table = distance_table(table_length(num_keys), maps.shape[2], q.device, theta)[:num_keys].to(q.dtype)
    if num_queries == 1:  # a map of one query is cheaper than a map of every distance
        found = torch.einsum("bthd,sd->bhts", torch.einsum("bthk,hkd->bthd", q, maps), table)
    else:
        found = torch.einsum("bthk,hks->bhts", q, maps @ table.T)
    at = distances(num_queries, num_keys, q.device).clamp(min=0)
    return found.gather(3, at.expand_as(found))
