"""Low-rank token mixing with a softmax: attention whose heads read keys and values from one latent vector a token.

    y_i = sum_j softmax_j((Q_i . W_K V_j + C'_i . B_j) / sqrt(2 K)) W_V V_j,   i - window < j <= i        per head

C = [Q, C'] query, V latent of r channels, B one key for all heads; C' and B are rotated by position, Q is not. V and B
are all that decoding keeps. Multi-head latent attention (DeepSeek-AI 2024, arXiv:2405.04434, section 2.1); its two maps
from the latent are parameters here, its normalised latent is the featurizer's.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from star.operators.attention import Attention, attend, look_back
from star.operators.featurizer import linear
from star.operators.memory import Memory
from star.ops.rotary import rotate
from star.ops.shapes import BTD, BTE, BTHK
from star.spec import Dimensions, LivSpec


class LatentAttention(Attention):
    """Latent attention over features C (B, T, 2 H K), B (B, T, K) and V (B, T, r)."""

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__(liv, dims)
        self.up_key = linear(self.kept_widths["V"], self.width)
        self.up_value = linear(self.kept_widths["V"], self.width)

    def start(self, made: dict[str, nn.Module]) -> None:
        """Let the rotary part of each head look back, as ordinary attention does."""
        if "C" in made and "C" in self.looks_back:
            heads = made["C"].channels.weight.detach().unflatten(0, (-1, 2 * self.head_dim))
            look_back(heads[:, self.head_dim :], 1, math.sqrt(2))
        if "B" in made:
            look_back(made["B"].channels.weight.detach()[None], 0, math.sqrt(2))

    def forward(self, c: BTE, b: torch.Tensor, v: torch.Tensor, memory: Memory | None = None) -> BTD:
        plain, turned = c.unflatten(2, (-1, 2 * self.head_dim)).chunk(2, dim=3)  # (B, T, H, K) each
        turned = rotate(turned, memory.position if memory else 0)
        if memory is not None:
            b, v = memory.extend("B", b), memory.extend("V", v)
        attend_latent = self.expanded if memory is None or c.shape[1] > 1 else self.absorbed
        return attend_latent(plain, turned, b, v).flatten(2)

    def expanded(self, plain: BTHK, turned: BTHK, b: torch.Tensor, v: torch.Tensor) -> BTHK:
        """Attention with the keys and values of every head."""
        keys, values = (up(v).unflatten(2, (-1, self.head_dim)) for up in (self.up_key, self.up_value))
        k = torch.cat((keys, b[:, :, None].expand_as(keys)), dim=3)
        # The library's fast kernels want values as wide as keys.
        y = attend(torch.cat((plain, turned), dim=3), k, F.pad(values, (0, self.head_dim)), self.window)
        return y[..., : self.head_dim]

    def absorbed(self, plain: BTHK, turned: BTHK, b: torch.Tensor, v: torch.Tensor) -> BTHK:
        """The same for one query. As Q . W_K V = (W_K^T Q) . V, and W_V may stand before the sum, the latents serve as
        keys and values, and what is remembered need not be expanded anew for every token."""
        if self.window:
            b, v = b[:, -self.window :], v[:, -self.window :]
        w_key, w_value = (up.weight.unflatten(0, (-1, self.head_dim)) for up in (self.up_key, self.up_value))
        q = torch.cat((torch.einsum("bthk,hkr->bthr", plain, w_key), turned), dim=3)
        k = torch.cat((v, b), dim=2)
        # The heads of the one token take the place of the queries of one head, so that no head has keys of its own.
        mixed = F.scaled_dot_product_attention(q, k[:, None], v[:, None], scale=1 / math.sqrt(2 * self.head_dim))
        return torch.einsum("bthr,hkr->bthk", mixed, w_value)


def latent_attention_naive(
    c: BTE,
    b: torch.Tensor,
    v: torch.Tensor,
    up_key: torch.Tensor,
    up_value: torch.Tensor,
    head_dim: int,
    window: int | None = None,
) -> BTD:
    """The same from unrotated B and maps (H K, r), one query after another."""
    plain, turned = c.unflatten(2, (-1, 2 * head_dim)).split(head_dim, dim=3)
    turned, b = rotate(turned), rotate(b[:, :, None])[:, :, 0]
    y = []
    for i in range(c.shape[1]):
        near = slice(max(0, i + 1 - (window or i + 1)), i + 1)
        keys, values = ((v[:, near] @ up.T).unflatten(2, (-1, head_dim)) for up in (up_key, up_value))
        scores = torch.einsum("bhk,bjhk->bhj", plain[:, i], keys)
        scores = scores + torch.einsum("bhk,bjk->bhj", turned[:, i], b[:, near])
        weights = (scores / math.sqrt(2 * head_dim)).softmax(dim=2)
        y.append(torch.einsum("bhj,bjhk->bhk", weights, values).flatten(1))
    return torch.stack(y, dim=1)
