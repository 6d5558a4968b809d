"""Low-rank token mixing with a softmax: causal attention, heads as groups of channels.

    y_i = sum_{j <= i} softmax_j(C_i . B_j / sqrt(K)) V_j        per head, C query, B key, V value

Queries and keys are rotated by position. Fewer key/value heads than query heads serve repeatedly (grouped-query
attention). Vaswani et al. 2017, arXiv:1706.03762; Ainslie et al. 2023, arXiv:2305.13245.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from star.operators.mixer import Mixer
from star.ops.rotary import rotary_table, rotate
from star.ops.shapes import BTD, BTE
from star.spec import Dimensions, LivSpec

FOCUS = 8.0  # the score, before training, of the token that a head looks at


class Attention(Mixer):
    """Softmax attention over features C (B, T, H K), B and V (B, T, G K)."""

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__()
        self.head_dim = dims.head_dim
        self.width = dims.d_model

    def start(self, made: dict[str, nn.Module]) -> None:
        for role, stride in (("C", 1), ("B", 0)):
            if role in made:
                look_back(made[role].channels.weight, self.head_dim, stride)

    def forward(self, c: BTD, b: BTE, v: BTE) -> BTD:
        q, k, v = (x.unflatten(2, (-1, self.head_dim)) for x in (c, b, v))  # (B, T, heads, K)
        y = F.scaled_dot_product_attention(
            rotate(q).transpose(1, 2),
            rotate(k).transpose(1, 2),
            v.transpose(1, 2),
            is_causal=True,
            enable_gqa=q.shape[2] != k.shape[2],
        )
        return y.transpose(1, 2).flatten(2)


def look_back(weight: torch.Tensor, head_dim: int, stride: int) -> None:
    """Add to a query (stride 1) or key (stride 0) map a part with which head h looks h tokens back before training.

    The channels of a token have a mean in common (that of the embedding). Its image is (1, .., 1, 0, .., 0) in every
    key and the same turned by -h positions in the queries of head h, so that rotation makes their product
    FOCUS sum_k cos((i - j - h) rate_k) / (K / 2), largest at distance h. Attention that has to find positions by
    itself learns nothing but unigrams for most of a short proxy (docs/log.md).
    """
    d_out, d_model = weight.shape
    heads = d_out // head_dim
    amplitude = math.sqrt(2 * FOCUS * 2 / math.sqrt(head_dim)) / d_model
    with torch.no_grad():
        cos, sin = rotary_table(stride * heads + 1, head_dim, weight.device)
        for head in range(heads):
            back = stride * head
            image = torch.cat((cos[back, 0], -sin[back, 0]))
            weight[head * head_dim : (head + 1) * head_dim] += amplitude * image[:, None]


def attention_naive(c: BTD, b: BTE, v: BTE, head_dim: int) -> BTD:
    """The same, one query and one head after another."""
    q, k, v = (x.unflatten(2, (-1, head_dim)) for x in (c, b, v))
    q, k = rotate(q), rotate(k)
    repeat = q.shape[2] // k.shape[2]
    y = torch.zeros_like(q)
    for i in range(q.shape[1]):
        for head in range(q.shape[2]):
            keys, values = k[:, : i + 1, head // repeat], v[:, : i + 1, head // repeat]
            scores = torch.einsum("bk,bjk->bj", q[:, i, head], keys) / math.sqrt(head_dim)
            y[:, i, head] = torch.einsum("bj,bjk->bk", scores.softmax(dim=-1), values)
    return y.flatten(2)
