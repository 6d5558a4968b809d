"""Scaled Toeplitz token mixing: the double-gated convolution.

    y_i = C_i sum_{j <= i} K_{i-j} B_j V_j        elementwise in the channels, both gates linear

With an explicit kernel of three taps this is the block of LFM2 (arXiv:2511.23404); with an implicit kernel as
long as the sequence it is Hyena's of order two (Poli et al. 2023, arXiv:2302.10866).
"""

from star.operators.mixer import Mixer
from star.ops.convolution import convolution_naive, long_convolution, short_convolution
from star.ops.shapes import BTD, WD
from star.spec import SHORT_TAPS, Dimensions, LivSpec


class GatedConvolution(Mixer):
    """A convolution of B V, gated by C."""

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__()
        self.width = dims.d_model

    def forward(self, c: BTD, b: BTD, v: BTD, kernel: WD) -> BTD:
        convolve = short_convolution if kernel.shape[0] <= SHORT_TAPS else long_convolution
        return c * convolve(b * v, kernel)


def gated_convolution_naive(c: BTD, b: BTD, v: BTD, kernel: WD) -> BTD:
    """The same by two loops over time."""
    return c * convolution_naive(b * v, kernel)
