"""A process that runs star with evaluations that only take time, to be killed and restarted.

python -m comparing.drive_star FOLDER TRIALS
"""

import sys
from pathlib import Path

from comparing.event_log import EventLog
from comparing.star_trials import configure, nothing
from star.architecture.genome import to_text
from star.options import to_toml
from star.records import Job, Result
from star.run.opening import open_search
from star.run.plan import plan_run
from star.run.progress import Progress
from star.run.summary import Clock
from star.storage.run_directory import RunDirectory
from star.workers.pool import SerialPool


def drive(folder: Path, trials: int) -> None:
    """Start or continue the run in the folder."""
    config, run, log = configure(trials), RunDirectory(folder / "run"), EventLog(folder)

    def evaluate(job: Job) -> Result:
        with log.evaluation(to_text(job.task.genome)):
            return nothing(job)

    is_there = (run.path / "run.toml").exists()
    with run.resume() if is_there else run.create(to_toml(config, {"corpus_digest": ""})):
        open_search(plan_run(config), run, Clock(), Progress()).finish(SerialPool(evaluate))


if __name__ == "__main__":
    drive(Path(sys.argv[1]), int(sys.argv[2]))
