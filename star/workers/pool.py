"""What a pool of workers is, and the simplest one: this process."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, Self

import numpy as np

from star.records import Evaluation, Task

Weights = dict[str, np.ndarray]
Evaluate = Callable[[Task], tuple[Evaluation, Weights]]
Result = tuple[Task, Evaluation, Weights]


class Pool(Protocol):
    """Evaluates tasks. A context manager: leaving it ends every process that the pool began."""

    num_workers: int

    def run(self, tasks: Sequence[Task]) -> Iterator[Result]:
        """Begin the tasks in the order given and yield each result once, in order of completion."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...


class SerialPool:
    """Evaluates one task after the other in this process, for debugging. It cannot stop a task that hangs."""

    num_workers = 1

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate

    def run(self, tasks: Sequence[Task]) -> Iterator[Result]:
        """See Pool."""
        for task in tasks:
            evaluation, weights = self._evaluate(task)
            yield task, evaluation, weights

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass
