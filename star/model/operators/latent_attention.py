"""Low-rank token mixing with a softmax: attention whose heads read keys and values from one latent vector a token.

    y_i = sum_j softmax_j(scale (Q_i . W_K V_j + C'_i . B_j)) W_V V_j,   i - window < j <= i        per head

C = [Q, C'] query, V latent of r channels, B one key for all heads; C' and B, of P channels, are rotated by position, Q,
of K channels, is not; the scale is 1 / sqrt(K + P). V and B are all that decoding keeps. Multi-head latent attention
(DeepSeek-AI 2024, arXiv:2405.04434, section 2.1); its two maps from the latent are parameters here, its normalised
latent is the featurizer's, and so is the latent that queries may come from.
"""

import torch
import torch.nn.functional as F
from torch import nn

from star.architecture.spec import Dimensions, LivSpec
from star.architecture.structures.attention import rope_head_dim
from star.model.operators.attention import Attention, attend
from star.model.operators.cache import OperatorCache
from star.model.operators.maps import linear
from star.model.ops.shapes import BTE, BTHK


class LatentAttention(Attention):
    """Latent attention over features C (B, T, H (K + P)), B (B, T, P) and V (B, T, r)."""

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__(liv, dims)
        self.up_key = linear(self.kept_widths["V"], self.queries)
        self.up_value = linear(self.kept_widths["V"], self.width)

    def count_channels(self, liv: LivSpec, dims: Dimensions) -> tuple[int, int]:
        rope_dim = rope_head_dim(liv, dims)
        return rope_dim, dims.head_dim + rope_dim

    def start(self, features: dict[str, nn.Module]) -> None:
        """Initialise the rotary channels of each head to attend to earlier tokens, as in ordinary attention."""
        if "C" in features and "C" in self.looks_back:
            maps = features["C"].channels.weight.detach().unflatten(0, (-1, self.total))
            self.look_back(maps[:, self.head_dim :], 1)
        if "B" in features and "B" in self.looks_back:
            self.look_back(features["B"].channels.weight.detach()[None], 0)

    def forward(self, *, c: BTE, b: torch.Tensor, v: torch.Tensor, cache: OperatorCache | None = None) -> torch.Tensor:
        plain, q_rope = c.unflatten(2, (-1, self.total)).split((self.head_dim, self.rope_dim), dim=3)
        q_rope = self.positions.rotate(q_rope, cache.position if cache else 0)  # (B, T, H, P)
        if cache is not None:
            keep = cache.roll if self.window else cache.extend
            b, v = keep("B", b), keep("V", v)
        attend_latent = self.expanded if cache is None or c.shape[1] > 1 else self.absorbed
        return attend_latent(plain, q_rope, b, v).flatten(2)

    def expanded(self, plain: BTHK, q_rope: torch.Tensor, b: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Compute attention with the keys and values of every head written out."""
        keys = self.up_key(v).unflatten(2, (-1, self.head_dim))
        values = self.up_value(v).unflatten(2, (-1, self.value_head_dim))
        k = torch.cat((keys, b[:, :, None].expand(-1, -1, keys.shape[2], -1)), dim=3)
        q = torch.cat((plain, q_rope), dim=3)
        return attend(q, k, values, self.scoring())

    def absorbed(self, plain: BTHK, q_rope: torch.Tensor, b: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Compute attention of one query with the latents as keys and values, so that cached latents need not be
        expanded again for every token: Q . W_K V = (W_K^T Q) . V, and W_V is applied after the sum.
        """
        if self.window:
            b, v = b[:, -self.window :], v[:, -self.window :]
        w_key = self.up_key.weight.unflatten(0, (-1, self.head_dim))
        w_value = self.up_value.weight.unflatten(0, (-1, self.value_head_dim))
        q = torch.cat((torch.einsum("bthk,hkr->bthr", plain, w_key), q_rope), dim=3)
        k = torch.cat((v, b), dim=2)
        added = self.positions.scores(q_rope, k.shape[1])
        # The heads of the one token take the place of the queries of one head, so that no head has keys of its own.
        mask = None if added is None else added.transpose(-3, -2)
        mixed = F.scaled_dot_product_attention(q, k[:, None], v[:, None], attn_mask=mask, scale=self.scale)
        return torch.einsum("bthr,hkr->bthk", mixed, w_value)
