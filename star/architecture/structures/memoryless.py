"""Diagonal token mixing: gated units that depend on one token alone, dense or routed to experts."""

import math
from dataclasses import replace
from types import MappingProxyType

from star.architecture.codes import GATED_RATIO, ChannelMixing, Nonlinearity, Structure, TokenMixing
from star.architecture.spec import Dimensions, FeatureGroup, LivSpec, OperatorOverrides
from star.architecture.structures.feature import feature_flops, feature_params
from star.architecture.structures.structure import Choices, StructureRules, Tie
from star.errors import UserError

RATIOS = (1, 2, 3, 4)
NAMES = {
    Nonlinearity.NONE: "",
    Nonlinearity.RELU: "relu",
    Nonlinearity.SWISH: "swish",
    Nonlinearity.GELU: "gelu",
    Nonlinearity.SQUARED_RELU: "relu^2",
    Nonlinearity.GATED_SQUARED_RELU: "relu^2",
    Nonlinearity.XIELU: "xielu",
    Nonlinearity.CLIPPED_SWISH: "swish",
}
UNGATED = (Nonlinearity.SQUARED_RELU, Nonlinearity.XIELU)
CLIPPING = ("clip_limit", "swish_slope", "value_shift")
XIELU = ",  xielu(c) = c / 2 + (softplus(p) c^2 if c > 0, else (1/2 + softplus(n)) (exp(c) - 1 - c))"


class MemorylessRules(StructureRules):
    """y = W (sigma(C) V), or W sigma(C) with the squared ReLU and xIELU, which need no gate."""

    structure = Structure.MEMORYLESS
    role_names = {"C": "gate", "V": "value, which the gate multiplies"}
    token_mixing = TokenMixing.DIAGONAL
    token_meaning = "diagonal: every token on its own"
    hue = 285
    channel_mixing = ChannelMixing.DENSE
    nonlinearities = tuple(NAMES)
    shareable = "CV"
    ties = (Tie("V", "C", (2,)),)
    kept_per_flop = 0.0
    supported = ("d_ff", "gate", "out_norm", *CLIPPING)

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        gate = Choices("C", (1, 3, 7), (2, 4), RATIOS)
        value = Choices("V", (1, 3, 7), (2, 4), RATIOS)
        return (gate,) if nonlinearity in UNGATED else (gate, value)

    def widths(self, liv: LivSpec, dims: Dimensions) -> dict[str, int]:
        return dict.fromkeys("CV", liv.overrides.d_ff or liv.group("C").width(dims))

    def dropped_roles(self, overrides: OperatorOverrides) -> str:
        return "V" if overrides.gate is False else ""

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        width = liv.group("C").width(dims)
        own = 2 * (liv.nonlinearity is Nonlinearity.XIELU) + width * bool(liv.overrides.out_norm)
        return self.out_params(liv, width, dims) + own

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        return 2 * tokens * liv.group("C").width(dims) * dims.d_model

    def equation(self, liv: LivSpec) -> str:
        text = unit_text(liv, "C_i", "V_i" if liv.has("V") else "")
        text = f"y_i = norm({text})" if liv.overrides.out_norm else f"y_i = {text}"
        return text + XIELU if liv.nonlinearity is Nonlinearity.XIELU else text


