"""Featurizer: computes the feature groups C, B, V, A, ... of an operator from its input.

    feature = norm(mix(map(x)))     map: dense, one block a head, latent; mix: a short kernel; norm: by head or of all
    feature = norm(mix(map(V)))     where a scale chains features: rates and gates from the values, as in Mamba
    kernel  = weight                explicit
    kernel  = f(position)           implicit

(channel mixing before token mixing as in Primer, So et al. 2021, arXiv:2109.08668; four taps and swish as in Mamba,
Gu and Dao 2023, arXiv:2312.00752; a kernel beside the feature itself as in Allen-Zhu 2025, arXiv:2512.17351; normalised
heads as in Qwen3, arXiv:2505.09388).
C, B and V take the roles of query, key and value in attention.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from star.architecture.codes import (
    IMPLICIT_FREQUENCIES,
    IMPLICIT_HIDDEN,
    FeatureChannelMixing,
    FeatureTokenMixing,
    Structure,
)
from star.architecture.spec import Dimensions, FeatureGroup, LivSpec
from star.architecture.structures.feature import map_rank
from star.errors import UserError
from star.model.operators.cache import CacheTensor, OperatorCache, count_columns
from star.model.operators.maps import linear
from star.model.ops.convolution import short_convolution
from star.model.ops.shapes import BTD, BTE, WD

NORM_EPS = 1e-6


class Feature(nn.Module):
    """Feature computed from the input: a map of its channels, optionally followed by a short convolution."""

    def __init__(self, group: FeatureGroup, dims: Dimensions) -> None:
        super().__init__()
        width = group.width(dims)
        self.name = f"{group.role} columns"
        self.source = group.source
        self.channels = CHANNEL_MAPS[group.channel_mixing](group, dims)
        self.norm = None
        self.plain = group.plain
        if group.channel_mixing in NORM_WIDTHS:
            normed = NORM_WIDTHS[group.channel_mixing](dims, width - group.plain)
            self.norm = nn.RMSNorm(normed, eps=dims.style.norm_eps, elementwise_affine=group.gain)
        self.kernel = self.kernel_bias = None
        if group.num_taps:
            self.kernel = short_kernel(group.num_taps, width)
            self.columns = count_columns(group.num_taps, group.kept_taps)
        if group.kernel_bias:
            self.kernel_bias = nn.Parameter(torch.zeros(width))
        self.is_activated = group.token_mixing is FeatureTokenMixing.ACTIVATED_TOEPLITZ
        self.is_residual = group.token_mixing is FeatureTokenMixing.RESIDUAL_TOEPLITZ

    def cache_spec(self) -> dict[str, CacheTensor]:
        """Return the cache tensor for the columns of its short kernel, if there is one."""
        return {} if self.kernel is None else {self.name: CacheTensor((self.columns, self.kernel.shape[1]))}

    def forward(self, x: BTD, cache: OperatorCache | None) -> BTE:
        y = self.channels(x)
        if self.kernel is not None:
            mixed = convolve(self.name, y, self.kernel, cache)
            y = y + mixed if self.is_residual else mixed
        if self.kernel_bias is not None:
            y = y + self.kernel_bias
        if self.is_activated:
            y = F.silu(y)
        return y if self.norm is None else self._normalise(y, self.norm)

    def _normalise(self, y: BTE, norm: nn.RMSNorm) -> BTE:
        """Normalise all channels except the last `plain`, by head or together."""
        part = y[..., : -self.plain] if self.plain else y
        normed = norm(part.unflatten(2, (-1, *norm.normalized_shape))).flatten(2)
        return torch.cat((normed, y[..., -self.plain :]), dim=2) if self.plain else normed


class DeferredFeature(NamedTuple):
    """Inputs of an expert feature: the input (B, T, D), one matrix per expert, (E, W, D), and optionally a bias, (E,
    W). The mixer computes the feature, since it knows the experts that each token is routed to.
    """

    x: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None = None


class ExpertFeature(nn.Module):
    """Feature that every expert computes by a matrix of its own."""

    def __init__(self, group: FeatureGroup, dims: Dimensions, num_experts: int) -> None:
        super().__init__()
        shape = num_experts, group.width(dims), dims.d_model
        self.weight = nn.Parameter(torch.randn(shape) * dims.d_model**-0.5)
        self.bias = nn.Parameter(torch.zeros(shape[:2])) if group.bias else None

    def cache_spec(self) -> dict[str, CacheTensor]:
        """Return an empty dictionary: there is no cache."""
        return {}

    def forward(self, x: BTD, cache: OperatorCache | None) -> DeferredFeature:
        return DeferredFeature(x, self.weight, self.bias)


class ExplicitKernel(nn.Module):
    """Short kernel whose taps are parameters."""

    def __init__(self, group: FeatureGroup, dims: Dimensions) -> None:
        super().__init__()
        self.kernel = short_kernel(group.expansion, group.channels or dims.d_model)

    def cache_spec(self) -> dict[str, CacheTensor]:
        """Return an empty dictionary: there is no cache."""
        return {}

    def forward(self, x: BTD, cache: OperatorCache | None) -> torch.Tensor:
        return self.kernel


class ImplicitKernel(nn.Module):
    """Kernel as long as the sequence, computed by a network from the position.

    k_t = window_t * (W2 sin(W1 [t/S, cos 2 pi f t/S, sin 2 pi f t/S])),  f = 1..F,  S = seq_len of the scale,
    window_t = sqrt(r) exp(-r t), with rates r spaced from 1 to 1/S over the channels: from the shortest memory
    to the whole context. After Hyena (Poli et al. 2023, arXiv:2302.10866); it depends on no token, so it cannot leak.
    """

    def __init__(self, group: FeatureGroup, dims: Dimensions) -> None:
        super().__init__()
        self.seq_len = dims.seq_len
        self.hidden = linear(2 * IMPLICIT_FREQUENCIES + 1, IMPLICIT_HIDDEN, bias=True)
        self.out = linear(IMPLICIT_HIDDEN, group.channels or dims.d_model, bias=True)

    def cache_spec(self) -> dict[str, CacheTensor]:
        """Return an empty dictionary: there is no cache."""
        return {}

    def forward(self, x: BTD, cache: OperatorCache | None) -> torch.Tensor:
        num_tokens = x.shape[1] + (cache.position if cache else 0)
        # Half precision cannot tell positions apart.
        dtype = self.out.weight.dtype
        like = {"device": x.device, "dtype": torch.promote_types(dtype, torch.float32)}
        t = torch.arange(num_tokens, **like)[:, None]
        turns = t * (2 * math.pi / self.seq_len) * torch.arange(1, IMPLICIT_FREQUENCIES + 1, **like)
        inputs = torch.cat((t / self.seq_len, turns.cos(), turns.sin()), dim=1)
        rates = self.seq_len ** -torch.linspace(0, 1, self.out.out_features, **like)
        window = rates.sqrt() * torch.exp(-rates * t)
        return (window * self.out(torch.sin(self.hidden(inputs.to(dtype))))).to(dtype)


class GroupedLinear(nn.Module):
    """Block-diagonal map from each head's channels to an equal share of the outputs."""

    def __init__(self, num_heads: int, head_dim: int, width: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_heads, width // num_heads, head_dim) * head_dim**-0.5)
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x: BTD) -> BTE:
        heads = x.unflatten(2, (self.weight.shape[0], -1))
        y = torch.einsum("bthk,hvk->bthv", heads, self.weight).flatten(2)
        return y if self.bias is None else y + self.bias


