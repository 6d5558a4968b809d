"""Low-rank token mixing without a softmax: linear attention, normalised by the sum of the keys.

    y_i = sum_{j <= i} f(C_i) . f(B_j) V_j / sum_{j <= i} f(C_i) . f(B_j),   f = elu + 1        per head

Decoding keeps the two sums, a matrix and a vector for each key/value head. Katharopoulos et al. 2020, arXiv:2006.16236.
C, B and V take the roles of query, key and value in attention.
"""

import torch
import torch.nn.functional as F

from star.architecture.spec import Dimensions, LivSpec
from star.model.operators.cache import CacheTensor, OperatorCache, start_state
from star.model.operators.mixer import Mixer
from star.model.ops.linear_attention import linear_attention
from star.model.ops.shapes import BTD, BTE

WEIGHT_EPS = 1e-6  # added to the sum of weights, which can underflow


class LinearAttention(Mixer):
    """Linear attention over features C (B, T, H K), B and V (B, T, G K)."""

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__()
        self.head_dim = dims.head_dim
        self.width = dims.num_heads * dims.head_dim
        self.num_kept = liv.group("V").width(dims) // dims.head_dim

    def cache_spec(self, context: int) -> dict[str, CacheTensor]:
        return {"state": CacheTensor((self.num_kept, self.head_dim, self.head_dim + 1), "BV")}

    def forward(self, *, c: BTD, b: BTE, v: BTE, cache: OperatorCache | None = None) -> BTD:
        q, k, v = (x.unflatten(2, (-1, self.head_dim)) for x in (c, b, v))
        repeat = q.shape[2] // self.num_kept
        v = F.pad(v, (0, 1), value=1.0)  # the last column sums the weights
        k, v = (x.repeat_interleave(repeat, dim=2) for x in (positive(k), v))
        start = start_state(cache, v, self.num_kept, self.head_dim, self.head_dim + 1)
        start = start.repeat_interleave(repeat, dim=1)
        y, last = linear_attention(positive(q), k, v, v.new_zeros(v.shape[:3]), start, by_key=False)
        if cache is not None:
            cache.keep_state("state", last[:, ::repeat])
        return (y[..., :-1] / (y[..., -1:] + WEIGHT_EPS)).flatten(2)


def positive(x: torch.Tensor) -> torch.Tensor:
    """Return elu(x) + 1, which is positive everywhere."""
    return F.elu(x) + 1