class RoutedRules(MemorylessRules):
    """A memoryless unit with C and V of the k experts that a router chooses."""

    structure = Structure.ROUTED
    channel_mixing = ChannelMixing.ROUTED
    channel_meaning = "routed: the best of several experts"
    nonlinearities = tuple(one for one in NAMES if one is not Nonlinearity.XIELU)
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
    supported = ("d_ff", "num_experts", "experts_per_token", "gate", "scoring", "normalised", "routed_scale")
    supported += ("selection_bias", *CLIPPING)

    def choices(self, nonlinearity: Nonlinearity) -> tuple[Choices, ...]:
        gated = nonlinearity not in UNGATED
        width = {"expansion": RATIOS, "repeat": (1, 2, 4, 8)}
        found = [Choices(role, (1,), (2,), **width) for role in ("CV" if gated else "C")]
        found.append(Choices("R", (1,), (2,), (2, 4, 8, 16, 32), (1, 2, 4, 8)))
        if self.channel_mixing is ChannelMixing.ROUTED_SHARED:
            found += [Choices(role, (1,), (2,), **width) for role in ("SU" if gated else "S")]
        return tuple(found)

    def canonicalise(self, rows: dict[str, list[int]]) -> None:
        for role in "CS":
            if role in rows and rows[role][2] != GATED_RATIO:  # 4 / 8 is 1 / 2
                common = math.gcd(*rows[role][2:])
                rows[role][2:] = (gene // common for gene in rows[role][2:])
        super().canonicalise(rows)
        router = rows["R"]
        router[3] = min(router[3], router[2])

    def explain(self, role: str, wanted: int) -> str:
        return super().explain(role, wanted).replace("must be", "must be at most" if role == "R" else "must be")

    def group_params(self, liv: LivSpec, group: FeatureGroup, dims: Dimensions) -> int:
        experts = liv.group("R").expansion if group.role in "CV" else 1
        return experts * feature_params(group, dims)

    def widths(self, liv: LivSpec, dims: Dimensions) -> dict[str, int]:
        widths = dict.fromkeys("CV", liv.overrides.d_ff or liv.group("C").width(dims))
        if liv.has("S"):
            widths |= dict.fromkeys("SU", liv.overrides.d_shared or liv.group("S").width(dims))
        return widths

    def dropped_roles(self, overrides: OperatorOverrides) -> str:
        return "VU" if overrides.gate is False else ""

    def override_group(self, overrides: OperatorOverrides, group: FeatureGroup, widths: dict[str, int]) -> FeatureGroup:
        group = super().override_group(overrides, group, widths)
        if group.role != "R":
            return group
        experts, chosen = overrides.num_experts or group.expansion, overrides.experts_per_token or group.repeat
        if chosen > experts:
            raise UserError(f"a token cannot go through {chosen} of {experts} experts")
        return replace(group, expansion=experts, repeat=chosen)

    def params(self, liv: LivSpec, dims: Dimensions) -> int:
        shared = self.out_params(liv, liv.group("S").width(dims), dims) if liv.has("S") else 0
        gate = dims.d_model if liv.overrides.shared_gate else 0
        experts = liv.group("R").expansion
        bias = experts if liv.overrides.selection_bias else 0
        return experts * self.out_params(liv, liv.group("C").width(dims), dims) + shared + gate + bias

    def inactive_group_params(self, liv: LivSpec, group: FeatureGroup, dims: Dimensions) -> int:
        router = liv.group("R")
        return (router.expansion - router.repeat) * feature_params(group, dims) if group.role in "CV" else 0

    def inactive_params(self, liv: LivSpec, dims: Dimensions) -> int:
        router = liv.group("R")
        return (router.expansion - router.repeat) * self.out_params(liv, liv.group("C").width(dims), dims)

    def group_flops(self, liv: LivSpec, group: FeatureGroup, dims: Dimensions, tokens: int) -> int:
        chosen = liv.group("R").repeat if group.role in "CV" else 1
        return chosen * feature_flops(group, dims, tokens)

    def flops(self, liv: LivSpec, dims: Dimensions, tokens: int) -> int:
        width = liv.group("R").repeat * liv.group("C").width(dims) + liv.overrides.shared_gate
        return 2 * tokens * (width + (liv.group("S").width(dims) if liv.has("S") else 0)) * dims.d_model

    def equation(self, liv: LivSpec) -> str:
        router, expert = liv.group("R"), unit_text(liv, "C_ie", "V_ie" if liv.has("V") else "")
        text = f"y_i = sum over the best {router.repeat} of {router.expansion} experts e of g_ie W_e ({expert})"
        if liv.has("S"):
            shared = unit_text(liv, "S_i", "U_i" if liv.has("U") else "")
            text += f" + sigmoid(x . w) W_S ({shared})" if liv.overrides.shared_gate else f" + W_S ({shared})"
        score, is_normalised = scoring_of(liv)
        factor = "" if liv.overrides.routed_scale == 1 else f"{liv.overrides.routed_scale:g} "
        return f"{text},  g = {factor}{score}(R){' / its sum over them' if is_normalised else ''}"


class RoutedSharedRules(RoutedRules):
    """A routed unit beside experts that serve every token."""

    channel_mixing = ChannelMixing.ROUTED_SHARED
    channel_meaning = "routed, beside experts that serve every token"
    supported = (*RoutedRules.supported, "d_shared", "shared_gate")


STRUCTURES = (MemorylessRules(), RoutedRules(), RoutedSharedRules())


def unit_text(liv: LivSpec, gate: str, value: str) -> str:
    """Return the output of a unit from its features, as text; `value` is empty without a feature V."""
    name, overrides = NAMES[liv.nonlinearity], liv.overrides
    if liv.nonlinearity is Nonlinearity.CLIPPED_SWISH:
        if overrides.clip_limit:
            gate, value = f"min({gate}, {overrides.clip_limit:g})", value and f"clip({value}, {overrides.clip_limit:g})"
        name = f"{name}_{overrides.swish_slope:g}"
        value = f"({value} + {overrides.value_shift:g})" if value and overrides.value_shift else value
    gate = f"{name}({gate})" if name else gate
    return f"{gate} * {value}" if value else gate


def scoring_of(liv: LivSpec) -> tuple[str, bool]:
    """Return the scoring of experts, and whether the gates of the chosen ones are normalised to sum to 1."""
    overrides = liv.overrides
    is_normalised = liv.group("R").repeat > 1 if overrides.normalised is None else overrides.normalised
    return overrides.scoring or "sigmoid", is_normalised
