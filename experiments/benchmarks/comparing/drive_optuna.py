"""A process that runs Optuna with journal storage, to be killed and restarted. Needs the extra `bench`.

python -m comparing.drive_optuna FOLDER TRIALS [SEED]
"""

import sys
from pathlib import Path

import optuna
from optuna.samplers import NSGAIISampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from comparing.event_log import EventLog
from comparing.optuna_trials import DIRECTIONS, nothing, suggest
from comparing.setting import CONFIG
from star.architecture.genome import canonical, to_text


def drive(folder: Path, trials: int, seed: int | None) -> None:
    """Start or continue the study in the folder, up to `trials` complete trials."""
    log = EventLog(folder)

    def evaluate(trial: optuna.Trial) -> list[float]:
        with log.evaluation(to_text(canonical(tuple(suggest(trial))))):
            return nothing(trial)

    study = optuna.create_study(
        study_name="killed",
        storage=JournalStorage(JournalFileBackend(str(folder / "journal.log"))),
        sampler=NSGAIISampler(population_size=CONFIG.population, seed=seed),
        directions=DIRECTIONS,
        load_if_exists=True,
    )
    study.optimize(evaluate, n_trials=trials - len(study.get_trials(states=[TrialState.COMPLETE])))


if __name__ == "__main__":
    drive(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else None)
