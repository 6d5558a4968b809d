"""Token shift: a residual causal kernel over the input of an operator.

    y_t = x_t + sum_{i < taps} w_i x_{t-i}        elementwise in the channels

Allen-Zhu 2025, arXiv:2512.17351 (a Canon layer).
"""

from torch import nn

from star.model.operators.cache import OperatorCache
from star.model.operators.featurizer import convolve, short_kernel
from star.model.ops.shapes import BTD


class Shift(nn.Module):
    """Sum of the input and its convolution with a short kernel, which decoding keeps `taps` - 1 columns for."""

    def __init__(self, taps: int, width: int) -> None:
        super().__init__()
        # Not zero, although the operator would then start as it is without a shift: taps that start at zero grow only
        # at the pace of the learning rate, as those of a kernel that starts as the identity. These taps together add a
        # third of the mean square of the input, so that the token itself prevails.
        self.kernel = short_kernel(taps, width)

    def forward(self, x: BTD, cache: OperatorCache | None) -> BTD:
        return x + convolve("shift columns", x, self.kernel, cache)

    def new_cache(self, batch_size: int) -> OperatorCache:
        """Return an empty cache, with the type and device of the kernel."""
        taps, width = self.kernel.shape
        return OperatorCache({"shift columns": self.kernel.new_zeros(batch_size, taps - 1, width)}, {})
