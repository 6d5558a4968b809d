"""The inputs and outputs of a search: its plan, the limits on genomes, and a genome to evaluate."""

from dataclasses import dataclass
from typing import Protocol

from star.architecture.genome import Space
from star.records import Genome

ALGORITHM_NAMES = ("nsga2", "nsga3", "random", "regularised", "ga")  # the rows of search.algorithms, without pymoo


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The kind of a search: how many individuals survive, among which genomes, by how many objectives, from which seed.

    `algorithm` is a row of `star.search.ALGORITHMS`; `adaptive` lets the rates of its operators follow what they
    achieved (`star.search.rates`).
    """

    population: int
    space: Space
    num_objectives: int
    seed: int
    algorithm: str = "nsga2"
    adaptive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A genome to evaluate. `id` counts proposals as asked; `parents` are ids, none for a fresh sample."""

    id: int
    genome: Genome
    parents: tuple[int, ...]


class Constraints(Protocol):
    """Limits on genomes that are known without evaluating them, as those of `star.cost.target.Screen`."""

    @property
    def num_constraints(self) -> int:
        """The number of values that `violations` returns."""
        ...

    def violations(self, genome: Genome) -> tuple[float, ...] | None:
        """Return how far a genome is beyond each limit, positive if it is; None if it cannot be built."""


class Unlimited:
    """No constraints."""

    num_constraints = 0

    def violations(self, genome: Genome) -> tuple[float, ...] | None:
        return ()
