"""What a run tells whoever watches it."""

from typing import Protocol

from star.records import Evaluation, Generation


class Progress(Protocol):
    """Called by the driver as things happen. A method that takes long holds the search up."""

    def run_started(self, generations: int, latest: Generation | None) -> None:
        """Workers are about to start. `generations` is the number of the last one to come; `latest` is the one to
        go on from, None for a new run."""

    def workers_ready(self, num_workers: int, startup_seconds: float) -> None:
        """Training can begin."""

    def generation_started(self, number: int, proposals: int, proxies: int) -> None:
        """Of `proposals` genomes, `proxies` have to be trained; the others were trained before."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """A proxy has ended, or was stopped at a rung for good, and is on disk."""

    def generation_finished(self, generation: Generation, refusal: str) -> None:
        """A generation is on disk. `refusal` is why most candidates so far were turned away, empty if none were."""

    def noted(self, sentence: str) -> None:
        """Something to tell a person: a torn file set aside, other library versions than before."""


class Silent:
    """A Progress that tells nobody."""

    def run_started(self, generations: int, latest: Generation | None) -> None: ...

    def workers_ready(self, num_workers: int, startup_seconds: float) -> None: ...

    def generation_started(self, number: int, proposals: int, proxies: int) -> None: ...

    def evaluated(self, evaluation: Evaluation) -> None: ...

    def generation_finished(self, generation: Generation, refusal: str) -> None: ...

    def noted(self, sentence: str) -> None: ...
