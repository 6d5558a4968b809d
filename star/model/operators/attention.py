"""Low-rank token mixing with a softmax: causal attention, heads as groups of channels, perhaps within a window.

    y_i = sum_j softmax_j(scale C_i . B_j) V_j,   i - window < j <= i        per head, C query, B key, V value

Queries and keys are rotated by position, or told it in another way; the scale is 1 / sqrt(K). Fewer key/value heads
than query heads serve repeatedly (grouped-query attention). A scale may add a gate: the last channels of C are Z, and y
sigmoid(Z) goes on, where one number of Z may serve several channels of a head; a cap, with which cap tanh(scale C_i .
B_j / cap) is scored; sinks, one logit s of each head: exp(s) joins the sum that the softmax divides by. Vaswani et al.
2017, arXiv:1706.03762; Ainslie et al. 2023, arXiv:2305.13245; the window as in Jiang et al. 2023, arXiv:2310.06825, the
gate as in Qiu et al. 2025, arXiv:2505.06708, the cap as in Gemma 2 (arXiv:2408.00118), sinks as in Agarwal et al. 2025,
arXiv:2508.10925.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from star.architecture.codes import FeatureChannelMixing, Sparsity
from star.architecture.spec import BackboneConfig, Dimensions, LivSpec
from star.architecture.structures.attention import gate_width, value_head_dim
from star.model.operators.cache import CacheTensor, OperatorCache
from star.model.operators.mixer import Mixer
from star.model.operators.positions import make_positions, score_scale
from star.model.ops.rotary import ROTARY_THETA, rotary_table
from star.model.ops.shapes import BTD, BTE

FOCUS = 8.0  # the score, before training, of the token that a head looks at
LOOKS_BACK = (FeatureChannelMixing.DENSE, FeatureChannelMixing.NORMALISED)  # maps that are one matrix


@dataclass(frozen=True, slots=True)
class Scoring:
    """Parameters of attention scores: cap tanh(scale C . B / cap) + added for keys in the window, and the logits of the
    sinks, (H,).
    """

    window: int | None  # None: all of the context
    scale: float
    added: Callable[[torch.Tensor, int], torch.Tensor | None]  # from the queries and the number of keys
    padding: int = 0  # channels that values lack of the width of keys
    cap: float = 0.0  # 0: none
    sinks: torch.Tensor | None = None


class Attention(Mixer):
    """Softmax attention over features C (B, T, H K), B (B, T, G K) and V (B, T, G V).

    Attributes:
        rope_dim: channels of a head that tell positions.
        total: channels of a head that are scored.
    """

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__()
        self.head_dim = dims.head_dim
        self.value_head_dim = value_head_dim(liv, dims)
        self.queries = dims.num_heads * dims.head_dim
        self.width = dims.num_heads * self.value_head_dim
        self.rope_dim, self.total = self.count_channels(liv, dims)
        self.padding = max(0, self.total - self.value_head_dim)
        self.scale = score_scale(liv, self.total)
        self.positions = make_positions(liv, dims, self.rope_dim, self.scale)
        gate = gate_width(liv, dims)
        self.gate_repeat = self.width // gate if gate else 0  # channels that each number of the gate serves
        self.norm = nn.RMSNorm(self.width, eps=dims.style.norm_eps) if liv.overrides.out_norm else None
        self.score_cap = liv.overrides.score_cap
        self.sinks = nn.Parameter(torch.zeros(dims.num_heads)) if liv.overrides.sinks else None
        self.window = dims.band if liv.sparsity is Sparsity.BANDED else None
        self.kept_widths = {group.role: group.width(dims) for group in liv.groups if group.role in "BV"}
        self.looks_back = [group.role for group in liv.groups if group.channel_mixing in LOOKS_BACK]
        if not (self.positions.channels and has_mean(liv, dims.style)):
            self.looks_back = []

    def count_channels(self, liv: LivSpec, dims: Dimensions) -> tuple[int, int]:
        """Return the channels of a head that carry positions and the channels that are scored."""
        return dims.head_dim, dims.head_dim

    def start(self, features: dict[str, nn.Module]) -> None:
        for role, stride in (("C", 1), ("B", 0)):
            if role in features and role in self.looks_back:
                maps = features[role].channels.weight.detach()
                if role == "C" and self.gate_repeat:
                    maps = maps[: self.queries]
                self.look_back(maps.unflatten(0, (-1, self.head_dim)), stride)

    def look_back(self, maps: torch.Tensor, stride: int) -> None:
        """Initialise the rotated channels of some heads to attend to earlier tokens."""
        channels = self.positions.channels
        # Written as a ratio, which is 1 where all is rotated and the scale is the usual one.
        is_usual = self.scale == 1 / math.sqrt(self.total)
        stretch = math.sqrt(self.total / channels) if is_usual else 1 / (self.scale * math.sqrt(channels))
        part = maps if self.positions.part is None else maps[:, :channels]
        look_back(part, stride, stretch, self.positions.theta)

    def prepare(self, role: str, feature: BTE, position: int) -> BTE:
        if role != "B":
            return feature
        return self.positions.rotate(feature.unflatten(2, (-1, self.rope_dim)), position).flatten(2)

    def cache_spec(self, context: int) -> dict[str, CacheTensor]:
        length = min(context, self.window or context)
        return {role: CacheTensor((length, width), role) for role, width in self.kept_widths.items()}

    def forward(self, *, c: BTD, b: torch.Tensor, v: torch.Tensor, cache: OperatorCache | None = None) -> BTE:
        if cache is not None:
            keep = cache.roll if self.window else cache.extend
            b, v = keep("B", b), keep("V", v)
        q = c[:, :, : self.queries] if self.gate_repeat else c
        q = q.unflatten(2, (-1, self.head_dim))  # (B, T, heads, K)
        k, v = b.unflatten(2, (-1, self.head_dim)), v.unflatten(2, (-1, self.value_head_dim))
        q = self.rotate_queries(q, cache.position if cache else 0)
        y = attend(q, k, v, self.scoring()).flatten(2)
        if self.gate_repeat:
            y = y * torch.sigmoid(c[:, :, self.queries :]).repeat_interleave(self.gate_repeat, dim=2)
        return y if self.norm is None else self.norm(y)

    def rotate_queries(self, q: torch.Tensor, position: int) -> torch.Tensor:
        """Return queries with rotated channels; the first token has index `position`."""
        return self.positions.rotate(q, position)

    def scoring(self) -> Scoring:
        """Return the parameters of the scores at the present weights."""
        return Scoring(self.window, self.scale, self.positions.scores, self.padding, self.score_cap, self.sinks)


def has_mean(liv: LivSpec, style: BackboneConfig) -> bool:
    """Return whether the channels of the operator's input have a mean that all tokens share."""
    return style.norm == "rms" and liv.norm_place(style) != "after"


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scoring: Scoring) -> torch.Tensor:
    """Return causal softmax attention, (B, T, H, V), of the queries (B, T, H, K) of the last T of S tokens to the keys
    (B, S, G, K) and values (B, S, G, V) of all."""
    if scoring.padding:  # the library's fast kernels want values as wide as keys
        return attend(q, k, F.pad(v, (0, scoring.padding)), replace(scoring, padding=0))[..., : -scoring.padding]
    num_queries, num_keys, window = q.shape[1], k.shape[1], scoring.window
    if window and num_queries == num_keys > 2 * window:
        return attend_in_blocks(q, k, v, window, scoring)
    mask = None
    if num_queries not in (1, num_keys) or (window and num_keys > window):
        mask = band(num_queries, num_keys, window or num_keys, q.device)
    return attend_masked(q, k, v, mask, scoring)


def attend_in_blocks(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int, scoring: Scoring) -> torch.Tensor:
    """Compute windowed attention over equally many queries and keys in time linear in T: each block of `window` queries
    attends to the keys of its own block and of the preceding one.
    """
    batch_size, num_tokens = q.shape[:2]
    q, k, v = (F.pad(x, (0, 0, 0, 0, 0, -num_tokens % window)).unflatten(1, (-1, window)) for x in (q, k, v))
    k, v = (torch.cat((F.pad(x[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0)), x), dim=2) for x in (k, v))
    num_blocks = q.shape[1]
    mask = band(window, 2 * window, window, q.device).repeat(num_blocks, 1, 1)
    mask[0, :, :window] = False  # before the first block there is nothing
    mask = mask.repeat(batch_size, 1, 1)[:, None]
    y = attend_masked(*(x.flatten(0, 1) for x in (q, k, v)), mask, scoring)
    return y.unflatten(0, (batch_size, num_blocks)).flatten(1, 2)[:, :num_tokens]


def attend_masked(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, scoring: Scoring
) -> torch.Tensor:
    """Compute attention to the keys selected by the mask, or causal attention without one."""
    if scoring.cap or scoring.sinks is not None:
        return attend_written_out(q, k, v, mask, scoring)
    is_causal = mask is None and bool(q.shape[1] > 1)  # a trace by torch.jit makes tensors of sizes
    added = scoring.added(q, k.shape[1])
    if added is not None:
        if is_causal:
            mask = band(q.shape[1], k.shape[1], k.shape[1], q.device)
        mask, is_causal = added if mask is None else torch.where(mask, added, -math.inf), False
    y = F.scaled_dot_product_attention(
        q.transpose(1, 2),
        k.transpose(1, 2),
        v.transpose(1, 2),
        attn_mask=mask,
        is_causal=is_causal,
        scale=scoring.scale,
        enable_gqa=bool(q.shape[2] != k.shape[2]),
    )
    return y.transpose(1, 2)