def dense(group: FeatureGroup, dims: Dimensions) -> nn.Module:
    """Return a map by one matrix."""
    return linear(group.fan_in or dims.d_model, group.width(dims), group.bias)


def latent(group: FeatureGroup, dims: Dimensions) -> nn.Module:
    """Return a map by the product of two low-rank matrices, optionally with a norm between them."""
    rank = map_rank(group, dims)
    down, up = linear(group.fan_in or dims.d_model, rank), linear(rank, group.width(dims), group.bias)
    between = [nn.RMSNorm(rank, eps=dims.style.norm_eps)] if group.inner_norm else []
    return nn.Sequential(down, *between, up)


def grouped(group: FeatureGroup, dims: Dimensions) -> nn.Module:
    """Return a block-diagonal map with one block per head."""
    fan_in, width = group.fan_in or dims.d_model, group.width(dims)
    if fan_in % dims.num_heads or width % dims.num_heads:
        raise UserError(f"{group.role} maps {fan_in} channels to {width} by head, but there are {dims.num_heads} heads")
    return GroupedLinear(dims.num_heads, fan_in // dims.num_heads, width, group.bias)


def short_kernel(taps: int, width: int) -> nn.Parameter:
    """Return a short kernel with taps from U(-1, 1) / sqrt(taps). Initialising to the identity instead costs a stack of
    gated convolutions half a bit per byte at the nano budget, because the taps on earlier tokens then grow from zero
    only at the pace of the learning rate.
    """
    bound = taps**-0.5
    return nn.Parameter(torch.empty(taps, width).uniform_(-bound, bound))


def convolve(name: str, x: BTD, kernel: WD, cache: OperatorCache | None) -> BTD:
    """Return the convolution with a short kernel at the present tokens; the cache keeps the columns under a name."""
    columns = x if cache is None else cache.slide(name, x, len(kernel))
    return short_convolution(columns, kernel)[:, -x.shape[1] :]


CHANNEL_MAPS = {
    FeatureChannelMixing.DENSE: dense,
    FeatureChannelMixing.GROUPED: grouped,
    FeatureChannelMixing.LATENT: latent,
    FeatureChannelMixing.NORMALISED: dense,
    FeatureChannelMixing.COMPRESSED: dense,
}

NORM_WIDTHS = {
    FeatureChannelMixing.NORMALISED: lambda dims, width: dims.head_dim,
    FeatureChannelMixing.COMPRESSED: lambda dims, width: width,
}

# Features that are no function of the input but kernels, for groups whose channels are not mixed.
KERNELS = {
    FeatureTokenMixing.TOEPLITZ: ExplicitKernel,
    FeatureTokenMixing.IMPLICIT_TOEPLITZ: ImplicitKernel,
}


# Structures of experts, each of which makes C and V by matrices of its own.
EXPERT_FEATURES = {
    Structure.ROUTED: ExpertFeature,
}


def make_feature(group: FeatureGroup, dims: Dimensions, liv: LivSpec) -> nn.Module:
    """Return the module that computes a feature group of an operator."""
    if group.role in "CV" and liv.structure in EXPERT_FEATURES:
        return EXPERT_FEATURES[liv.structure](group, dims, liv.group("R").expansion)
    if group.channel_mixing is FeatureChannelMixing.DIAGONAL:
        return KERNELS[group.token_mixing](group, dims)
    return Feature(group, dims)
