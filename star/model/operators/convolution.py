"""Scaled Toeplitz token mixing: the double-gated convolution.

    y_i = g(C_i) sum_{j <= i} K_{i-j} B_j V_j        elementwise in the channels; g is linear, swish or GELU

With an explicit kernel of three taps and both gates linear this is the block of LFM2 (arXiv:2511.23404); with an
implicit kernel as long as the sequence it is Hyena's of order two (Poli et al. 2023, arXiv:2302.10866).
C, B and V take the roles of query, key and value in attention.
"""

import torch
import torch.nn.functional as F

from star.architecture.codes import FeatureTokenMixing, Nonlinearity
from star.architecture.spec import Dimensions, LivSpec
from star.model.operators.cache import CacheTensor, OperatorCache, count_columns
from star.model.operators.mixer import Mixer
from star.model.ops.convolution import long_convolution, short_convolution
from star.model.ops.shapes import BTD, WD

GATES = {Nonlinearity.SWISH: F.silu, Nonlinearity.GELU: F.gelu}


class GatedConvolution(Mixer):
    """Convolution of B V, gated by C."""

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__()
        self.width = liv.group("V").width(dims)
        self.gate = GATES.get(liv.nonlinearity)
        kernel = liv.group("K")
        self.taps = self.columns = None
        if kernel.token_mixing is FeatureTokenMixing.TOEPLITZ:
            self.taps, self.columns = kernel.expansion, count_columns(kernel.expansion, liv.overrides.kept_taps)

    def cache_spec(self, context: int) -> dict[str, CacheTensor]:
        return {"gated input": CacheTensor((self.columns or context, self.width), "BV")}

    def forward(self, *, c: BTD, b: BTD, v: BTD, k: WD, cache: OperatorCache | None = None) -> BTD:
        y = self.convolve(b * v, k, cache)
        return (c if self.gate is None else self.gate(c)) * y

    def convolve(self, u: BTD, kernel: WD, cache: OperatorCache | None) -> BTD:
        """Return the convolution at the present tokens, with the cached inputs before them."""
        num_tokens = u.shape[1]
        if self.taps:
            u = u if cache is None else cache.slide("gated input", u, self.taps)
            return short_convolution(u, kernel)[:, -num_tokens:]
        if cache is None:
            return long_convolution(u, kernel)
        u = cache.extend("gated input", u)
        if num_tokens == 1:
            return torch.einsum("btd,td->bd", u, kernel.flip(0))[:, None]
        return long_convolution(u, kernel)[:, -num_tokens:]
