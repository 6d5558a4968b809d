"""Semi-separable token mixing: linear recurrences, with a state for each channel or a matrix for each head."""

from star.spec import (
    WITHIN_HEAD,
    ChannelMixing,
    Dimensions,
    LivSpec,
    Nonlinearity,
    Structure,
    TokenMixing,
)
from star.structures.convolution import GATED_C
from star.structures.structure import CacheEntry, Choices, StructureRules, Tie

MIXED = (1, 3, 7)
STATES = (1, 2, 4, 8, 16, 32, 64)
GATES = (Nonlinearity.NONE, Nonlinearity.SWISH)


def output_gate(nonlinearity: Nonlinearity, expansion: tuple[int, ...] = (1,)) -> tuple[Choices, ...]:
    """The group Z, which structures with a nonlinearity have."""
    return () if nonlinearity is Nonlinearity.NONE else (Choices("Z", (1,), (2, 3, 4), expansion),)


def gated(text: str, liv: LivSpec) -> str:
    """An equation with the output gate, if there is one."""
    return f"{text} * swish(Z_i)" if liv.has("Z") else text


class SelectiveScanRules(StructureRules):
    """Mamba's S6: N states a channel, B and C serve all channels."""

    structure = Structure.SELECTIVE_SCAN
    token_mixing = TokenMixing.SEMI_SEPARABLE
    channel_mixing = ChannelMixing.DIAGONAL
    nonlinearities = GATES
    ties = (Tie("C", "B", (2,)), Tie("A", "V", (2,)), Tie("Z", "V", (2,)))
    relative_time = 16.0

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        return (
            Choices("C", MIXED, (2,), STATES, (0,)),
            Choices("B", MIXED, (2,), STATES, (0,)),
            Choices("V", MIXED, (2, 3, 4), (1, 2)),
            Choices("A", (1,), (2, 3, 4), (1, 2)),
            *output_gate(nonlinearity, (1, 2)),
        )

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        width = liv.group("V").width(dims)
        return width * liv.group("B").expansion + 2 * width + width * dims.d_model  # rates; skip, step bias; output

    def keeps(self, liv: LivSpec, dims: Dimensions) -> tuple[CacheEntry, ...]:
        return (CacheEntry("", fixed=liv.group("V").width(dims) * liv.group("B").expansion),)

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        width = liv.group("V").width(dims)
        states = 5 * width * liv.group("B").expansion  # decay 1, write 2, read 2
        return tokens * (states + 2 * width * dims.d_model)

    def equation(self, liv: LivSpec) -> str:
        text = "(C_i . h_i + skip * V_i)" if liv.has("Z") else "C_i . h_i + skip * V_i"
        return f"y_i = {gated(text, liv)},  h_i = exp(-s_i r) * h_(i-1) + s_i * V_i B_i,  s = softplus(A + bias)"


class StateSpaceRules(SelectiveScanRules):
    """Mamba-2's SSD: one decay a head, a matrix state."""

    structure = Structure.STATE_SPACE
    channel_mixing = ChannelMixing.GROUPED
    relative_time = 6.0

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        c, b, v, _, *gate = super().choices(nonlinearity)
        return (c, b, v, Choices("A", (1,), (2,), (1, 2), (WITHIN_HEAD,)), *gate)

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        width = liv.group("V").width(dims)
        gain = width if liv.has("Z") else 0
        return 3 * liv.group("A").width(dims) + gain + width * dims.d_model  # rate, step bias, skip of each head

    def equation(self, liv: LivSpec) -> str:
        text = "y_i = C_i S_i + skip * V_i"
        text = "y_i = norm((C_i S_i + skip * V_i) * swish(Z_i))" if liv.has("Z") else text
        return f"{text},  S_i = exp(-s_i r) S_(i-1) + s_i B_i V_i^T,  s = softplus(A + bias), r and s of a head"


class GatedLinearRules(StructureRules):
    """Gated linear attention: a decay for each key channel."""

    structure = Structure.GATED_LINEAR
    token_mixing = TokenMixing.KEY_DECAY
    channel_mixing = ChannelMixing.GROUPED
    nonlinearities = GATES
    relative_time = 6.0

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        maps = tuple(Choices(role, MIXED, (2, 3, 4)) for role in "CBV")
        return (*maps, Choices("A", (1,), (2, 3, 4)), *output_gate(nonlinearity))

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        return dims.d_model + dims.head_dim + dims.d_model**2  # bias of the decay; gain of the norm; output

    def keeps(self, liv: LivSpec, dims: Dimensions) -> tuple[CacheEntry, ...]:
        return (CacheEntry("", fixed=dims.d_model * dims.head_dim),)

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        d = dims.d_model
        return tokens * (5 * d * dims.head_dim + 2 * d * d)  # decay 1, write 2, read 2; output

    def equation(self, liv: LivSpec) -> str:
        text = gated("y_i = norm(C_i S_i / sqrt(head_dim))", liv)
        return f"{text},  S_i = diag(a_i) S_(i-1) + B_i V_i^T,  a = sigmoid(A + bias)^(1/16)"


class DeltaRuleRules(GatedLinearRules):
    """The gated delta rule: every write first erases what its key held."""

    structure = Structure.DELTA_RULE
    token_mixing = TokenMixing.HOUSEHOLDER
    relative_time = 9.0

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        maps = tuple(Choices(role, MIXED, (2, 3, 4)) for role in "CBV")
        rates = tuple(Choices(role, (1,), (2,), repeat=(WITHIN_HEAD,)) for role in "AW")
        return (*maps, *rates, *output_gate(nonlinearity))

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        return 2 * dims.num_heads + dims.head_dim + dims.d_model**2  # rate and step bias of each head; gain; output

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        d = dims.d_model
        return tokens * (7 * d * dims.head_dim + 2 * d * d)  # decay 1, erase 2, write 2, read 2; output

    def equation(self, liv: LivSpec) -> str:
        text = gated("y_i = norm(C_i S_i / sqrt(head_dim))", liv)
        return (
            f"{text},  S_i = a_i (I - w_i B_i B_i^T) S_(i-1) + w_i B_i V_i^T,  "
            "a = exp(-r softplus(A + bias)), w = sigmoid(W), |B| = |C| = 1"
        )


class GatedRecurrenceRules(StructureRules):
    """RG-LRU: one state a channel, its input scaled by what the decay leaves free."""

    structure = Structure.GATED_RECURRENCE
    token_mixing = TokenMixing.NORM_PRESERVING
    channel_mixing = ChannelMixing.DIAGONAL
    nonlinearities = tuple(GATED_C)
    relative_time = 3.0

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        c, v = (Choices(role, MIXED, (2, 3, 4)) for role in "CV")
        b, a = (Choices(role, (1,), (2, 3, 4)) for role in "BA")
        return (c, b, v, a)

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        return 3 * dims.d_model + dims.d_model**2  # rate, biases of the two gates; output

    def keeps(self, liv: LivSpec, dims: Dimensions) -> tuple[CacheEntry, ...]:
        return (CacheEntry("", fixed=dims.d_model),)

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        return tokens * (2 * dims.d_model + 2 * dims.d_model**2)

    def equation(self, liv: LivSpec) -> str:
        return (
            f"y_i = {GATED_C[liv.nonlinearity]} * h_i,  "
            "h_i = a_i * h_(i-1) + sqrt(1 - a_i^2) * sigmoid(B_i + bias) * V_i,  "
            "a = exp(-8 softplus(r) sigmoid(A + bias'))"
        )
