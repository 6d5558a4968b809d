"""The records that cross between packages in a run: evaluations, individuals, generations."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np

Genome = tuple[int, ...]
STORE = "store"  # in place of the worker that trained a proxy, where none of this run did
Arrays = dict[str, np.ndarray]  # by name: trained weights, or the state of a training that paused


class Status(StrEnum):
    """The outcome of an evaluation. Only OK can enter a front."""

    OK = "ok"
    DIVERGED = "diverged"  # the loss became NaN or infinite
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    CRASHED = "crashed"  # the worker process died
    FAILED = "failed"  # any other exception
    INFEASIBLE = "infeasible"  # beyond a limit, or it cannot be built: never trained
    STOPPED = "stopped"  # not trained to the end: at a rung of the race others were clearly better
    SCREENED = "screened"  # never trained: by the estimate that costs and operators give others were better


UNTRAINED = (Status.INFEASIBLE, Status.SCREENED)
RANKED = (Status.OK, Status.STOPPED, Status.SCREENED)  # what has a quality to compare, if only an estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A proxy to train: the canonical genome, and the seed derived from (run seed, genome hash)."""

    genome: Genome
    hash: str
    seed: int


def derive_seed(run_seed: int, genome_hash: str, repeat: int = 0) -> int:
    """Return the seed of a training, which depends on the run's seed, the genome's hash and, if the training is
    repeated, on the number of the repeat.
    """
    words = [run_seed, int(genome_hash, 16), *([repeat] if repeat else [])]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """A task for a worker, or the next part of one: train from `state` on, up to the rung `until`."""

    task: Task
    until: int | None = None  # the rung at which to pause, counted from 0; None: train to the end
    state: Arrays = field(default_factory=dict)  # of the training that paused; empty: begin it
    inherited: Arrays = field(default_factory=dict)  # weights to begin with, by name, in place of random ones
    tokens: int = 0  # to train on in place of those of the recipe and its rungs, from `state` on if there is one
    times: float = 1.0  # as long as that of a proxy: so much more time it may take


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The result of a training. `quality_bpb` is the validation cross entropy in bits per byte; `loss_curve` that of
    training, as means over up to 32 equal stretches; `seconds` include the measuring.
    """

    quality_bpb: float
    loss_curve: tuple[float, ...]
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds of a whole model at the target, or of a part of it: `prefill_ms` to read prompts of the whole
    context into the cache, `decode_ms` for the last token of the context. Both are those of all sequences of a batch.
    One that is disturbed was measured while other processes used the same cores, and may be too large.
    """

    prefill_ms: float
    decode_ms: float
    is_disturbed: bool = False


class Measured(NamedTuple):
    """The latency of a part of models, the name of the part for people, and a text that says on what it was measured:
    equal texts stand for equal machines, versions and number formats."""

    name: str
    machine: str
    latency: Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The result of one task. `objectives` maps column names (quality_bpb, params, cache_bytes) to values in natural
    sign and unit; it holds costs alone if status is INFEASIBLE or training failed after a rung, and is empty if it
    failed before. If status is STOPPED, quality is that at the last rung. `weights` travel beside it, never inside.
    """

    hash: str
    status: Status
    objectives: dict[str, float] = field(default_factory=dict)
    loss_curve: tuple[float, ...] = ()  # training bits per byte, evenly spaced over the run
    rungs: tuple[float, ...] = ()  # quality at each rung that the training passed, or its early loss
    tokens: int = 0  # trained on so far
    train_seconds: float = 0.0  # inside the training loop and its validation
    seconds: float = 0.0  # the whole evaluation, building included
    worker: str = ""
    error: str = ""
    retries: dict[str, int] = field(default_factory=dict)  # cause -> how often it was tried again for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The position of an evaluation in the order that the search saw. The course of a steady run follows from these
    numbers; with generations only the first is set.
    """

    generation: int = 0  # that asked for it first, or that was open when the search was told of it
    arrival: int = 0  # as which the search was told of it, counted from 1; 0: in no order, or not told yet
    asked: int = 0  # how often the search had been asked for a proposal when this was recorded; 0: in no order
    entry: int = 0  # as which this was recorded, parts of a training included, counted from 1; 0: in no order


class Recorded(NamedTuple):
    """One row of the record of a run: a task, what was measured, and when the search saw it."""

    task: Task
    evaluation: Evaluation
    order: Order = Order()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """The result of a job, with `weights` if the training ended well, and `state` if it can be trained on."""

    task: Task
    evaluation: Evaluation
    origin: str = ""  # by what it was trained, as evaluation.fingerprint has it; empty: nobody knows, or by several
    weights: Arrays = field(default_factory=dict)
    state: Arrays = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Individual:
    """A member of a population. `id` counts individuals in the order in which the search asked for them."""

    id: int
    genome: Genome
    hash: str
    generation: int  # in which it was born
    parents: tuple[int, ...]
    status: Status
    objectives: dict[str, float]
    rank: int
    crowding: float
    shortfall: float = 0.0  # how far from its end a STOPPED one was, and behind how many others; 0 for all others
    quality_error: float = 0.0  # standard error of its quality, where that is an estimate


class ReferenceBox(NamedTuple):
    """The reference point of a hypervolume, and one unit of each objective."""

    point: tuple[float, ...]
    unit: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The population after selection, and everything that the next `ask` depends on. It holds no times: two runs with
    one seed write equal generations, value for value.

    The front is that of the whole run so far: its individuals need not be in the population. They have rank 0, unless
    qualities are estimated: then individuals that were screened out may rank before them."""

    number: int
    individuals: tuple[Individual, ...]
    front: tuple[Individual, ...]  # that no other dominates, of all ever trained to the end, in order of id
    rng_state: str  # JSON: the generator's state and what else the algorithm keeps
    next_id: int
    evaluations: int  # proxies trained so far, to the end or not
    duplicates_avoided: int
    repaired: int  # children so far that meant nothing before repair
    failures: dict[str, int]
    hypervolume: float
    reference: ReferenceBox | None = None  # None as long as no proxy was trained to the end
    turned_away: int = 0  # candidates so far that were infeasible; few of them became individuals
    tokens: int = 0  # that all proxies so far were trained on
    longer: int = 0  # longer trainings so far, from which qualities are estimated
    estimated: int = 0  # tokens of the training whose quality is estimated; 0 where quality is that of the proxy
    fit: tuple[dict[str, float], ...] = ()  # of each stage of the estimate: its numbers by name


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The times of one process that drove a run.

    `wall_seconds` begin when the workers are ready; `overhead_seconds` are those of them in which no worker was
    at a job; `training_seconds` add up over workers; `workers` are the most there were; `worker_utilisation` is the
    share of their time in which they were at a job. Time in which this process was paused counts nowhere.
    """

    workers: int
    startup_seconds: float
    wall_seconds: float
    training_seconds: float
    overhead_seconds: float
    worker_utilisation: float
