"""Low-rank token mixing: softmax attention, over heads or over a latent, and its linear form."""

from dataclasses import replace

from star.architecture.codes import (
    EVERY_HEAD,
    ChannelMixing,
    FeatureChannelMixing,
    Nonlinearity,
    Sparsity,
    Structure,
    TokenMixing,
)
from star.architecture.spec import Dimensions, FeatureGroup, LivSpec, OperatorOverrides
from star.architecture.structures.feature import norm_width
from star.architecture.structures.structure import (
    ATTENTION_ROLES,
    CacheEntry,
    Choices,
    StructureRules,
    Tie,
    check_divides,
)
from star.errors import UserError

HEADS = (1, 2, 4, 9)
SHIFTED = (1, 3, 7, 8)  # token mixings of features, the residual kernel among them
POSITIONED = ("positions", "rotary", "rope_theta", "score_scale")
SCORES = {
    "": "rotate(C_i) . rotate(B_j)",
    "rotary": "rotate(C_i) . rotate(B_j)",
    "learned": "C_i . B_j",
    "none": "C_i . B_j",
    "alibi": "C_i . B_j",
    "relative": "C_i . (B_j + R_(i-j))",
}
QK_MAPS = {"head": FeatureChannelMixing.NORMALISED, "all": FeatureChannelMixing.COMPRESSED}


class AttentionRules(StructureRules):
    """Softmax attention. With fewer key/value heads than query heads, each serves several query heads."""

    structure = Structure.ATTENTION
    role_names = ATTENTION_ROLES
    token_mixing = TokenMixing.LOW_RANK
    token_meaning = "low rank: products of queries and keys"
    hue = 214
    channel_mixing = ChannelMixing.GROUPED
    nonlinearities = (Nonlinearity.SOFTMAX,)
    sparsities = (Sparsity.NONE, Sparsity.BANDED)
    ties = (Tie("V", "B", (3,)),)
    relative_time = 4.0
    kept_per_flop = 0.0  # the scores are computed again
    repeats_heads = True
    supported = ("num_heads", "num_kv_heads", "head_dim", "value_head_dim", "window", "qk_norm", *POSITIONED)
    supported += ("qk_norm_gain", "qk_norm_place", "gate", "gate_dim", "score_cap", "sinks", "out_norm")

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        return (
            Choices("C", SHIFTED, (2, 3, 4, 5)),
            Choices("B", SHIFTED, (2, 4, 5), repeat=HEADS),
            Choices("V", SHIFTED, (2, 4), repeat=HEADS),
        )

    def widths(self, liv: LivSpec, dims: Dimensions) -> dict[str, int]:
        check_gate(liv, dims)
        served, head_dim = num_kv_heads(liv, dims), dims.head_dim
        queries = dims.num_heads * head_dim
        return {"C": queries + gate_width(liv, dims), "B": served * head_dim, "V": served * value_head_dim(liv, dims)}

    def apply_overrides(self, liv: LivSpec, dims: Dimensions) -> tuple[FeatureGroup, ...]:
        groups = super().apply_overrides(liv, dims)
        if liv.overrides.qk_norm:
            qk_map = QK_MAPS[liv.overrides.qk_norm]
            groups = tuple(replace(one, channel_mixing=qk_map) if one.role in "CB" else one for one in groups)
        if liv.overrides.gate:
            plain = gate_width(liv, dims)
            groups = tuple(replace(one, plain=plain) if one.role == "C" else one for one in groups)
        if not liv.overrides.qk_norm_gain or is_late(liv.overrides):
            if not any(norm_width(one, dims) for one in groups if one.role in "CB"):
                raise UserError(f"{liv.name}: queries and keys have no norm, whose gain or place could be told")
            groups = tuple(replace(one, gain=one.role not in "CB") for one in groups)
        return groups

    def check_fits(self, liv: LivSpec, dims: Dimensions) -> None:
        super().check_fits(liv, dims)
        check_rotary(liv, dims, dims.head_dim)
        if is_late(liv.overrides) and positions_of(liv, dims) != "rotary":
            raise UserError(f"{liv.name}: norms after the rotation need rotary positions")

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        relative = dims.d_model * dims.num_heads * dims.head_dim if positions_of(liv, dims) == "relative" else 0
        sinks = dims.num_heads if liv.overrides.sinks else 0
        gains = sum(norm_width(liv.group(role), dims) for role in late_gains(liv))
        gains += dims.num_heads * value_head_dim(liv, dims) if liv.overrides.out_norm else 0
        return self.out_params(liv, dims.num_heads * value_head_dim(liv, dims), dims) + relative + sinks + gains

    def cache_spec(self, liv: LivSpec, dims: Dimensions) -> tuple[CacheEntry, ...]:
        banded = liv.sparsity is Sparsity.BANDED
        return tuple(CacheEntry(role, growing=liv.group(role).width(dims), banded=banded) for role in "BV")

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        heads, wide = dims.num_heads, value_head_dim(liv, dims)
        pairs = count_pairs(liv, dims, tokens)
        mixing = 2 * pairs * heads * (dims.head_dim + wide)  # scores and values
        if positions_of(liv, dims) == "relative":  # a score of each distance, and the maps of the distances
            mixing += 2 * pairs * heads * dims.head_dim + 2 * tokens * dims.d_model * heads * dims.head_dim
        return mixing + 2 * tokens * heads * wide * dims.d_model

    def equation(self, liv: LivSpec) -> str:
        late = "(g * rotate(C_i))" if late_gains(liv) else "rotate(C_i)"
        score = scaled(SCORES[liv.overrides.positions].replace("rotate(C_i)", late), liv.overrides, "head_dim")
        if cap := liv.overrides.score_cap:
            score = f"{cap:g} tanh({score} / {cap:g})"
        score = f"{score} - slope (i - j)" if liv.overrides.positions == "alibi" else score
        score = f"{score}, beside a learned one" if liv.overrides.sinks else score
        text = f"y_i = sum over {looked_at(liv)} of softmax_j({score}) V_j"
        numbers = f",  C' with {liv.overrides.gate_dim} for each head" if liv.overrides.gate_dim else ""
        text = f"{text} * sigmoid(C'_i){numbers}" if liv.overrides.gate else text
        return text.replace("y_i = ", "y_i = norm(", 1) + ")" if liv.overrides.out_norm else text


