"""Decoded architectures: frozen records from the integer codes of a genome to a whole model.

A linear input-varying operator (LIV) computes y = T(x) x. It is a *featurizer*, which makes the feature
groups C, B, V, ... from x, feeding a *token-mixing structure* that assembles T from them, followed by a
*channel-mixing structure*. Everything here is integers and names; no tensor, no module.

Thomas et al. 2024, arXiv:2411.17800 (the structure).
"""

from dataclasses import dataclass, replace
from itertools import cycle
from typing import NamedTuple

from star.architecture.codes import (
    EVERY_CHANNEL,
    EVERY_HEAD,
    GATED_RATIO,
    KERNEL_TAPS,
    WITHIN_HEAD,
    ChannelMixing,
    FeatureChannelMixing,
    FeatureTokenMixing,
    Nonlinearity,
    Sparsity,
    Structure,
    TokenMixing,
)
from star.architecture.overrides import LARGEST, NORM_PLACES, POSITIONS, OperatorOverrides, largest
from star.errors import UserError

MOST_SLOTS = 10_000
MOST_SHIFT = 16
NORMS = ("rms", "layer")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneConfig:
    """The configuration of the model around its operators; the defaults are those of every named scale.

    Raises:
        UserError: an unknown word or an impossible number.
    """

    norm: str = "rms"  # or "layer": with the mean taken off
    norm_gain: bool = True
    norm_bias: bool = False
    norm_eps: float = 1e-6
    norm_place: str = "before"  # of an operator; or "after" it, before the sum; or "both"
    parallel: tuple[int, ...] = (1,)  # so many slots in a row read the same input, by turns
    shared_norm: bool = False  # slots that read the same input have one norm before them
    shift: int = 0  # taps of a residual causal kernel over the normalised input of each slot; 0: none
    positions: str = "rotary"  # of attention: see POSITIONS; "learned" ones are added to the embedding
    rotary: float = 1.0  # share of a head's channels that is rotated
    rope_theta: float = 10_000.0
    tied: bool = True  # the head is the embedding
    head_bias: bool = False
    embedding_norm: bool = False
    final_norm: bool = True
    embedding_scale: float = 1.0
    residual_scale: float = 1.0  # of what an operator adds
    logit_scale: float = 1.0
    logit_cap: float = 0.0  # logits become cap tanh(logits / cap); 0: they stay

    def __post_init__(self) -> None:
        for name, words in (("norm", NORMS), ("norm_place", NORM_PLACES), ("positions", POSITIONS)):
            if getattr(self, name) not in words:
                raise UserError(f"{name} must be one of {', '.join(words)}, not {getattr(self, name)!r}")
        if not 1 <= len(self.parallel) <= MOST_SLOTS or not all(1 <= width <= MOST_SLOTS for width in self.parallel):
            shown = f"{[*self.parallel]!r:.60}"
            raise UserError(f"parallel must hold numbers of slots from 1 to {MOST_SLOTS:,}, not {shown}")
        if not 0 <= self.shift <= MOST_SHIFT:
            raise UserError(f"shift must be a number of taps from 0 to {MOST_SHIFT}, not {self.shift}")
        if not 0 <= self.rotary <= 1:
            raise UserError(f"rotary must lie between 0 and 1, not {self.rotary}")
        for name in ("norm_eps", "rope_theta", "embedding_scale", "residual_scale", "logit_scale"):
            if not 0 < getattr(self, name) <= largest(name):
                raise UserError(f"{name} must be positive, at most {largest(name):,}, not {getattr(self, name)}")
        if not 0 <= self.logit_cap <= LARGEST:
            raise UserError(f"logit_cap must be positive, or 0 for none, at most {LARGEST:,}, not {self.logit_cap}")

    def rounds(self, num_slots: int) -> list[int]:
        """Return, for each slot, the first slot that reads the same input."""
        found: list[int] = []
        for width in cycle(self.parallel):
            found += [len(found)] * min(width, num_slots - len(found))
            if len(found) >= num_slots:
                return found
        raise AssertionError


@dataclass(frozen=True, slots=True)
class Dimensions:
    """The sizes that a scale sets and genes do not.

    `seq_len` is the context that implicit long kernels span, and the default context for pricing; `window` is how
    many tokens banded attention looks at, the present one included: a quarter of `seq_len` if 0; `heads` are the query
    heads, as many as fit into d_model if 0. `operators` are variants by the name of the class that they build.
    """

    d_model: int
    head_dim: int
    vocab_size: int
    seq_len: int
    window: int = 0
    heads: int = 0
    style: BackboneConfig = BackboneConfig()
    operators: tuple[tuple[str, OperatorOverrides], ...] = ()

    def __post_init__(self) -> None:
        for name in ("d_model", "head_dim", "vocab_size", "seq_len"):
            if not 1 <= getattr(self, name) <= LARGEST:
                raise UserError(f"{name} must be a positive integer of at most {LARGEST:,}, not {getattr(self, name)}")
        if not 0 <= self.heads <= LARGEST:
            raise UserError(f"num_heads must be an integer from 0 to {LARGEST:,}, not {self.heads}")
        if not self.heads and self.d_model % self.head_dim:
            raise UserError(f"head_dim {self.head_dim} does not divide d_model {self.d_model}")
        if self.window and not 1 <= self.window <= self.seq_len:
            raise UserError(f"window is {self.window}, but must lie between 1 and the context of {self.seq_len} tokens")

    @property
    def num_heads(self) -> int:
        return self.heads or self.d_model // self.head_dim

    @property
    def latent_rank(self) -> int:
        """Rank of a latent feature map: ceil(d_model / 16), as Mamba's step size (arXiv:2312.00752)."""
        return -(-self.d_model // 16)

    @property
    def band(self) -> int:
        """The number of tokens that banded attention sees."""
        return self.window or -(-self.seq_len // 4)

    def of(self, liv: "LivSpec") -> "Dimensions":
        """Return the sizes with those that one operator's overrides replace."""
        overrides = liv.overrides
        if not (overrides.head_dim or overrides.num_heads or overrides.window):
            return self
        head_dim, heads = overrides.head_dim or self.head_dim, overrides.num_heads or self.heads
        if not heads and liv.structure is Structure.STATE_SPACE:  # whose heads fill d_inner instead
            heads = max(1, self.d_model // head_dim)
        # A window of the class may be longer than the context, and then it is all of that.
        return replace(self, head_dim=head_dim, heads=heads, window=min(overrides.window, self.seq_len) or self.window)


@dataclass(frozen=True, slots=True)
class FeatureGroup:
    """One named feature of a featurizer: its role in T, its four genes, and the overrides that apply to it.

    For a kernel (role K) the expansion is its number of taps; for a router (role R) it is the number of experts,
    and the repeat is how many of them a token goes through.
    """

    role: str
    token_mixing: FeatureTokenMixing
    channel_mixing: FeatureChannelMixing
    expansion: int
    repeat: int
    channels: int = 0  # that are computed and kept; what the genes say if 0
    source: str = ""  # role of the feature that it is made from; the operator's input if empty
    fan_in: int = 0  # channels of that
    rank: int = 0
    taps: int = 0
    kept_taps: int = 0
    bias: bool = False
    kernel_bias: bool = False
    inner_norm: bool = False
    plain: int = 0  # the last channels, which its norm leaves as they are
    gain: bool = True  # of its norm

    def width(self, dims: Dimensions) -> int:
        """Return the channels that are computed and kept: d_model * expansion / repeat, unless overrides set them."""
        if self.channels or self.role == "R":
            return self.channels or self.expansion
        full = dims.d_model * 8 // 3 if self.expansion == GATED_RATIO else dims.d_model * self.expansion
        shares = {EVERY_CHANNEL: dims.d_model, EVERY_HEAD: dims.num_heads, WITHIN_HEAD: dims.head_dim}
        return full // shares.get(self.repeat, self.repeat)

    @property
    def num_taps(self) -> int:
        """The number of columns of its kernel; 0 without one."""
        return (self.taps or KERNEL_TAPS[self.token_mixing]) if self.token_mixing in KERNEL_TAPS else 0


@dataclass(frozen=True, slots=True)
class LivSpec:
    """One class of linear input-varying operator: featurizer groups and the four structure codes, read together as
    a structure.

    `differential` marks y = a(x) - b(x), two copies with weights of their own; `overrides` is how a scale builds it.
    """

    name: str
    structure: Structure
    groups: tuple[FeatureGroup, ...]
    token_mixing: TokenMixing
    sparsity: Sparsity
    nonlinearity: Nonlinearity
    channel_mixing: ChannelMixing
    differential: bool = False
    overrides: OperatorOverrides = OperatorOverrides()

    def norm_place(self, style: BackboneConfig) -> str:
        """Return the place of the norms of its slots: before the operator, after it, or both."""
        return self.overrides.norm_place or style.norm_place

    def group(self, role: str) -> FeatureGroup:
        """Return the feature group of that role."""
        return next(group for group in self.groups if group.role == role)

    def has(self, role: str) -> bool:
        """Return whether the operator has a feature group of that role."""
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
    """A whole language model: embedding, residual slots, final norm, head. Overrides are already
    applied to the slots.
    """

    slots: tuple[Slot, ...]
    dims: Dimensions
