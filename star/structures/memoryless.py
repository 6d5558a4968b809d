"""Diagonal token mixing: gated units that look at one token, dense or routed to experts."""

import math
from types import MappingProxyType

from star.spec import (
    GATED_RATIO,
    ChannelMixing,
    Dimensions,
    FeatureGroup,
    LivSpec,
    Nonlinearity,
    Structure,
    TokenMixing,
)
from star.structures.feature import feature_flops, feature_params
from star.structures.structure import Choices, StructureRules, Tie

RATIOS = (1, 2, 3, 4)
NAMES = {
    Nonlinearity.NONE: "",
    Nonlinearity.RELU: "relu",
    Nonlinearity.SWISH: "swish",
    Nonlinearity.GELU: "gelu",
    Nonlinearity.SQUARED_RELU: "relu^2",
}


class MemorylessRules(StructureRules):
    """y = W (sigma(C) V), or W sigma(C) with the squared ReLU, which needs no gate."""

    structure = Structure.MEMORYLESS
    token_mixing = TokenMixing.DIAGONAL
    channel_mixing = ChannelMixing.DENSE
    nonlinearities = tuple(NAMES)
    shareable = "CV"
    ties = (Tie("V", "C", (2,)),)

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        gate = Choices("C", (1, 3, 7), (2, 4), RATIOS)
        value = Choices("V", (1, 3, 7), (2, 4), RATIOS)
        return (gate,) if nonlinearity is Nonlinearity.SQUARED_RELU else (gate, value)

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        return liv.group("C").width(dims) * dims.d_model

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        return 2 * tokens * self.params(liv, dims)

    def equation(self, liv: LivSpec) -> str:
        gate = f"{NAMES[liv.nonlinearity]}(C_i)" if NAMES[liv.nonlinearity] else "C_i"
        return f"y_i = {gate} * V_i" if liv.has("V") else f"y_i = {gate}"


class RoutedRules(StructureRules):
    """The same with C and V of the k experts that a router chooses, and perhaps of experts that serve every token."""

    structure = Structure.ROUTED
    token_mixing = TokenMixing.DIAGONAL
    channel_mixing = ChannelMixing.ROUTED
    nonlinearities = tuple(NAMES)
    shareable = "CV"
    ties = (Tie("V", "C", (2, 3)), Tie("U", "S", (2, 3)))
    conditions = MappingProxyType(
        {
            "R": "a token goes through no more experts than there are",
            "C": "a width is written in lowest terms",
            "S": "a width is written in lowest terms",
        }
    )
    deferred = "CV"
    relative_time = 3.0

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        gated = nonlinearity is not Nonlinearity.SQUARED_RELU
        width = {"expansion": RATIOS, "repeat": (1, 2, 4, 8)}
        found = [Choices(role, (1,), (2,), **width) for role in ("CV" if gated else "C")]
        found.append(Choices("R", (1,), (2,), (2, 4, 8, 16, 32), (1, 2, 4, 8)))
        if self.channel_mixing is ChannelMixing.ROUTED_SHARED:
            found += [Choices(role, (1,), (2,), **width) for role in ("SU" if gated else "S")]
        return tuple(found)

    def settle(self, rows: dict[str, list[int]]) -> None:
        for role in "CS":
            if role in rows and rows[role][2] != GATED_RATIO:  # 4 / 8 is 1 / 2
                common = math.gcd(*rows[role][2:])
                rows[role][2:] = (gene // common for gene in rows[role][2:])
        super().settle(rows)
        router = rows["R"]
        router[3] = min(router[3], router[2])

    def demand(self, role: str, wanted: int) -> str:
        return super().demand(role, wanted).replace("must be", "must be at most" if role == "R" else "must be")

    def group_params(self, liv: LivSpec, group: FeatureGroup, dims: Dimensions) -> int:
        experts = liv.group("R").expansion if group.role in "CV" else 1
        return experts * feature_params(group, dims)

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        experts = liv.group("R").expansion
        shared = liv.group("S").width(dims) if liv.has("S") else 0
        return (experts * liv.group("C").width(dims) + shared) * dims.d_model + experts  # and a bias for balance

    def idle_group_params(self, liv: LivSpec, group: FeatureGroup, dims: Dimensions) -> int:
        router = liv.group("R")
        return (router.expansion - router.repeat) * feature_params(group, dims) if group.role in "CV" else 0

    def idle_params(self, liv: LivSpec, dims: Dimensions) -> int:
        router = liv.group("R")
        return (router.expansion - router.repeat) * liv.group("C").width(dims) * dims.d_model

    def group_flops(self, liv: LivSpec, group: FeatureGroup, dims: Dimensions, tokens: int) -> int:
        chosen = liv.group("R").repeat if group.role in "CV" else 1
        return chosen * feature_flops(group, dims, tokens)

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        width = liv.group("R").repeat * liv.group("C").width(dims)
        return 2 * tokens * (width + (liv.group("S").width(dims) if liv.has("S") else 0)) * dims.d_model

    def equation(self, liv: LivSpec) -> str:
        name, router = NAMES[liv.nonlinearity], liv.group("R")
        expert = (f"{name}(C_ie)" if name else "C_ie") + (" * V_ie" if liv.has("V") else "")
        text = f"y_i = sum over the best {router.repeat} of {router.expansion} experts e of g_ie W_e ({expert})"
        if liv.has("S"):
            shared = (f"{name}(S_i)" if name else "S_i") + (" * U_i" if liv.has("U") else "")
            text += f" + W_S ({shared})"
        return f"{text},  g = sigmoid(R){' / its sum over them' if router.repeat > 1 else ''}"


class RoutedSharedRules(RoutedRules):
    """Routed, beside experts that serve every token."""

    channel_mixing = ChannelMixing.ROUTED_SHARED