class LatentAttentionRules(AttentionRules):
    """Softmax attention that reads keys and values of all heads from one latent V, with one rotary key B."""

    structure = Structure.LATENT_ATTENTION
    role_names = {"C": "query", "B": "key that is rotated", "V": "latent of keys and values"}
    channel_mixing = ChannelMixing.LATENT
    channel_meaning = "heads that read keys and values from one latent vector"
    ties = ()
    relative_time = 5.0
    repeats_heads = False
    supported = (
        "num_heads",
        "head_dim",
        "rope_head_dim",
        "value_head_dim",
        "latent_dim",
        "window",
        "rank",
        "inner_norm",
    )
    supported += POSITIONED

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        return (
            Choices("C", SHIFTED, (2, 3, 4), expansion=(2,)),
            Choices("B", SHIFTED, (2,), repeat=(9,)),
            Choices("V", SHIFTED, (2, 6), repeat=(2, 4, 8, 16)),
        )

    def widths(self, liv: LivSpec, dims: Dimensions) -> dict[str, int]:
        rotated = rope_head_dim(liv, dims)
        latent = liv.overrides.latent_dim or liv.group("V").width(dims)
        return {"C": dims.num_heads * (dims.head_dim + rotated), "B": rotated, "V": latent}

    def apply_overrides(self, liv: LivSpec, dims: Dimensions) -> tuple[FeatureGroup, ...]:
        if liv.overrides.rank:
            thin = FeatureChannelMixing.LATENT
            groups = tuple(replace(one, channel_mixing=thin) if one.role == "C" else one for one in liv.groups)
            liv = replace(liv, groups=groups)
        return super().apply_overrides(liv, dims)

    def check_fits(self, liv: LivSpec, dims: Dimensions) -> None:
        StructureRules.check_fits(self, liv, dims)
        check_rotary(liv, dims, rope_head_dim(liv, dims))
        if positions_of(liv, dims) == "relative":
            raise UserError(f"{liv.name}: latent attention has no relative positions")

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        wide = value_head_dim(liv, dims)
        up = liv.group("V").width(dims) * dims.num_heads * (dims.head_dim + wide)
        return up + self.out_params(liv, dims.num_heads * wide, dims)

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        heads, wide = dims.num_heads, value_head_dim(liv, dims)
        pairs = 2 * count_pairs(liv, dims, tokens) * heads * (dims.head_dim + rope_head_dim(liv, dims) + wide)
        up = liv.group("V").width(dims) * heads * (dims.head_dim + wide)
        return pairs + 2 * tokens * (up + heads * wide * dims.d_model)

    def decode_flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        """Return the FLOPs of one more token with absorbed maps: the latent serves every head as key and value."""
        heads, latent = dims.num_heads, liv.group("V").width(dims)
        looked = min(tokens + 1, dims.band) if liv.sparsity is Sparsity.BANDED else tokens + 1
        pairs = 2 * looked * heads * (2 * latent + rope_head_dim(liv, dims))
        wide = value_head_dim(liv, dims)
        return pairs + 2 * heads * (latent * (dims.head_dim + wide) + wide * dims.d_model)

    def equation(self, liv: LivSpec) -> str:
        rotated = SCORES[liv.overrides.positions].replace("C_i", "C'_i")
        width = "(head_dim + rope_head_dim)" if liv.overrides.rope_head_dim else "(2 head_dim)"
        score = scaled(f"(C_i . W_K V_j + {rotated})", liv.overrides, width)
        return f"y_i = sum over {looked_at(liv)} of softmax_j({score}) W_V V_j"


