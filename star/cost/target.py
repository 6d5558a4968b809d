"""What an architecture costs where it will be used, and which ones are too large for that.

    memory_bytes = params x dtype_bytes + batch x cache_bytes

A backbone is the pattern that is repeated to the target's depth (docs/decisions/0008-target.md). Costs are known before
anything is trained, so that limits on them decide what is trained at all.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from star.architecture.genome import canonical, decode, tile
from star.architecture.spec import Dimensions
from star.cost.cost import memory_bytes, price
from star.cost.limits import LIMITS, write_limit
from star.errors import UserError
from star.records import Genome

CACHED = 65_536  # genomes whose costs a screen remembers


class TargetCost(NamedTuple):
    """Costs at a target, by the names of their columns. The cache is that of one sequence, memory is that of the
    weights and of the caches of all sequences decoded side by side."""

    params: int
    cache_bytes: int
    flops_per_token: float
    memory_bytes: int

    def columns(self) -> dict[str, float]:
        """As records hold them."""
        return {name: float(value) for name, value in self._asdict().items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where costs are counted. A backbone is repeated to `num_slots` slots, or left as it is if that is 0. Weights and
    caches take `dtype_bytes` bytes an element; scales of quantised ones are not counted."""

    dims: Dimensions
    num_slots: int = 0
    context: int
    dtype_bytes: float
    batch: int = 1

    def count(self, genome: Genome) -> TargetCost:
        """The costs of a genome. Equal architectures cost the same: where empty slots stand in a backbone is
        irrelevant. UserError if it cannot be built at the target."""
        genome = canonical(genome)
        slots = decode(tile(genome, self.num_slots) if self.num_slots else genome)
        cost = price(slots, self.dims, self.context, self.dtype_bytes)
        memory = memory_bytes(cost, self.batch, self.dtype_bytes)
        return TargetCost(cost.params, cost.cache_bytes, cost.flops_per_token, memory)


class Screen:
    """Tells which genomes a run does not train: those that cannot be built at its scale or at its target, and those
    that cost more there than its limits allow."""

    def __init__(self, scale: Dimensions, target: Target, limits: dict[str, float]) -> None:
        self.limits = limits
        self._scale = scale
        self._target = target
        self._examined = lru_cache(CACHED)(self._examine)

    def cost(self, genome: Genome) -> TargetCost | None:
        """Its costs at the target; None if it cannot be built."""
        cost = self._examined(genome)
        return None if isinstance(cost, str) else cost

    def violations(self, genome: Genome) -> tuple[float, ...] | None:
        """For each limit (value - limit) / limit, which is positive beyond it; None if it cannot be built."""
        cost = self.cost(genome)
        if cost is None:
            return None
        return tuple((value_of(cost, name) - limit) / limit for name, limit in self.limits.items())

    def refusal(self, genome: Genome) -> str:
        """Why a genome is not trained, in one sentence; empty if it is."""
        cost = self._examined(genome)
        if isinstance(cost, str):
            return cost
        return "; ".join(
            f"{LIMITS[name]} {value_of(cost, name):,.0f} > {name} {write_exactly(self.limits[name])}"
            for name in self._beyond(cost)
        )

    def reasons(self, genome: Genome) -> tuple[str, ...]:
        """The same without what this genome costs, so that reasons can be counted: one for each limit."""
        cost = self._examined(genome)
        if isinstance(cost, str):
            return (cost,)
        return tuple(f"{LIMITS[name]} > {name} {write_limit(name, self.limits[name])}" for name in self._beyond(cost))

    def _beyond(self, cost: TargetCost) -> list[str]:
        return [name for name, limit in self.limits.items() if value_of(cost, name) > limit]

    def _examine(self, genome: Genome) -> TargetCost | str:
        try:
            price(decode(genome), self._scale)
            return self._target.count(genome)
        except UserError as error:
            return str(error)


def write_exactly(limit: float) -> str:
    return f"{limit:,.0f}" if limit >= 1 else f"{limit:g}"


def value_of(cost: TargetCost, limit: str) -> float:
    return getattr(cost, LIMITS[limit])
