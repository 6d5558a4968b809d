"""The steps that a schedule asks of its driver, and the calls by which it is driven."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from star.records import Evaluation, Generation, Genome, Individual, Recorded, Task
from star.run.core import Core


class Train(NamedTuple):
    """Train a proxy up to a rung, or to the end if that is None, and report what came of it."""

    task: Task
    until: int | None
    parents: Sequence[Individual]  # from which it descends, as they were when the search asked for it
    tokens: int = 0  # of a longer training of a proxy that has ended, from which its quality is estimated


class Known(NamedTuple):
    """Report this evaluation, which needs no training."""

    task: Task
    evaluation: Evaluation


class Measure(NamedTuple):
    """Complete the table of latencies for these genomes."""

    genomes: Sequence[Genome]


class Wait(NamedTuple):
    """Report a training that is under way: nothing else can be done before."""


class Begun(NamedTuple):
    """Tell people that a generation has begun: of `proposals` genomes `proxies` have to be trained."""

    number: int
    proposals: int
    proxies: int


class Stopped(NamedTuple):
    """Tell people that the race has stopped a proxy for good."""

    evaluation: Evaluation


Step = Train | Known | Measure | Wait | Begun | Stopped | Generation  # a generation is closed, and to be written


class Schedule(Protocol):
    """Decides what is trained when, without input or output. Its driver asks for the next step and does it."""

    core: Core

    def next(self, has_room: bool) -> Step | None:
        """Return what to do next; None after the last generation. No training begins where there is no room."""
        ...

    def report(self, task: Task, evaluation: Evaluation, tokens: int = 0) -> Recorded:
        """Take what is known of a proxy from now on, or of a longer training on so many tokens, and return the row to
        record of it.
        """
        ...

    def incomplete(self) -> set[str]:
        """Return the hashes of which more is to be recorded than is known."""
        ...

    def with_states(self) -> set[str]:
        """Return the hashes of which states of trainings are kept."""
        ...

    def with_weights(self) -> set[str]:
        """Return the hashes of which weights are kept."""
        ...