def attend_written_out(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, scoring: Scoring
) -> torch.Tensor:
    """Compute attention with a cap and sinks, which PyTorch's function lacks."""
    num_queries, num_keys = q.shape[1], k.shape[1]
    k, v = (x.repeat_interleave(q.shape[2] // k.shape[2], dim=2) for x in (k, v))
    logits = scoring.scale * torch.einsum("bthk,bshk->bhts", q, k)
    if cap := scoring.cap:
        logits = cap * torch.tanh(logits / cap)
    if (added := scoring.added(q, num_keys)) is not None:
        logits = logits + added
    if mask is None and num_queries > 1:
        mask = band(num_queries, num_keys, num_keys, q.device)
    if mask is not None:
        logits = logits.masked_fill(~mask, -math.inf)
    if (sinks := scoring.sinks) is not None:
        logits = torch.cat((logits, sinks[:, None, None].expand(*logits.shape[:3], 1)), dim=3)
    return torch.einsum("bhts,bshv->bthv", logits.softmax(dim=3)[..., :num_keys], v)


def band(num_queries: int, num_keys: int, window: int, device: torch.device) -> torch.Tensor:
    """Return the mask, (T, S), of the tokens that each of the last `num_queries` attends to: itself and the earlier
    ones in the window.
    """
    offset = num_keys - num_queries
    every = torch.ones(num_queries, num_keys, dtype=torch.bool, device=device)
    return every.tril(offset).triu(offset - window + 1)


def look_back(maps: torch.Tensor, stride: int, stretch: float = 1.0, theta: float = ROTARY_THETA) -> None:
    """Add to the query (stride 1) or key (stride 0) maps of some heads, (H, K, D), in place, a part with which head h
    looks h tokens back before training. Scores are divided by `stretch` sqrt(K).

    The channels of a token have a mean in common (that of the embedding). Its image is (1, .., 1, 0, .., 0) in every
    key and the same rotated by -h positions in the queries of head h, so that rotation makes their product
    FOCUS sum_k cos((i - j - h) rate_k) / (K / 2), largest at distance h. Attention that has to find positions by
    itself learns nothing but unigrams for most of a short proxy.
    """
    heads, head_dim, d_model = maps.shape
    amplitude = math.sqrt(2 * FOCUS * 2 / math.sqrt(head_dim) * stretch) / d_model
    cos, sin = rotary_table(stride * heads + 1, head_dim, maps.device, theta)
    backs = stride * torch.arange(heads, device=maps.device)
    images = torch.cat((cos[backs, 0], -sin[backs, 0]), dim=1)
    maps += amplitude * images[:, :, None]
