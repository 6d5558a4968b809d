"""A comparison of searchers with the same token budget, genomes and evaluator.

The evaluator is the recorded table and the surrogate fitted to it (`record_table.py`, `comparing/`), so that a training
takes no time and many seeds can be run. --real trains instead, which takes hours at more than a tiny budget. Without
--out or --write the page is printed; --write puts it and its picture under docs/. Optuna's rows, and other regressors
beside the surrogate, need the extra: pip install -e ".[bench]".

    python experiments/benchmarks/search.py [--quick] [--seeds 20] [--trainings 400] [--write]
    python experiments/benchmarks/search.py --real --seeds 2 --trainings 12 --population 4
"""

import argparse
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from comparing.budget import BudgetedTrainer, BudgetExhausted, Outcome, Train
from comparing.curves import Panel, draw
from comparing.real_training import real_trainer
from comparing.searchers import BASELINES, OURS, RACING, SEARCHERS
from comparing.table import TableTrainer, box_of
from comparing.tables import Outcomes, error_tables, pair_table, result_table, speed_table
from comparing.validation import FOLDS
from measuring.page import ROOT, Page
from record_table import CONFIG, TABLE, Row, read

from star.records import ReferenceBox, Status
from star.run.plan import plan_run
from star.run.settings import Settings

if find_spec("sklearn"):
    from comparing.regressors import regressors
else:

    def regressors() -> dict:
        """Return no regressors, because the extra is not installed."""
        return {}


PAGE = ROOT / "docs" / "search.md"
PICTURE = "search.png"
SHARES = 40  # of the budget, at which the hypervolume is looked at
UNIFORM = 1_000  # rows that the table begins with: samples, not descendants
READING = """\
Every searcher has the same genomes ({slots} slots of deck {deck}: {genes} integers), the same three objectives (quality
in bits per byte, parameters, cache bytes), the same trainer and the same budget: {trainings} full trainings of
{full:,} tokens. A training that a race stops early costs the tokens that it had; one that is repeated is paid again.
The hypervolume is that of everything trained to the end, in units of the box of the table's {uniform} uniform samples
(reference point: their worst values and a tenth of the range beyond), for all searchers and seeds alike. Medians are
over {seeds} seeds, in parentheses the 95 % percentile bootstrap interval. The population is {population} for all, with
{offspring} offspring for ours, as many offspring as parents for pymoo, as is its default.

The trainer is {trainer}

What is compared: **star** is the loop of `star evolve` itself, its records not written; "racing" has 4 rungs of ratio
3, "steady" no generations but one worker that is always busy, "adaptive" rates of operators that follow what they
achieved. **random integers** draws every integer uniformly.
**pymoo nsga2** is pymoo {pymoo} on the raw integers as its manual sets that up: IntegerRandomSampling, simulated binary
crossover (probability 1, eta 3) and polynomial mutation (eta 3, one gene in {genes} on average) on floats with
RoundingRepair, duplicates of integers eliminated. **optuna nsga2** is Optuna {optuna}, NSGAIISampler, one suggest_int a
gene, its defaults but for the population: uniform crossover (probability 0.9), one gene in {genes} resampled on
average; the row "its population" has that of the defaults too, 50."""
TABLE_TRAINER = """\
the table of {rows} recorded genomes, {failed} of which failed and are left out. A genome that is not in the table is
answered by a Gaussian process fitted to it: without noise, and smoother than training is. So differences between
searchers are of a landscape like that of nano proxies, not of nano proxies themselves; how much like it, the tables on
the surrogate say. Parameters and cache are exact."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The trainer, configuration, reference box, budget, seeds and searchers of a comparison."""

    train: Train
    config: Settings
    box: ReferenceBox
    trainings: int
    seeds: int
    searchers: tuple[str, ...]


def note(*words: object) -> None:
    """Print progress to standard error."""
    print(*words, file=sys.stderr, flush=True)


def run(plan: Plan, name: str, seed: int) -> Outcome:
    """Run one searcher from one seed."""
    searcher = SEARCHERS[name]
    config = searcher.configure(replace(plan.config, seed=seed))
    trainer = BudgetedTrainer(plan.train, config, plan.trainings)
    with suppress(BudgetExhausted):
        searcher.search(trainer, config)
    return trainer.outcome(plan.box, SHARES)