class LinearAttentionRules(AttentionRules):
    """Attention without the softmax: a state of one matrix a head, normalised by the sum of the keys."""

    structure = Structure.LINEAR_ATTENTION
    role_names = ATTENTION_ROLES
    nonlinearities = (Nonlinearity.NONE,)
    sparsities = (Sparsity.NONE,)
    kept_per_flop = StructureRules.kept_per_flop
    supported = ("num_heads", "num_kv_heads", "head_dim", "qk_norm", "qk_norm_gain")

    def check_fits(self, liv: LivSpec, dims: Dimensions) -> None:
        StructureRules.check_fits(self, liv, dims)

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        return self.out_params(liv, dims.num_heads * dims.head_dim, dims)

    def cache_spec(self, liv: LivSpec, dims: Dimensions) -> tuple[CacheEntry, ...]:
        return (CacheEntry("BV", fixed=liv.group("V").width(dims) * (dims.head_dim + 1)),)

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        width = dims.num_heads * dims.head_dim
        written = liv.group("V").width(dims) * (dims.head_dim + 1)
        return 2 * tokens * (written + width * (dims.head_dim + 1) + width * dims.d_model)  # write, read, output

    def equation(self, liv: LivSpec) -> str:
        return "y_i = sum over j <= i of f(C_i) . f(B_j) V_j / sum over j <= i of f(C_i) . f(B_j),  f = elu + 1"


STRUCTURES = (AttentionRules(), LatentAttentionRules(), LinearAttentionRules())


def num_kv_heads(liv: LivSpec, dims: Dimensions) -> int:
    """Return the number of key/value heads. Raise UserError if it does not divide the number of query heads."""
    if liv.overrides.num_kv_heads:
        check_divides(liv.name, "num_kv_heads", liv.overrides.num_kv_heads, "num_heads", dims.num_heads)
        return liv.overrides.num_kv_heads
    repeat = liv.group("B").repeat
    if repeat == EVERY_HEAD:
        return 1
    check_divides(liv.name, "the repeat of B,", repeat, "num_heads", dims.num_heads)
    return dims.num_heads // repeat


def value_head_dim(liv: LivSpec, dims: Dimensions) -> int:
    """Return the channels of one head of values."""
    return liv.overrides.value_head_dim or dims.head_dim


def check_gate(liv: LivSpec, dims: Dimensions) -> None:
    """Raise UserError unless each number of the gate serves as many channels of a head."""
    if numbers := liv.overrides.gate_dim:
        if not liv.overrides.gate:
            raise UserError(f"{liv.name}: gate_dim means nothing without gate = true")
        wide = value_head_dim(liv, dims)
        check_divides(liv.name, "gate_dim", numbers, "the channels of a head of values,", wide)


def is_late(overrides: OperatorOverrides) -> bool:
    """Return whether queries and keys are normalised after the rotation."""
    return overrides.qk_norm_place == "after rotation"


def late_gains(liv: LivSpec) -> str:
    """Return the roles of the features whose norms have gains after the rotation."""
    normed = (FeatureChannelMixing.NORMALISED, FeatureChannelMixing.COMPRESSED)
    roles = "CB" if is_late(liv.overrides) and liv.overrides.qk_norm_gain else ""
    return "".join(role for role in roles if liv.group(role).channel_mixing in normed)


def gate_width(liv: LivSpec, dims: Dimensions) -> int:
    """Return the channels of the gate, 0 without one."""
    return dims.num_heads * (liv.overrides.gate_dim or value_head_dim(liv, dims)) if liv.overrides.gate else 0


def rope_head_dim(liv: LivSpec, dims: Dimensions) -> int:
    """Return the rotated channels of one head of latent attention."""
    return liv.overrides.rope_head_dim or dims.head_dim


def positions_of(liv: LivSpec, dims: Dimensions) -> str:
    """Return the kind of positions that attention uses: one of POSITIONS."""
    return liv.overrides.positions or dims.style.positions


def rotated_channels(overrides: OperatorOverrides, dims: Dimensions, head_dim: int) -> int:
    """Return the number of channels of a head that are rotated."""
    return round(head_dim * (dims.style.rotary if overrides.rotary is None else overrides.rotary))


def check_rotary(liv: LivSpec, dims: Dimensions, head_dim: int) -> None:
    """Raise UserError unless the rotated channels of a head are pairs."""
    rotated = rotated_channels(liv.overrides, dims, head_dim)
    if positions_of(liv, dims) == "rotary" and rotated % 2:
        raise UserError(f"{liv.name}: {rotated} of {head_dim} channels of a head would be rotated, which are no pairs")


def count_pairs(liv: LivSpec, dims: Dimensions, tokens: int) -> int:
    """Return the number of pairs of a token of a sequence and a token that it attends to, which may be itself."""
    window = min(tokens, dims.band) if liv.sparsity is Sparsity.BANDED else tokens
    return window * (window + 1) // 2 + (tokens - window) * window


def scaled(score: str, overrides: OperatorOverrides, width: str) -> str:
    """Return a score as text, times the scale that overrides set or divided by the root of a width."""
    root = width if width.startswith("(") else f"({width})"
    return f"{overrides.score_scale:g} {score}" if overrides.score_scale else f"{score} / sqrt{root}"


def looked_at(liv: LivSpec) -> str:
    """Return the tokens j that token i attends to, as text."""
    return "i - window < j <= i" if liv.sparsity is Sparsity.BANDED else "j <= i"
