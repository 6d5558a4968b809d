"""Searchers that know nothing of genomes but how many integers they have, and between which bounds."""

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

FAILED = 1e30  # an objective of what failed: pymoo has no other word for it


def search_randomly(trainer: BudgetedTrainer, config: Settings) -> None:
    """Every integer uniform between its bounds, until the budget is spent."""
    low, high = plan_run(config).search.space.bounds()
    rng = np.random.default_rng([config.seed, 1])  # not the draws of star's samples
    while True:
        trainer.score(rng.integers(low, high + 1).tolist())


def search_with_pymoo(trainer: BudgetedTrainer, config: Settings) -> None:
    """NSGA-II as pymoo's manual sets it up for integers: IntegerRandomSampling, then simulated binary crossover and
    polynomial mutation on floats, rounded; eta 3, duplicates of integers eliminated, as many offspring as parents."""
    low, high = plan_run(config).search.space.bounds()
    algorithm = NSGA2(
        pop_size=config.population,
        sampling=IntegerRandomSampling(),
        crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    problem = Problem(n_var=len(low), n_obj=len(COLUMNS), xl=low, xu=high, vtype=int)
    with warnings.catch_warnings():  # pymoo turns warnings off for everybody
        algorithm.setup(problem, termination=NoTermination(), seed=config.seed)
        while True:
            candidates = algorithm.ask()
            scores = [trainer.score(x) for x in candidates.get("X").tolist()]
            candidates.set("F", np.array([one or [FAILED] * len(COLUMNS) for one in scores]))
            algorithm.evaluator.n_eval += len(candidates)
            algorithm.tell(infills=candidates)
