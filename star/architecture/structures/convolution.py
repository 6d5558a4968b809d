"""Scaled Toeplitz token mixing: gated convolutions, short or as long as the sequence."""

import math
from types import MappingProxyType

from star.architecture.codes import ChannelMixing, FeatureTokenMixing, Nonlinearity, Structure, TokenMixing
from star.architecture.spec import Dimensions, LivSpec
from star.architecture.structures.structure import CacheEntry, Choices, StructureRules

GATED_C = {Nonlinearity.NONE: "C_i", Nonlinearity.SWISH: "swish(C_i)", Nonlinearity.GELU: "gelu(C_i)"}


class ConvolutionRules(StructureRules):
    """A convolution of B V with the kernel K, gated by C."""

    structure = Structure.CONVOLUTION
    role_names = {"C": "gate behind the kernel", "B": "gate before the kernel", "V": "value"}
    token_mixing = TokenMixing.TOEPLITZ
    token_meaning = "scaled Toeplitz: a convolution between two gates"
    hue = 28
    channel_mixing = ChannelMixing.DIAGONAL
    nonlinearities = tuple(GATED_C)
    supported = ("d_inner",)
    conditions = MappingProxyType({"K": "an implicit kernel has no taps to count, so its expansion is 3"})

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        gates = tuple(Choices(role, (1, 3, 7), (2, 3, 4)) for role in "CBV")
        return (*gates, Choices("K", (3, 6), (1,), (3, 4, 7)))

    def canonicalise(self, rows: dict[str, list[int]]) -> None:
        if rows["K"][0] == FeatureTokenMixing.IMPLICIT_TOEPLITZ:
            rows["K"][2] = 3

    def widths(self, liv: LivSpec, dims: Dimensions) -> dict[str, int]:
        return dict.fromkeys("CBVK", liv.overrides.d_inner or dims.d_model)

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        return self.out_params(liv, liv.group("V").width(dims), dims)

    def cache_spec(self, liv: LivSpec, dims: Dimensions) -> tuple[CacheEntry, ...]:
        kernel = liv.group("K")
        if kernel.token_mixing is FeatureTokenMixing.IMPLICIT_TOEPLITZ:
            return (CacheEntry("BV", growing=liv.group("V").width(dims)),)
        columns = liv.overrides.kept_taps or kernel.expansion
        return (CacheEntry("BV", fixed=columns * liv.group("V").width(dims)),)

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        """Return the FLOPs of the structure and its output map. A long convolution is three real Fourier transforms of
        twice the length, 2.5 n log2 n each, and the product of two spectra.
        """
        d, kernel = liv.group("V").width(dims), liv.group("K")
        if kernel.token_mixing is FeatureTokenMixing.IMPLICIT_TOEPLITZ:
            length = 2 * tokens
            mixing = d * (round(7.5 * length * math.log2(length)) + 3 * length)
        else:
            mixing = 2 * tokens * kernel.expansion * d
        return mixing + 2 * tokens * d * dims.d_model

    def decode_flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        """Return the FLOPs of one more token: one product with all columns that are kept, without a transform."""
        d, kernel = liv.group("V").width(dims), liv.group("K")
        is_long = kernel.token_mixing is FeatureTokenMixing.IMPLICIT_TOEPLITZ
        return 2 * d * (tokens + 1 if is_long else kernel.expansion) + 2 * d * dims.d_model

    def equation(self, liv: LivSpec) -> str:
        return f"y_i = {GATED_C[liv.nonlinearity]} * sum over j <= i of K_(i-j) * B_j * V_j"


STRUCTURES = (ConvolutionRules(),)
