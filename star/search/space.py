"""The space of a configured run."""

from dataclasses import fields

from star.config import RunConfig
from star.genome import Rates, Space


def space_of(config: RunConfig) -> Space:
    """The genomes among which a run searches, and how often they change."""
    config = config.resolved()
    rates = Rates(**{field.name: getattr(config, field.name) for field in fields(Rates)})
    return Space(config.slots, config.deck, config.levels, rates)
