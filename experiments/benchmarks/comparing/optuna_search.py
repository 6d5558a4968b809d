"""Optuna's NSGA-II on the integers of a genome. Needs the extra `bench`."""

import optuna
from optuna.samplers import NSGAIISampler
from optuna.trial import TrialState

from comparing.budget import BudgetedTrainer
from comparing.setting import COLUMNS
from star.run.plan import plan_run
from star.run.settings import Settings

optuna.logging.set_verbosity(optuna.logging.WARNING)


def search_with_optuna(trainer: BudgetedTrainer, config: Settings) -> None:
    """Search with one suggest_int per gene and the defaults of the sampler, except for the population: uniform
    crossover with probability 0.9, and one mutated gene per genome on average."""
    low, high = (bound.tolist() for bound in plan_run(config).search.space.bounds())
    sampler = NSGAIISampler(population_size=config.population, seed=config.seed)
    study = optuna.create_study(directions=["minimize"] * len(COLUMNS), sampler=sampler)
    while True:
        trial = study.ask()
        genome = [trial.suggest_int(f"gene{i:02d}", *bounds) for i, bounds in enumerate(zip(low, high, strict=True))]
        values = trainer.score(genome)
        study.tell(trial, values, state=TrialState.COMPLETE if values else TrialState.FAIL)
