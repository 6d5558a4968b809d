"""What a decoded architecture is: frozen records from the integer codes of a genome to a whole model.

A linear input-varying operator (LIV) computes y = T(x) x. It is a *featurizer*, which makes the feature
groups C, B, V, ... from x, feeding a *token-mixing structure* that assembles T from them, followed by a
*channel-mixing structure*. Everything here is integers and names; no tensor, no module.

Thomas et al. 2024, arXiv:2411.17800 (the structure); code values are listed in docs/genes.md.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple


class UserError(ValueError):
    """A person's mistake, told in one sentence; the command line prints it and exits with code 2."""


class TokenMixing(IntEnum):
    """Structure of T over tokens, for a fixed pair of channels."""

    DIAGONAL = 1
    LOW_RANK = 2
    TOEPLITZ = 3
    SEMI_SEPARABLE = 4


class Sparsity(IntEnum):
    """Sparsity of T beyond causality."""

    NONE = 1
    BANDED = 2


class Nonlinearity(IntEnum):
    """Nonlinearity applied to the token-mixing structure."""

    NONE = 1
    SOFTMAX = 2
    RELU = 3
    SWISH = 4


class ChannelMixing(IntEnum):
    """Structure of T over channels, for a fixed pair of tokens."""

    DIAGONAL = 1
    DENSE = 2
    GROUPED = 3


class FeatureTokenMixing(IntEnum):
    """How a featurizer mixes tokens: not at all, by a short explicit kernel, by a long implicit one."""

    DIAGONAL = 1
    TOEPLITZ = 3
    IMPLICIT_TOEPLITZ = 6


class FeatureChannelMixing(IntEnum):
    """How a featurizer maps channels: a free vector, a matrix, or a product of two thin matrices."""

    DIAGONAL = 1
    DENSE = 2
    LATENT = 4


EVERY_CHANNEL = 0  # repeat code: one feature vector serves every channel of the operator
GATED_RATIO = 3  # expansion code of 8/3: three matrices of width 8/3 d cost what two of 4 d cost
SHORT_TAPS = 3  # columns of every short explicit kernel
IMPLICIT_FREQUENCIES = 8  # sine and cosine pairs that describe a position to an implicit kernel
IMPLICIT_HIDDEN = 16  # hidden width of the network that turns a position into a kernel column


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The sizes that a scale gives and genes do not.

    `seq_len` is the context that implicit long kernels span, and the default context for pricing.
    """

    d_model: int
    head_dim: int
    vocab_size: int
    seq_len: int

    def __post_init__(self) -> None:
        for name in ("d_model", "head_dim", "vocab_size", "seq_len"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be a positive integer, not {getattr(self, name)}")
        if self.d_model % self.head_dim:
            raise UserError(f"head_dim {self.head_dim} does not divide d_model {self.d_model}")

    @property
    def num_heads(self) -> int:
        return self.d_model // self.head_dim

    @property
    def latent_rank(self) -> int:
        """Rank of a latent feature map: ceil(d_model / 16), as Mamba's step size (arXiv:2312.00752)."""
        return -(-self.d_model // 16)


@dataclass(frozen=True, slots=True)
class FeatureGroup:
    """One named feature of a featurizer: its role in T and its four genes."""

    role: str
    token_mixing: FeatureTokenMixing
    channel_mixing: FeatureChannelMixing
    expansion: int
    repeat: int

    def width(self, dims: Dimensions) -> int:
        """Channels that are really computed and kept: d_model * expansion / repeat."""
        full = dims.d_model * 8 // 3 if self.expansion == GATED_RATIO else dims.d_model * self.expansion
        return full // (self.repeat or dims.d_model)


@dataclass(frozen=True, slots=True)
class LivSpec:
    """One class of linear input-varying operator: featurizer groups and the four structure codes.

    `differential` marks y = a(x) - b(x), two copies with weights of their own.
    """

    name: str
    groups: tuple[FeatureGroup, ...]
    token_mixing: TokenMixing
    sparsity: Sparsity
    nonlinearity: Nonlinearity
    channel_mixing: ChannelMixing
    differential: bool = False

    @property
    def state_size(self) -> int:
        """N, the states per channel of a recurrence: the expansion of its input group B."""
        return self.groups[1].expansion


class Slot(NamedTuple):
    """One residual layer of a backbone. Slot i computes group g itself if `features_from[g] == i`, else it
    reuses the tensor that an earlier slot computed; it owns the weights that make g if `weights_from[g] == i`,
    else it computes with an earlier slot's. A NamedTuple, because pricing makes millions of them."""

    class_id: int
    liv: LivSpec
    weights_from: tuple[int, ...]
    features_from: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A whole language model: embedding, residual slots, final norm, tied head."""

    slots: tuple[Slot, ...]
    dims: Dimensions


def check_fits(liv: LivSpec, dims: Dimensions) -> None:
    """Raise UserError if `liv` cannot be built at `dims`."""
    if liv.token_mixing is not TokenMixing.LOW_RANK:
        return
    for group in liv.groups:
        if group.repeat > 1 and dims.num_heads % group.repeat:
            raise UserError(
                f"{liv.name} repeats {group.role} over {group.repeat} query heads, which does not divide the "
                f"{dims.num_heads} heads of d_model {dims.d_model} with head_dim {dims.head_dim}"
            )
