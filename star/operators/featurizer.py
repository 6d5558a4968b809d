"""The featurizer: what makes the feature groups C, B, V, A, K of an operator from its input.

    feature = short_convolution(x W)        with the convolution only where the group's token mixing is Toeplitz
    kernel  = weight                        explicit
    kernel  = f(position)                   implicit

(channel mixing before token mixing as in Primer, So et al. 2021, arXiv:2109.08668).
"""

import math

import torch
from torch import nn

from star.ops.convolution import short_convolution
from star.ops.shapes import BTD, BTE, TD, WD
from star.spec import (
    IMPLICIT_FREQUENCIES,
    IMPLICIT_HIDDEN,
    SHORT_TAPS,
    Dimensions,
    FeatureChannelMixing,
    FeatureGroup,
    FeatureTokenMixing,
)


class Feature(nn.Module):
    """A feature computed from the input: a linear map, dense or latent, then perhaps a short convolution."""

    def __init__(self, group: FeatureGroup, dims: Dimensions) -> None:
        super().__init__()
        width = group.width(dims)
        if group.channel_mixing is FeatureChannelMixing.LATENT:
            rank = dims.latent_rank
            self.channels = nn.Sequential(linear(dims.d_model, rank), linear(rank, width))
        else:
            self.channels = linear(dims.d_model, width)
        self.kernel = None
        if group.token_mixing is FeatureTokenMixing.TOEPLITZ:
            self.kernel = short_kernel(width)

    def forward(self, x: BTD) -> BTE:
        y = self.channels(x)
        return y if self.kernel is None else short_convolution(y, self.kernel)


class ExplicitKernel(nn.Module):
    """A short kernel that is a parameter."""

    def __init__(self, group: FeatureGroup, dims: Dimensions) -> None:
        super().__init__()
        self.kernel = short_kernel(dims.d_model)

    def forward(self, x: BTD) -> WD:
        return self.kernel


class ImplicitKernel(nn.Module):
    """A kernel as long as the sequence, from a network of the position.

    k_t = window_t * (W2 sin(W1 [t/S, cos 2 pi f t/S, sin 2 pi f t/S])),  f = 1..F,  S = seq_len of the scale,
    window_t = sqrt(r) exp(-r t), with rates r spaced from 1 to 1/S over the channels: from the shortest memory
    to the whole context. After Hyena (Poli et al. 2023, arXiv:2302.10866); it depends on no token, so it cannot leak.
    """

    def __init__(self, group: FeatureGroup, dims: Dimensions) -> None:
        super().__init__()
        self.seq_len = dims.seq_len
        self.hidden = linear(2 * IMPLICIT_FREQUENCIES + 1, IMPLICIT_HIDDEN, bias=True)
        self.out = linear(IMPLICIT_HIDDEN, dims.d_model, bias=True)

    def forward(self, x: BTD) -> TD:
        like = {"device": x.device, "dtype": self.out.weight.dtype}
        t = torch.arange(x.shape[1], **like)[:, None]
        turns = t * (2 * math.pi / self.seq_len) * torch.arange(1, IMPLICIT_FREQUENCIES + 1, **like)
        inputs = torch.cat((t / self.seq_len, turns.cos(), turns.sin()), dim=1)
        rates = self.seq_len ** -torch.linspace(0, 1, self.out.out_features, **like)
        window = rates.sqrt() * torch.exp(-rates * t)
        return window * self.out(torch.sin(self.hidden(inputs)))


def linear(fan_in: int, fan_out: int, bias: bool = False) -> nn.Linear:
    """A linear map with weights from N(0, 1 / fan_in)."""
    layer = nn.Linear(fan_in, fan_out, bias=bias)
    nn.init.normal_(layer.weight, std=fan_in**-0.5)
    return layer


def short_kernel(width: int) -> nn.Parameter:
    """A short kernel with taps from U(-1, 1) / sqrt(taps). Starting from the identity instead costs a stack of
    gated convolutions half a bit per byte at the nano budget: the past then enters at the learning rate's pace."""
    bound = SHORT_TAPS**-0.5
    return nn.Parameter(torch.empty(SHORT_TAPS, width).uniform_(-bound, bound))


FEATURES = {
    (FeatureTokenMixing.DIAGONAL, FeatureChannelMixing.DENSE): Feature,
    (FeatureTokenMixing.TOEPLITZ, FeatureChannelMixing.DENSE): Feature,
    (FeatureTokenMixing.DIAGONAL, FeatureChannelMixing.LATENT): Feature,
    (FeatureTokenMixing.TOEPLITZ, FeatureChannelMixing.DIAGONAL): ExplicitKernel,
    (FeatureTokenMixing.IMPLICIT_TOEPLITZ, FeatureChannelMixing.DIAGONAL): ImplicitKernel,
}
