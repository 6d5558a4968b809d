"""The interface by which a run tells what happens."""

from star.records import Evaluation, Generation


class Progress:
    """Is called by the driver as things happen, and ignores it all unless a subclass does more. A method that takes
    long delays the search."""

    def run_started(self, generations: int, latest: Generation | None) -> None:
        """Tell that workers are about to start. `generations` is the number of the last generation; `latest` is the one
        to go on from, None for a new run."""

    def workers_ready(self, num_workers: int, startup_seconds: float) -> None:
        """Tell that training can begin."""

    def generation_started(self, number: int, proposals: int, proxies: int) -> None:
        """Tell that of `proposals` genomes `proxies` have to be trained; the others were trained before."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """Tell that a proxy has ended, or was stopped at a rung for good, and is on disk."""

    def generation_finished(self, generation: Generation, refusal: str) -> None:
        """Tell that a generation is on disk. `refusal` is why most candidates so far were infeasible, empty if none
        were."""

    def verification_started(self, trainings: int) -> None:
        """Tell that so many longer trainings begin."""

    def noted(self, sentence: str) -> None:
        """Tell a person something: a torn file was set aside, library versions differ from before."""
