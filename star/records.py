"""The nouns that cross from room to room while a search runs: one evaluation, one individual, one generation."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

Genome = tuple[int, ...]


class Status(StrEnum):
    """How an evaluation ended. Only OK can enter a front."""

    OK = "ok"
    DIVERGED = "diverged"  # the loss became NaN or infinite
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    CRASHED = "crashed"  # the worker process died
    FAILED = "failed"  # any other exception
    INFEASIBLE = "infeasible"  # beyond a limit, or it cannot be built: never trained


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One proxy to train: the canonical genome and the seed derived from (run seed, genome hash)."""

    genome: Genome
    hash: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What one task gave. `objectives` maps column names (quality_bpb, params, cache_bytes) to values in
    natural sign and unit; it holds costs alone if status is INFEASIBLE, and is empty if training failed. `weights`
    travel beside it, never inside."""

    hash: str
    status: Status
    objectives: dict[str, float] = field(default_factory=dict)
    generation: int = 0  # which asked for it first
    loss_curve: tuple[float, ...] = ()  # training bits per byte, evenly spaced over the run
    train_seconds: float = 0.0  # inside the training loop and its validation
    seconds: float = 0.0  # the whole evaluation, building included
    worker: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Individual:
    """One member of a population. `id` counts individuals in the order in which the search asked for them."""

    id: int
    genome: Genome
    hash: str
    generation: int  # in which it was born
    parents: tuple[int, ...]
    status: Status
    objectives: dict[str, float]
    rank: int
    crowding: float


class ReferenceBox(NamedTuple):
    """What a hypervolume is measured against: the reference point, and one unit of each objective."""

    point: tuple[float, ...]
    unit: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The population after selection, and all that the next `ask` depends on. Holds no clock: two runs with
    one seed write the same generation, value for value."""

    number: int
    individuals: tuple[Individual, ...]
    rng_state: str  # JSON of numpy's bit_generator.state
    next_id: int
    evaluations: int  # proxies trained so far
    duplicates_avoided: int
    repaired: int  # children so far that meant nothing before repair
    failures: dict[str, int]
    hypervolume: float
    reference: ReferenceBox | None = None  # None as long as no proxy was trained to the end
    turned_away: int = 0  # candidates so far that were infeasible; few of them became individuals

    @property
    def front(self) -> tuple[Individual, ...]:
        """The individuals that no other dominates and whose proxies were trained to the end."""
        return tuple(one for one in self.individuals if one.rank == 0 and one.status is Status.OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Where the time of one process that drove a run went.

    `wall_seconds` begin when the workers are ready; `overhead_seconds` are those of them in which no worker was
    training; `training_seconds` add up over workers; `worker_utilisation` is the share of the workers' time that
    went into evaluations.
    """

    workers: int
    startup_seconds: float
    wall_seconds: float
    training_seconds: float
    overhead_seconds: float
    worker_utilisation: float
