"""Low-rank token mixing with a softmax: causal attention, heads as groups of channels, perhaps within a window.

    y_i = sum_j softmax_j(C_i . B_j / sqrt(K)) V_j,   i - window < j <= i        per head, C query, B key, V value

Queries and keys are rotated by position. Fewer key/value heads than query heads serve repeatedly (grouped-query
attention). Vaswani et al. 2017, arXiv:1706.03762; Ainslie et al. 2023, arXiv:2305.13245; the window as in Jiang et al.
2023, arXiv:2310.06825.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from star.operators.memory import Kept, Memory
from star.operators.mixer import Mixer
from star.ops.rotary import rotary_table, rotate
from star.ops.shapes import BTD, BTE
from star.spec import Dimensions, FeatureChannelMixing, LivSpec, Sparsity

FOCUS = 8.0  # the score, before training, of the token that a head looks at
LOOKS_BACK = (FeatureChannelMixing.DENSE, FeatureChannelMixing.NORMALISED)  # maps that are one matrix


class Attention(Mixer):
    """Softmax attention over features C (B, T, H K), B and V (B, T, G K)."""

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__()
        self.head_dim = dims.head_dim
        self.width = dims.d_model
        self.window = dims.band if liv.sparsity is Sparsity.BANDED else None
        self.kept_widths = {group.role: group.width(dims) for group in liv.groups if group.role in "BV"}
        self.looks_back = [group.role for group in liv.groups if group.channel_mixing in LOOKS_BACK]

    def start(self, made: dict[str, nn.Module]) -> None:
        for role, stride in (("C", 1), ("B", 0)):
            if role in made and role in self.looks_back:
                look_back(made[role].channels.weight.detach().unflatten(0, (-1, self.head_dim)), stride)

    def prepare(self, role: str, feature: BTE, position: int) -> BTE:
        return rotate(feature.unflatten(2, (-1, self.head_dim)), position).flatten(2) if role == "B" else feature

    def keeps(self, context: int) -> dict[str, Kept]:
        length = min(context, self.window or context)
        return {role: Kept((length, width), role) for role, width in self.kept_widths.items()}

    def forward(self, c: BTD, b: BTE, v: BTE, memory: Memory | None = None) -> BTD:
        if memory is not None:
            b, v = memory.extend("B", b), memory.extend("V", v)
        q, k, v = (x.unflatten(2, (-1, self.head_dim)) for x in (c, b, v))  # (B, T, heads, K)
        y = attend(rotate(q, memory.position if memory else 0), k, v, self.window)
        return y.flatten(2)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int | None) -> torch.Tensor:
    """Causal softmax attention of the queries (B, T, H, K), the last T of the tokens whose keys (B, S, G, K) and values
    (B, S, G, V) there are, to at most `window` tokens each. Returns (B, T, H, V)."""
    num_queries, num_keys = q.shape[1], k.shape[1]
    if window and num_queries == num_keys > 2 * window:
        return attend_in_blocks(q, k, v, window)
    everything = num_keys <= (window or num_keys)
    mask = None
    if (num_queries > 1 and not (everything and num_queries == num_keys)) or not everything:
        mask = band(num_queries, num_keys, window or num_keys, q.device)
    return attend_masked(q, k, v, mask, mask is None and num_queries > 1)


def attend_in_blocks(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int) -> torch.Tensor:
    """The same where every query has its key, in time linear in T: a block of `window` queries looks at the keys of its
    own block and of the one before."""
    batch_size, num_tokens = q.shape[:2]
    q, k, v = (F.pad(x, (0, 0, 0, 0, 0, -num_tokens % window)).unflatten(1, (-1, window)) for x in (q, k, v))
    k, v = (torch.cat((F.pad(x[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0)), x), dim=2) for x in (k, v))
    num_blocks = q.shape[1]
    mask = band(window, 2 * window, window, q.device).repeat(num_blocks, 1, 1)
    mask[0, :, :window] = False  # before the first block there is nothing
    mask = mask.repeat(batch_size, 1, 1)[:, None]
    y = attend_masked(*(x.flatten(0, 1) for x in (q, k, v)), mask, False)
    return y.unflatten(0, (batch_size, num_blocks)).flatten(1, 2)[:, :num_tokens]


def attend_masked(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, is_causal: bool
) -> torch.Tensor:
    """The library's attention, heads before tokens inside."""
    y = F.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=mask,
        is_causal=is_causal,
        enable_gqa=q.shape[2] != k.shape[2],
    )
    return y.transpose(1, 2)


def band(num_queries: int, num_keys: int, window: int, device: torch.device) -> torch.Tensor:
    """Which of the tokens each of the last `num_queries` looks at, (T, S): itself and those before it in the window."""
    last = torch.arange(num_keys - num_queries, num_keys, device=device)[:, None]
    distance = last - torch.arange(num_keys, device=device)
    return (distance >= 0) & (distance < window)


def look_back(maps: torch.Tensor, stride: int, stretch: float = 1.0) -> None:
    """Add to the query (stride 1) or key (stride 0) maps of some heads, (H, K, D), in place, a part with which head h
    looks h tokens back before training. Scores are divided by `stretch` sqrt(K).

    The channels of a token have a mean in common (that of the embedding). Its image is (1, .., 1, 0, .., 0) in every
    key and the same turned by -h positions in the queries of head h, so that rotation makes their product
    FOCUS sum_k cos((i - j - h) rate_k) / (K / 2), largest at distance h. Attention that has to find positions by
    itself learns nothing but unigrams for most of a short proxy (docs/log.md).
    """
    heads, head_dim, d_model = maps.shape
    amplitude = math.sqrt(2 * FOCUS * 2 / math.sqrt(head_dim) * stretch) / d_model
    cos, sin = rotary_table(stride * heads + 1, head_dim, maps.device)
    for head in range(heads):
        back = stride * head
        image = torch.cat((cos[back, 0], -sin[back, 0]))
        maps[head] += amplitude * image[:, None]


def attention_naive(c: BTD, b: BTE, v: BTE, head_dim: int, window: int | None = None) -> BTD:
    """The same from unrotated keys, one query and one head after another."""
    q, k, v = (x.unflatten(2, (-1, head_dim)) for x in (c, b, v))
    q, k = rotate(q), rotate(k)
    repeat = q.shape[2] // k.shape[2]
    y = torch.zeros_like(q)
    for i in range(q.shape[1]):
        first = max(0, i + 1 - (window or i + 1))
        for head in range(q.shape[2]):
            keys, values = k[:, first : i + 1, head // repeat], v[:, first : i + 1, head // repeat]
            scores = torch.einsum("bk,bjk->bj", q[:, i, head], keys) / math.sqrt(head_dim)
            y[:, i, head] = torch.einsum("bj,bjk->bk", scores.softmax(dim=-1), values)
    return y.flatten(2)
