"""What follows from the settings of a run: scales, target, limits, space of genomes, rungs."""

from collections.abc import Iterable
from dataclasses import fields, replace

from star.architecture.catalogue import find_scale
from star.architecture.genome import DECKS, EMPTY, Rates, Space
from star.architecture.scales import Scale
from star.cost.cost import DTYPE_BYTES
from star.cost.limits import LIMITS
from star.cost.target import Screen, Target, value_of, write_exactly
from star.errors import UserError
from star.records import Genome
from star.run.settings import RunConfig, find_target


def trained_scale(config: RunConfig) -> Scale:
    """The named scale with this run's number of slots, window, tokens and balance."""
    config = config.resolved()
    return replace(_fitted(find_scale(config.scale), config), num_slots=config.slots, recipe=config.recipe)


def rung_steps(config: RunConfig) -> tuple[int, ...]:
    """The training steps after which a proxy is judged, in order; the full training is no such rung."""
    config = config.resolved()
    steps = trained_scale(config).recipe.steps
    return tuple(steps // config.eta**left for left in range(config.rungs - 1, 0, -1))


def target_scale(config: RunConfig) -> Scale:
    """The scale at which costs are counted, with this run's window; its number of slots is its own if it is another
    scale than the one that is trained."""
    config = config.resolved()
    target = _fitted(find_target(config), config)
    return replace(target, num_slots=config.slots) if config.target == config.scale else target


def _fitted(scale: Scale, config: RunConfig) -> Scale:
    return replace(scale, dims=replace(scale.dims, window=config.window or scale.dims.window))


def target_of(config: RunConfig) -> Target:
    """The target of a run."""
    config = config.resolved()
    scale = target_scale(config)
    return Target(
        dims=scale.dims,
        num_slots=0 if config.target == config.scale else scale.num_slots,
        context=config.context,
        dtype_bytes=DTYPE_BYTES[config.dtype],
        batch=config.batch,
    )


def screen_of(config: RunConfig) -> Screen:
    """The screen of a run."""
    return Screen(trained_scale(config).dims, target_of(config), config.limits)


def check_limits(config: RunConfig) -> None:
    """UserError that names the least possible value if a limit lies below what any genome of the run costs, or if no
    operator of its deck can be built.

    A sum over slots, of each of which the first of its class may cost more than the others that share with it, is least
    for one class in all slots; or for empty ones.
    """
    config = config.resolved()
    screen = screen_of(config)
    costs = [cost for genome in _cheapest(config) if (cost := screen.cost(genome)) is not None]
    if not costs:
        raise UserError(f"no operator of deck {config.deck} can be built at {config.scale} and {config.target}")
    for name, limit in config.limits.items():
        least = min(value_of(cost, name) for cost in costs)
        if least > limit:
            raise UserError(
                f"{name} {write_exactly(limit)} is less than any architecture costs at {config.target}: the least "
                f"{LIMITS[name]} found is {least:,.0f}"
            )


def _cheapest(config: RunConfig) -> Iterable[Genome]:
    """One class in all slots, sharing nothing or all of its weights and some of its features; no operator at all if
    slots may be empty, or if operators evolve, whose costs the deck then does not bound."""
    if config.levels == "all" or EMPTY in DECKS[config.deck]:
        yield (EMPTY, 1, 1, 1, 1)
    for number in DECKS[config.deck]:
        for strategies in ((1, 1), (2, 1), (2, 2), (2, 3), (2, 4)):
            yield (number, 1, strategies[0], 1, strategies[1]) * config.slots


def space_of(config: RunConfig) -> Space:
    """The genomes among which a run searches, and how often they change."""
    config = config.resolved()
    rates = Rates(**{field.name: getattr(config, field.name) for field in fields(Rates)})
    return Space(config.slots, config.deck, config.levels, rates)
