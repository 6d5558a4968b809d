"""star's own searchers: the loop of `star evolve`, in this process, with a record in memory."""

from dataclasses import replace

from memory_record import open_in_memory

from comparing.budget import BudgetedTrainer
from star.run.plan import plan_run
from star.run.settings import Settings
from star.workers.pool import SerialPool


def search_with_star(trainer: BudgetedTrainer, config: Settings) -> None:
    """Search as configured until the budget is spent."""
    plan = plan_run(replace(config, serial=True, store="", generations=10**6))
    open_in_memory(plan).finish(SerialPool(trainer))
