"""What a search can minimise: a table of named functions of what is known of an architecture after its evaluation.

Costs are those of the target; latency is measured on the proxy itself, on one thread of the machine that trained it,
and two runs with one seed do not agree on it: a run that minimises `latency` or `prefill` does not repeat itself.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from star.latency import Latency
from star.scales import nearest
from star.spec import UserError
from star.target import TargetCost
from star.training import Fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an evaluation found out; the latency only if an objective asks for it."""

    cost: TargetCost
    fit: Fit
    latency: Latency | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One quantity to minimise. `column` names it in files; values are in `unit` and natural sign."""

    name: str
    column: str
    unit: str
    title: str
    value: Callable[[Outcome], float]
    needs_latency: bool = False


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective(
            name="quality",
            column="quality_bpb",
            unit="bits per byte",
            title="Validation bits per byte",
            value=lambda outcome: outcome.fit.quality_bpb,
        ),
        Objective(
            name="params",
            column="params",
            unit="parameters",
            title="Parameters",
            value=lambda outcome: float(outcome.cost.params),
        ),
        Objective(
            name="cache",
            column="cache_bytes",
            unit="bytes",
            title="Cache size",
            value=lambda outcome: float(outcome.cost.cache_bytes),
        ),
        Objective(
            name="memory",
            column="memory_bytes",
            unit="bytes",
            title="Memory of weights and caches",
            value=lambda outcome: float(outcome.cost.memory_bytes),
        ),
        Objective(
            name="flops",
            column="flops_per_token",
            unit="FLOPs",
            title="Forward FLOPs per token",
            value=lambda outcome: outcome.cost.flops_per_token,
        ),
        Objective(
            name="latency",
            column="decode_ms",
            unit="ms",
            title="Milliseconds per decoded token",
            value=lambda outcome: outcome.latency.decode_ms if outcome.latency else math.nan,
            needs_latency=True,
        ),
        Objective(
            name="prefill",
            column="prefill_ms",
            unit="ms",
            title="Milliseconds to read a full context",
            value=lambda outcome: outcome.latency.prefill_ms if outcome.latency else math.nan,
            needs_latency=True,
        ),
    )
}


def find_objectives(names: tuple[str, ...]) -> tuple[Objective, ...]:
    """The objectives of those names, in that order; UserError with the nearest right name otherwise."""
    for name in names:
        if name not in OBJECTIVES:
            raise UserError(f"unknown objective {name!r}{nearest(name, OBJECTIVES)}")
    return tuple(OBJECTIVES[name] for name in names)
