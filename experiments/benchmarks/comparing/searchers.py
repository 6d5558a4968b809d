"""The table of compared searchers."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec

from comparing.bare import search_randomly, search_with_pymoo
from comparing.budget import BudgetedTrainer
from comparing.ours import search_with_star
from star.run.settings import Settings

Search = Callable[[BudgetedTrainer, Settings], None]
OURS, RACING = "star nsga2", "star nsga2, racing"
BASELINES = ("random integers", "pymoo nsga2", "optuna nsga2")


@dataclass(frozen=True, slots=True)
class Searcher:
    """A search function and its changes to the common configuration."""

    search: Search
    algorithm: str = "nsga2"
    adaptive: bool = False
    mode: str = "generations"
    rungs: int = 1
    population: int = 0  # 0: the common one

    def configure(self, config: Settings) -> Settings:
        """Return the configuration of this searcher."""
        population = self.population or config.population
        return replace(
            config,
            algorithm=self.algorithm,
            adaptive=self.adaptive,
            mode=self.mode,
            rungs=self.rungs,
            population=population,
        )


SEARCHERS: dict[str, Searcher] = {
    OURS: Searcher(search_with_star),
    RACING: Searcher(search_with_star, rungs=4),
    "star nsga2, steady": Searcher(search_with_star, mode="steady"),
    "star nsga2, steady, racing": Searcher(search_with_star, mode="steady", rungs=4),
    "star nsga2, adaptive": Searcher(search_with_star, adaptive=True),
    "star nsga3": Searcher(search_with_star, algorithm="nsga3"),
    "star regularised": Searcher(search_with_star, algorithm="regularised"),
    "star ga": Searcher(search_with_star, algorithm="ga"),
    "star random": Searcher(search_with_star, algorithm="random"),
    "random integers": Searcher(search_randomly),
    "pymoo nsga2": Searcher(search_with_pymoo),
}
if find_spec("optuna"):
    from comparing.optuna_search import search_with_optuna

    SEARCHERS |= {
        "optuna nsga2": Searcher(search_with_optuna),
        "optuna nsga2, its population": Searcher(search_with_optuna, population=50),
    }
