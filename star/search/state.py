"""The state of a search besides its survivors: the generator, the seeds left, and what some algorithms remember."""

import json
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from star.errors import UserError
from star.records import Generation, Genome
from star.search.algorithms import ALGORITHMS, Algorithm
from star.search.plan import Plan
from star.search.rates import Rates

OWN = ("algorithm", "rates", "seeds")  # in the JSON, beside the state of the generator


@dataclass(frozen=True, slots=True)
class SearchState:
    """Everything that changes as a search goes on, except its survivors and its counters."""

    rng: np.random.Generator
    algorithm: Algorithm
    rates: Rates | None
    seeds: list[Genome]

    @classmethod
    def begin(cls, plan: Plan, seeds: tuple[Genome, ...], kept: dict[str, Any] | None = None) -> Self:
        """Return the state of a new search, or of one that kept what `to_json` writes of algorithm and rates."""
        kind = ALGORITHMS[plan.algorithm].kind
        rates = Rates(kind.crosses, None if kept is None else kept["rates"]) if plan.adaptive else None
        algorithm = kind(plan, None if kept is None else kept.get("algorithm"))
        return cls(np.random.default_rng(plan.seed), algorithm, rates, list(seeds[: plan.population]))

    @classmethod
    def load(cls, plan: Plan, generation: Generation) -> Self:
        """Return the state in which the search was when it gave `generation`.

        Raises:
            UserError: the generation holds no such state.
        """
        try:
            numbers = dict(json.loads(generation.rng_state))
            kept = {name: numbers.pop(name) for name in OWN if name in numbers}
            state = cls.begin(plan, tuple(map(tuple, kept.get("seeds", ()))), kept)
            state.rng.bit_generator.state = numbers
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"generation {generation.number} holds no generator state: {error}") from error
        return state

    def to_json(self) -> str:
        """Return the text from which `load` makes an equal state."""
        rates = self.rates.state() if self.rates else {}
        kept = {"algorithm": self.algorithm.state(), "rates": rates, "seeds": self.seeds}
        numbers: dict[str, Any] = dict(self.rng.bit_generator.state)
        return json.dumps(numbers | {name: value for name, value in kept.items() if value})