def compare(plan: Plan) -> Outcomes:
    """Run all searchers, seed by seed."""
    outcomes: Outcomes = {name: [] for name in plan.searchers}
    for seed in range(plan.seeds):
        started = time.perf_counter()
        for name in plan.searchers:
            outcomes[name].append(run(plan, name, seed))
        note(f"seed {seed}: {time.perf_counter() - started:.1f} s")
    return outcomes


def panels(outcomes: Outcomes) -> list[Panel]:
    """Return the panels: star beside the baselines, and the algorithms of star."""
    curves = {name: np.array([one.curve for one in runs]) for name, runs in outcomes.items()}
    beside = {name: one for name, one in curves.items() if name in (OURS, RACING, *BASELINES)}
    among = {name: one for name, one in curves.items() if name not in BASELINES and name.startswith("star")}
    return [Panel("Beside random search, pymoo and Optuna", beside), Panel("Algorithms of star", among)]


def reading(plan: Plan, rows: list[Row], is_real: bool) -> str:
    """Return the explanation of the page."""
    failed = sum(row.status != Status.OK for row in rows)
    table = TABLE_TRAINER.format(rows=f"{len(rows):,}", failed=failed)
    return READING.format(
        slots=plan.config.slots,
        deck=plan.config.deck,
        genes=plan_run(plan.config).search.space.length,
        trainings=plan.trainings,
        full=BudgetedTrainer(plan.train, plan.config, 1).full,
        uniform=f"{min(len(rows), UNIFORM):,}",
        seeds=plan.seeds,
        population=plan.config.population,
        offspring=plan.config.offspring,
        trainer="real: proxies trained one after the other." if is_real else table,
        pymoo=version("pymoo"),
        optuna=version("optuna") if find_spec("optuna") else "(not installed)",
    )


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trainings", type=int, default=400, help="the budget, in full trainings")
    parser.add_argument("--population", type=int, default=32, help="offspring of ours are half as many")
    parser.add_argument("--searchers", nargs="+", choices=SEARCHERS, default=list(SEARCHERS), metavar="SEARCHER")
    parser.add_argument("--real", action="store_true", help="train proxies instead of looking them up")
    parser.add_argument("--quick", action="store_true", help="two seeds and a small budget, to see that it works")
    parser.add_argument("--out", type=Path, help="write the page to this file, and the picture beside it")
    parser.add_argument("--write", action="store_true", help="write the page under docs/")
    given = parser.parse_args()
    if given.quick:
        given.seeds, given.trainings = 2, 48
    if not given.table.exists():
        parser.error(f"there is no table {given.table}; record_table.py records it")
    return given


def main() -> None:
    given = read_arguments()
    torch.set_num_threads(1)
    rows = read(given.table)
    config = replace(CONFIG, population=given.population, offspring=max(1, given.population // 2))
    trainer = TableTrainer(rows, config, UNIFORM)
    train = real_trainer(config) if given.real else trainer
    plan = Plan(train, config, box_of(rows, UNIFORM), given.trainings, given.seeds, tuple(given.searchers))
    outcomes = compare(plan)
    tables = [result_table(outcomes), pair_table(outcomes), speed_table(outcomes)]
    if not given.real:
        note("cross-validation")
        stops = [f"{step} steps" for step in (*plan_run(config).race.steps, plan_run(config).trained.recipe.steps)]
        others = {} if given.quick else regressors()
        tables += error_tables(trainer.data, stops, others, 2 if given.quick else FOLDS)
    path = PAGE if given.write else given.out
    picture = ""
    if path:
        image = path.parent / ("images" if given.write else "") / PICTURE
        draw(panels(outcomes), given.trainings, image)
        picture = f"\n\n![Hypervolume against tokens]({image.relative_to(path.parent)})"
    text = reading(plan, rows, given.real) + picture
    Page("Searchers side by side", text, tables, torch.device("cpu")).deliver(path)


if __name__ == "__main__":
    main()
