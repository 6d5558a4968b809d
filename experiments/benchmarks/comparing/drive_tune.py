"""A process that runs Ray Tune, to be killed and restarted. Needs the extra `bench`.

python -m comparing.drive_tune FOLDER TRIALS
"""

import sys
from pathlib import Path

from ray import tune
from ray.tune.search.basic_variant import BasicVariantGenerator

from comparing.event_log import EventLog
from comparing.setting import NAMES
from comparing.tune_trials import SPACE, nothing, ray_running
from star.architecture.genome import canonical, to_text


def drive(folder: Path, trials: int) -> None:
    """Start or restore the experiment in the folder."""

    def evaluate(config: dict[str, int]) -> dict[str, float]:
        genome = tuple(config[name] for name in NAMES)
        with EventLog(folder).evaluation(to_text(canonical(genome))):
            return nothing(config)

    path = str(folder / "killed")
    with ray_running():
        if tune.Tuner.can_restore(path):
            tuner = tune.Tuner.restore(path, evaluate, resume_unfinished=True, param_space=SPACE)
        else:
            tuner = tune.Tuner(
                evaluate,
                param_space=SPACE,
                tune_config=tune.TuneConfig(
                    num_samples=trials, reuse_actors=True, search_alg=BasicVariantGenerator(random_state=0)
                ),
                run_config=tune.RunConfig(name="killed", storage_path=str(folder), verbose=0),
            )
        tuner.fit()


if __name__ == "__main__":
    drive(Path(sys.argv[1]), int(sys.argv[2]))
