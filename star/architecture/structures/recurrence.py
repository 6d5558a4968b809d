"""Semi-separable token mixing: linear recurrences, with a state for each channel or a matrix for each head."""

from dataclasses import replace

from star.architecture.codes import (
    WITHIN_HEAD,
    ChannelMixing,
    FeatureChannelMixing,
    Nonlinearity,
    Structure,
    TokenMixing,
)
from star.architecture.spec import Dimensions, FeatureGroup, LivSpec, OperatorOverrides
from star.architecture.structures.attention import SHIFTED, value_head_dim
from star.architecture.structures.convolution import GATED_C
from star.architecture.structures.structure import (
    ATTENTION_ROLES,
    CacheEntry,
    Choices,
    StructureRules,
    Tie,
    check_divides,
)

MIXED = (1, 3, 7)
STATES = (1, 2, 4, 8, 16, 32, 64)
GATES = (Nonlinearity.NONE, Nonlinearity.SWISH)


def output_gate(nonlinearity: Nonlinearity, expansion: tuple[int, ...] = (1,)) -> tuple[Choices, ...]:
    """Return the group Z, which structures with a nonlinearity have."""
    return () if nonlinearity is Nonlinearity.NONE else (Choices("Z", (1,), (2, 3, 4), expansion),)


def gated(text: str, liv: LivSpec) -> str:
    """Return an equation with the output gate, if there is one."""
    return f"{text} * swish(Z_i)" if liv.has("Z") else text


class SelectiveScanRules(StructureRules):
    """Mamba's S6: N states a channel, B and C serve all channels."""

    structure = Structure.SELECTIVE_SCAN
    role_names = {"C": "reads the state", "B": "writes into the state", "V": "value: what is written"}
    token_mixing = TokenMixing.SEMI_SEPARABLE
    token_meaning = "semi-separable: a linear recurrence that decays"
    hue = 160
    channel_mixing = ChannelMixing.DIAGONAL
    nonlinearities = GATES
    ties = (Tie("C", "B", (2,)), Tie("A", "V", (2,)), Tie("Z", "V", (2,)))
    relative_time = 16.0
    kept_per_flop = 0.4  # all states
    passing_per_channel = 128.0
    supported = ("d_inner", "d_state", "rank", "chained", "inner_norm")
    chains = "CBA"

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        return (
            Choices("C", MIXED, (2,), STATES, (0,)),
            Choices("B", MIXED, (2,), STATES, (0,)),
            Choices("V", MIXED, (2, 3, 4), (1, 2)),
            Choices("A", (1,), (2, 3, 4), (1, 2)),
            *output_gate(nonlinearity, (1, 2)),
        )

    def widths(self, liv: LivSpec, dims: Dimensions) -> dict[str, int]:
        inner = liv.overrides.d_inner or liv.group("V").width(dims)
        states = liv.overrides.d_state or liv.group("B").width(dims)
        return dict.fromkeys("VAZ", inner) | dict.fromkeys("CB", states)

    def override_group(self, overrides: OperatorOverrides, group: FeatureGroup, widths: dict[str, int]) -> FeatureGroup:
        group = super().override_group(overrides, group, widths)
        is_normed = overrides.inner_norm and group.role in "CB"
        return replace(group, channel_mixing=FeatureChannelMixing.COMPRESSED) if is_normed else group

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        width = liv.group("V").width(dims)
        own = width * liv.group("B").width(dims) + 2 * width  # rates; skip, step bias
        return own + self.out_params(liv, width, dims)

    def cache_spec(self, liv: LivSpec, dims: Dimensions) -> tuple[CacheEntry, ...]:
        return (CacheEntry("", fixed=liv.group("V").width(dims) * liv.group("B").width(dims)),)

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        width = liv.group("V").width(dims)
        states = 5 * width * liv.group("B").width(dims)  # decay 1, write 2, read 2
        return tokens * (states + 2 * width * dims.d_model)

    def equation(self, liv: LivSpec) -> str:
        text = "(C_i . h_i + skip * V_i)" if liv.has("Z") else "C_i . h_i + skip * V_i"
        return f"y_i = {gated(text, liv)},  h_i = exp(-s_i r) * h_(i-1) + s_i * V_i B_i,  s = softplus(A + bias)"


class StateSpaceRules(SelectiveScanRules):
    """Mamba-2's SSD: one decay a head, a matrix state."""

    structure = Structure.STATE_SPACE
    channel_mixing = ChannelMixing.GROUPED
    relative_time = 6.0
    kept_per_flop = StructureRules.kept_per_flop
    passing_per_channel = StructureRules.passing_per_channel
    supported = ("d_inner", "d_state", "num_heads", "head_dim", "num_groups", "out_norm", "norm_groups")
    chains = ""

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        c, b, v, _, *gate = super().choices(nonlinearity)
        return (c, b, v, Choices("A", (1,), (2,), (1, 2), (WITHIN_HEAD,)), *gate)

    def widths(self, liv: LivSpec, dims: Dimensions) -> dict[str, int]:
        overrides = liv.overrides
        inner = overrides.d_inner or liv.group("V").width(dims)
        heads = overrides.num_heads
        if not heads:
            check_divides(liv.name, "head_dim", dims.head_dim, "d_inner", inner)
            heads = inner // dims.head_dim
        groups = overrides.num_groups or 1
        check_divides(liv.name, "num_heads", heads, "d_inner", inner)
        check_divides(liv.name, "num_groups", groups, "num_heads", heads)
        check_divides(liv.name, "norm_groups", overrides.norm_groups or 1, "d_inner", inner)
        states = groups * (overrides.d_state or liv.group("B").width(dims))
        return {"V": inner, "Z": inner, "A": heads, "B": states, "C": states}

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        width = liv.group("V").width(dims)
        gain = width if liv.has("Z") and liv.overrides.out_norm is not False else 0
        own = 3 * liv.group("A").width(dims) + gain  # rate, step bias, skip of each head
        return own + self.out_params(liv, width, dims)

    def cache_spec(self, liv: LivSpec, dims: Dimensions) -> tuple[CacheEntry, ...]:
        states = liv.group("B").width(dims) // (liv.overrides.num_groups or 1)
        return (CacheEntry("", fixed=liv.group("V").width(dims) * states),)

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        width = liv.group("V").width(dims)
        states = 5 * width * liv.group("B").width(dims) // (liv.overrides.num_groups or 1)  # decay 1, write 2, read 2
        return tokens * (states + 2 * width * dims.d_model)

    def equation(self, liv: LivSpec) -> str:
        text = "y_i = C_i S_i + skip * V_i"
        if liv.has("Z"):
            gated_text = "(C_i S_i + skip * V_i) * swish(Z_i)"
            text = f"y_i = norm({gated_text})" if liv.overrides.out_norm is not False else f"y_i = {gated_text}"
        return f"{text},  S_i = exp(-s_i r) S_(i-1) + s_i B_i V_i^T,  s = softplus(A + bias), r and s of a head"


class GatedLinearRules(StructureRules):
    """Gated linear attention: a decay for each key channel."""

    structure = Structure.GATED_LINEAR
    role_names = ATTENTION_ROLES
    token_mixing = TokenMixing.KEY_DECAY
    token_meaning = "semi-separable, with a decay for each key channel"
    hue = 115
    channel_mixing = ChannelMixing.GROUPED
    nonlinearities = GATES
    relative_time = 6.0
    supported = ("num_heads", "head_dim", "value_head_dim")

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        maps = tuple(Choices(role, SHIFTED, (2, 3, 4)) for role in "CBV")
        return (*maps, Choices("A", (1,), (2, 3, 4)), *output_gate(nonlinearity))

    def widths(self, liv: LivSpec, dims: Dimensions) -> dict[str, int]:
        keys, values = dims.num_heads * dims.head_dim, dims.num_heads * value_head_dim(liv, dims)
        return dict.fromkeys("CBA", keys) | dict.fromkeys("VZ", values)

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        own = liv.group("A").width(dims) + value_head_dim(liv, dims)  # bias of the decay; gain of the norm
        return own + self.out_params(liv, liv.group("V").width(dims), dims)

    def cache_spec(self, liv: LivSpec, dims: Dimensions) -> tuple[CacheEntry, ...]:
        return (CacheEntry("", fixed=liv.group("V").width(dims) * dims.head_dim),)

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        width = liv.group("V").width(dims)
        return tokens * width * (5 * dims.head_dim + 2 * dims.d_model)  # decay 1, write 2, read 2; output

    def equation(self, liv: LivSpec) -> str:
        text = gated("y_i = norm(C_i S_i / sqrt(head_dim))", liv)
        return f"{text},  S_i = diag(a_i) S_(i-1) + B_i V_i^T,  a = sigmoid(A + bias)^(1/16)"


