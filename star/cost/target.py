"""Price architectures at deployment size, and find those that exceed the limits of a run.

    memory_bytes = params x dtype_bytes + batch x cache_bytes

A backbone is the pattern that is repeated to the target's depth (docs/decisions/0008-target.md). Costs are known before
anything is trained, so that limits on them decide what is trained at all.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

from star.architecture.genome import DECKS, EMPTY, Space, canonical, decode, tile
from star.architecture.spec import Dimensions, Slot
from star.cost.cost import memory_bytes, price
from star.cost.limits import LIMITS, write_limit
from star.errors import SettingError, UserError
from star.records import Genome

CACHED = 65_536  # genomes whose costs a screen remembers


class TargetCost(NamedTuple):
    """Costs at a target, by the names of their columns. The cache is that of one sequence; memory is that of the
    weights and of the caches of all sequences decoded at once.
    """

    params: int
    cache_bytes: int
    flops_per_token: float
    memory_bytes: int

    def columns(self) -> dict[str, float]:
        """Return the costs by column, as records hold them."""
        return {name: float(value) for name, value in self._asdict().items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The sizes at which costs are priced. A backbone is repeated to `num_slots` slots, or left as it is if that is 0.
    Weights and caches take `dtype_bytes` bytes per element; scales of quantised ones are not counted.
    """

    dims: Dimensions
    num_slots: int = 0
    context: int
    dtype_bytes: float
    batch: int = 1

    def slots(self, genome: Genome) -> tuple[Slot, ...]:
        """Return the slots of a genome, repeated to the depth of the target. Those of equal architectures are equal,
        wherever empty slots stand in a backbone.
        """
        genome = canonical(genome)
        return decode(tile(genome, self.num_slots) if self.num_slots else genome)

    def count(self, genome: Genome) -> TargetCost:
        """Return the costs of a genome. Raise UserError if it cannot be built at the target."""
        cost = price(self.slots(genome), self.dims, self.context, self.dtype_bytes)
        memory = memory_bytes(cost, self.batch, self.dtype_bytes)
        return TargetCost(cost.params, cost.cache_bytes, cost.flops_per_token, memory)


class Outside(Protocol):
    """A test whether genomes lie in a family of models."""

    name: str

    def share(self, genome: Genome) -> float:
        """Return 0 for a genome that lies in the family, else the share of its slots that keep it out, above 0."""
        ...

    def reason(self, genome: Genome) -> str:
        """Return what keeps a genome out."""
        ...


class Screen:
    """Find infeasible genomes: what cannot be built at the trained scale or the target, is beyond a limit, or lies
    outside of a family.
    """

    def __init__(
        self, scale: Dimensions, target: Target, limits: dict[str, float], outside: Outside | None = None
    ) -> None:
        self.limits = limits
        self._scale = scale
        self._target = target
        self._outside = outside
        self._examined = lru_cache(CACHED)(self._examine)

    @property
    def num_constraints(self) -> int:
        """The number of values that `violations` returns."""
        return len(self.limits) + bool(self._outside)

    def cost(self, genome: Genome) -> TargetCost | None:
        """Return the costs of a genome at the target, or None if it cannot be built."""
        cost = self._examined(genome)
        return None if isinstance(cost, str) else cost

    def violations(self, genome: Genome) -> tuple[float, ...] | None:
        """Return (value - limit) / limit for each limit, positive beyond it, and, if there is a family, the share of
        slots that keep the genome out of it; None if the genome cannot be built.
        """
        cost = self.cost(genome)
        if cost is None:
            return None
        beyond = tuple((_value(cost, name) - limit) / limit for name, limit in self.limits.items())
        return (*beyond, self._outside.share(genome)) if self._outside else beyond

    def refusal(self, genome: Genome) -> str:
        """Return why a genome is infeasible, in one sentence, or an empty text."""
        cost = self._examined(genome)
        if isinstance(cost, str):
            return cost
        found = [
            f"{LIMITS[name]} {_value(cost, name):,.0f} > {name} {_exact(self.limits[name])}"
            for name in self._beyond(cost)
        ]
        if self._outside and self._outside.share(genome):
            found.append(f"outside of {self._outside.name}: {self._outside.reason(genome)}")
        return "; ".join(found)

    def reasons(self, genome: Genome) -> tuple[str, ...]:
        """Return why a genome is infeasible, one text for each limit without this genome's own figures, so that they
        can be counted.
        """
        cost = self._examined(genome)
        if isinstance(cost, str):
            return (cost,)
        found = tuple(f"{LIMITS[name]} > {name} {write_limit(name, self.limits[name])}" for name in self._beyond(cost))
        is_outside = self._outside and self._outside.share(genome)
        return (*found, f"outside of {self._outside.name}") if self._outside and is_outside else found

    def _beyond(self, cost: TargetCost) -> list[str]:
        return [name for name, limit in self.limits.items() if _value(cost, name) > limit]

    def _examine(self, genome: Genome) -> TargetCost | str:
        try:
            price(decode(genome), self._scale)
            return self._target.count(genome)
        except UserError as error:
            return str(error)


def check_limits(screen: Screen, space: Space, scale: str, target: str) -> None:
    """Raise SettingError with the least possible value if a limit lies below what any genome of the space costs, or
    UserError if no operator of its deck can be built at the trained scale and at the target.

    A sum over slots, of each of which the first of its class may cost more than the others that share with it, is least
    for one class in all slots; or for empty ones.
    """
    costs = [cost for genome in _cheapest(space) if (cost := screen.cost(genome)) is not None]
    if not costs:
        raise UserError(f"no operator of deck {space.deck} can be built at {scale} and {target}")
    for name, limit in screen.limits.items():
        least = min(_value(cost, name) for cost in costs)
        if least > limit:
            raise SettingError(
                name,
                f"{_exact(limit)} is less than any architecture costs at {target}: the least {LIMITS[name]} found is "
                f"{least:,.0f}",
            )


def _cheapest(space: Space) -> Iterable[Genome]:
    """Yield genomes of one class in all slots, sharing nothing, or all weights and some features; and one without
    operators if slots may be empty or operators evolve, so that the deck does not bound their costs.
    """
    if space.levels == "all" or EMPTY in DECKS[space.deck]:
        yield (EMPTY, 1, 1, 1, 1)
    for number in DECKS[space.deck]:
        for strategies in ((1, 1), (2, 1), (2, 2), (2, 3), (2, 4)):
            yield (number, 1, strategies[0], 1, strategies[1]) * space.num_slots


def _exact(limit: float) -> str:
    return f"{limit:,.0f}" if limit >= 1 else f"{limit:g}"


def _value(cost: TargetCost, limit: str) -> float:
    return getattr(cost, LIMITS[limit])
