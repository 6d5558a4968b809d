"""What a decoded architecture is: frozen records from the integer codes of a genome to a whole model.

A linear input-varying operator (LIV) computes y = T(x) x. It is a *featurizer*, which makes the feature
groups C, B, V, ... from x, feeding a *token-mixing structure* that assembles T from them, followed by a
*channel-mixing structure*. Everything here is integers and names; no tensor, no module.

Thomas et al. 2024, arXiv:2411.17800 (the structure); code values are listed in docs/genes.md.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple


class UserError(ValueError):
    """A person's mistake, told in one sentence; the command line prints it and exits with code 2."""


class Structure(StrEnum):
    """What assembles T from the features: the structure codes of a class, read together, name one of these."""

    MEMORYLESS = "memoryless"
    ROUTED = "routed"
    ATTENTION = "attention"
    LATENT_ATTENTION = "latent attention"
    LINEAR_ATTENTION = "linear attention"
    CONVOLUTION = "convolution"
    SELECTIVE_SCAN = "selective scan"
    STATE_SPACE = "state space"
    GATED_LINEAR = "gated linear attention"
    DELTA_RULE = "delta rule"
    GATED_RECURRENCE = "gated recurrence"


class TokenMixing(IntEnum):
    """Structure of T over tokens, for a fixed pair of channels. 1 to 4 are the paper's."""

    DIAGONAL = 1
    LOW_RANK = 2
    TOEPLITZ = 3
    SEMI_SEPARABLE = 4
    HOUSEHOLDER = 5  # semi-separable, with transitions that erase along a key: the delta rule
    NORM_PRESERVING = 6  # semi-separable, the input scaled by what the decay leaves free: RG-LRU
    KEY_DECAY = 7  # semi-separable, with a decay for each key channel: gated linear attention


class Sparsity(IntEnum):
    """Sparsity of T beyond causality."""

    NONE = 1
    BANDED = 2


class Nonlinearity(IntEnum):
    """Nonlinearity of the token-mixing structure, or of the gate of one that has a gate. 1 to 4 are the paper's."""

    NONE = 1
    SOFTMAX = 2
    RELU = 3
    SWISH = 4
    GELU = 5
    SQUARED_RELU = 6


class ChannelMixing(IntEnum):
    """Structure of T over channels, for a fixed pair of tokens. 1 to 3 are the paper's."""

    DIAGONAL = 1
    DENSE = 2
    GROUPED = 3
    ROUTED = 4
    ROUTED_SHARED = 5  # routed, beside experts that serve every token
    LATENT = 6  # heads that read keys and values from one latent vector


class FeatureTokenMixing(IntEnum):
    """How a featurizer mixes tokens: not at all, by a short explicit kernel, by a long implicit one."""

    DIAGONAL = 1
    TOEPLITZ = 3
    IMPLICIT_TOEPLITZ = 6
    ACTIVATED_TOEPLITZ = 7  # a short kernel of four taps, then swish, as in Mamba


class FeatureChannelMixing(IntEnum):
    """How a featurizer maps channels."""

    DIAGONAL = 1  # a free vector: no map at all
    DENSE = 2
    GROUPED = 3  # one block for each head
    LATENT = 4  # a product of two thin matrices
    NORMALISED = 5  # dense, then each head to unit mean square, with a learned gain
    COMPRESSED = 6  # dense, then all of it to unit mean square, with a learned gain


EVERY_CHANNEL = 0  # repeat code: one feature vector serves every channel of the operator
WITHIN_HEAD = 7  # repeat code: one number serves every channel of a head
EVERY_HEAD = 9  # repeat code: the vector of one head serves every head
GATED_RATIO = 3  # expansion code of 8/3: three matrices of width 8/3 d cost what two of 4 d cost
KERNEL_TAPS = {  # columns of a feature's kernel
    FeatureTokenMixing.TOEPLITZ: 3,
    FeatureTokenMixing.ACTIVATED_TOEPLITZ: 4,
}
IMPLICIT_FREQUENCIES = 8  # sine and cosine pairs that describe a position to an implicit kernel
IMPLICIT_HIDDEN = 16  # hidden width of the network that turns a position into a kernel column


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The sizes that a scale gives and genes do not.

    `seq_len` is the context that implicit long kernels span, and the default context for pricing; `window` is how
    many tokens banded attention looks at, the present one included: a quarter of `seq_len` if 0.
    """

    d_model: int
    head_dim: int
    vocab_size: int
    seq_len: int
    window: int = 0

    def __post_init__(self) -> None:
        for name in ("d_model", "head_dim", "vocab_size", "seq_len"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be a positive integer, not {getattr(self, name)}")
        if self.d_model % self.head_dim:
            raise UserError(f"head_dim {self.head_dim} does not divide d_model {self.d_model}")
        if self.window and not 1 <= self.window <= self.seq_len:
            raise UserError(f"window is {self.window}, but must lie between 1 and the context of {self.seq_len} tokens")

    @property
    def num_heads(self) -> int:
        return self.d_model // self.head_dim

    @property
    def latent_rank(self) -> int:
        """Rank of a latent feature map: ceil(d_model / 16), as Mamba's step size (arXiv:2312.00752)."""
        return -(-self.d_model // 16)

    @property
    def band(self) -> int:
        """The window in tokens."""
        return self.window or -(-self.seq_len // 4)


@dataclass(frozen=True, slots=True)
class FeatureGroup:
    """One named feature of a featurizer: its role in T and its four genes.

    For a kernel (role K) the expansion is its number of taps; for a router (role R) it is the number of experts,
    and the repeat is how many of them a token goes through.
    """

    role: str
    token_mixing: FeatureTokenMixing
    channel_mixing: FeatureChannelMixing
    expansion: int
    repeat: int

    def width(self, dims: Dimensions) -> int:
        """Channels that are really computed and kept: d_model * expansion / repeat."""
        if self.role == "R":
            return self.expansion
        full = dims.d_model * 8 // 3 if self.expansion == GATED_RATIO else dims.d_model * self.expansion
        shares = {EVERY_CHANNEL: dims.d_model, EVERY_HEAD: dims.num_heads, WITHIN_HEAD: dims.head_dim}
        return full // shares.get(self.repeat, self.repeat)


@dataclass(frozen=True, slots=True)
class LivSpec:
    """One class of linear input-varying operator: featurizer groups and the four structure codes, read together as
    a structure.

    `differential` marks y = a(x) - b(x), two copies with weights of their own.
    """

    name: str
    structure: Structure
    groups: tuple[FeatureGroup, ...]
    token_mixing: TokenMixing
    sparsity: Sparsity
    nonlinearity: Nonlinearity
    channel_mixing: ChannelMixing
    differential: bool = False

    def group(self, role: str) -> FeatureGroup:
        """The feature group of that role."""
        return next(group for group in self.groups if group.role == role)

    def has(self, role: str) -> bool:
        """Whether the operator has a feature group of that role."""
        return any(group.role == role for group in self.groups)


class Slot(NamedTuple):
    """One residual layer of a backbone. Slot i computes group g itself if `features_from[g] == i`, else it
    reuses the tensor that an earlier slot computed; it owns the weights that make g if `weights_from[g] == i`,
    else it computes with an earlier slot's. A NamedTuple, because pricing makes millions of them.

    `class_id` is the operator's number in the deck; operators that are in no table count -1, -2, ... by first use."""

    class_id: int
    liv: LivSpec
    weights_from: tuple[int, ...]
    features_from: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A whole language model: embedding, residual slots, final norm, tied head."""

    slots: tuple[Slot, ...]
    dims: Dimensions
