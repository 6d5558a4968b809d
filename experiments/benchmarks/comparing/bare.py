"""Searchers that know only the number of integers in a genome and their bounds."""

import warnings

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling

from comparing.budget import BudgetedTrainer
from comparing.setting import COLUMNS
from star.run.plan import plan_run
from star.run.settings import Settings

FAILED = 1e30  # objective of a failed evaluation, which pymoo has no status for


def search_randomly(trainer: BudgetedTrainer, config: Settings) -> None:
    """Draw every integer uniformly between its bounds until the budget is spent."""
    low, high = plan_run(config).search.space.bounds()
    rng = np.random.default_rng([config.seed, 1])  # other draws than star's samples
    while True:
        trainer.score(rng.integers(low, high + 1).tolist())


def search_with_pymoo(trainer: BudgetedTrainer, config: Settings) -> None:
    """Run NSGA-II as pymoo's manual sets it up for integers: IntegerRandomSampling, then simulated binary crossover and
    polynomial mutation on floats with rounding; eta 3, duplicates eliminated, as many offspring as parents."""
    low, high = plan_run(config).search.space.bounds()
    algorithm = NSGA2(
        pop_size=config.population,
        sampling=IntegerRandomSampling(),
        crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    problem = Problem(n_var=len(low), n_obj=len(COLUMNS), xl=low, xu=high, vtype=int)
    with warnings.catch_warnings():  # pymoo turns off all warnings
        algorithm.setup(problem, termination=NoTermination(), seed=config.seed)
        while True:
            candidates = algorithm.ask()
            scores = [trainer.score(x) for x in candidates.get("X").tolist()]
            candidates.set("F", np.array([one or [FAILED] * len(COLUMNS) for one in scores]))
            algorithm.evaluator.n_eval += len(candidates)
            algorithm.tell(infills=candidates)