class DeltaRuleRules(GatedLinearRules):
    """The gated delta rule: every write first erases what its key held."""

    structure = Structure.DELTA_RULE
    token_mixing = TokenMixing.HOUSEHOLDER
    token_meaning = "semi-separable, erasing along a key before it writes: the delta rule"
    hue = 345
    relative_time = 9.0
    supported = ("num_heads", "num_key_heads", "head_dim", "value_head_dim")

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        maps = tuple(Choices(role, MIXED, (2, 3, 4)) for role in "CBV")
        rates = tuple(Choices(role, (1,), (2,), repeat=(WITHIN_HEAD,)) for role in "AW")
        return (*maps, *rates, *output_gate(nonlinearity))

    def widths(self, liv: LivSpec, dims: Dimensions) -> dict[str, int]:
        heads = dims.num_heads
        key_heads = liv.overrides.num_key_heads or heads
        check_divides(liv.name, "num_key_heads", key_heads, "num_heads", heads)
        keys, values = key_heads * dims.head_dim, heads * value_head_dim(liv, dims)
        return dict.fromkeys("CB", keys) | dict.fromkeys("VZ", values) | dict.fromkeys("AW", heads)

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        own = 2 * liv.group("A").width(dims) + value_head_dim(liv, dims)  # rate and step bias of each head; gain
        return own + self.out_params(liv, liv.group("V").width(dims), dims)

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        width = liv.group("V").width(dims)
        return tokens * width * (7 * dims.head_dim + 2 * dims.d_model)  # decay 1, erase 2, write 2, read 2; output

    def equation(self, liv: LivSpec) -> str:
        text = gated("y_i = norm(C_i S_i / sqrt(head_dim))", liv)
        return (
            f"{text},  S_i = a_i (I - w_i B_i B_i^T) S_(i-1) + w_i B_i V_i^T,  "
            "a = exp(-r softplus(A + bias)), w = sigmoid(W), |B| = |C| = 1"
        )


class GatedRecurrenceRules(StructureRules):
    """RG-LRU: one state a channel, its input scaled by what the decay leaves free."""

    structure = Structure.GATED_RECURRENCE
    role_names = {"C": "gate of the output", "B": "gate of the input", "V": "value"}
    token_mixing = TokenMixing.NORM_PRESERVING
    token_meaning = "semi-separable, the input scaled by what the decay leaves free"
    hue = 70
    channel_mixing = ChannelMixing.DIAGONAL
    nonlinearities = tuple(GATED_C)
    relative_time = 3.0
    supported = ("d_inner", "num_heads", "chained")
    chains = "BA"

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        c, v = (Choices(role, MIXED, (2, 3, 4)) for role in "CV")
        b, a = (Choices(role, (1,), (2, 3, 4)) for role in "BA")
        return (c, b, v, a)

    def widths(self, liv: LivSpec, dims: Dimensions) -> dict[str, int]:
        inner = liv.overrides.d_inner or dims.d_model
        check_divides(liv.name, "num_heads", dims.num_heads, "d_inner", inner)
        return dict.fromkeys("CBVA", inner)

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        width = liv.group("V").width(dims)
        return 3 * width + self.out_params(liv, width, dims)  # rate, biases of the two gates; output

    def cache_spec(self, liv: LivSpec, dims: Dimensions) -> tuple[CacheEntry, ...]:
        return (CacheEntry("", fixed=liv.group("V").width(dims)),)

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        return tokens * liv.group("V").width(dims) * (2 + 2 * dims.d_model)

    def equation(self, liv: LivSpec) -> str:
        return (
            f"y_i = {GATED_C[liv.nonlinearity]} * h_i,  "
            "h_i = a_i * h_(i-1) + sqrt(1 - a_i^2) * sigmoid(B_i + bias) * V_i,  "
            "a = exp(-8 softplus(r) sigmoid(A + bias'))"
        )


STRUCTURES = (
    SelectiveScanRules(),
    StateSpaceRules(),
    GatedLinearRules(),
    DeltaRuleRules(),
    GatedRecurrenceRules(),
)
