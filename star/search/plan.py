"""What a search is told and what it says: its plan, the limits on genomes, and a genome that it wants evaluated."""

from dataclasses import dataclass
from typing import Protocol

from star.architecture.genome import Space
from star.records import Genome

ALGORITHM_NAMES = ("nsga2", "nsga3", "random", "regularised", "ga")  # the rows of search.algorithms, without pymoo


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What kind of search: how many survive, among which genomes, by how many objectives, from which seed.

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

    limits: dict[str, float]

    def violations(self, genome: Genome) -> tuple[float, ...] | None:
        """How far beyond each limit a genome is, positive if it is; None if it has no meaning at all."""


class Unlimited:
    """No constraints."""

    limits: dict[str, float] = {}

    def violations(self, genome: Genome) -> tuple[float, ...] | None:
        return ()
