"""The tables of the page on searchers."""

import numpy as np
from measuring.page import Table

from comparing.budget import Outcome
from comparing.intervals import bootstrap, median, median_difference, superiority
from comparing.searchers import BASELINES, OURS
from comparing.table import Data
from comparing.validation import Errors, Predict, cross_predict, errors, extrapolate, rung_agreement

NEARLY = 0.99
Outcomes = dict[str, list[Outcome]]  # by searcher, one for each seed


def finals(outcomes: list[Outcome]) -> np.ndarray:
    """Return the hypervolumes (seeds,) at the end of the budget."""
    return np.array([one.curve[-1] for one in outcomes])


def result_table(outcomes: Outcomes) -> Table:
    """Return the results of each searcher."""
    rows = []
    for name, runs in outcomes.items():
        middle = {
            field: float(np.median([getattr(one, field) for one in runs]))
            for field in ("trainings", "finished", "duplicates")
        }
        milliseconds = np.median([1000 * one.search_seconds / one.trainings for one in runs])
        cells = (f"{middle[field]:,.0f}" for field in middle)
        rows.append((name, bootstrap(median, finals(runs)).text(), *cells, f"{milliseconds:.2f}"))
    return Table(
        "What each finds",
        "Trainings begun, those that went to the end, and those of an architecture (canonical form) that the same "
        "searcher had begun before; then milliseconds of search for each training begun. Medians over seeds.",
        ("searcher", "hypervolume", "trainings", "to the end", "duplicates", "ms of search"),
        rows,
    )


def pair_table(outcomes: Outcomes) -> Table:
    """Compare each searcher with star's default and with the baselines."""
    opponents = [name for name in (OURS, *BASELINES) if name in outcomes]
    rows = []
    for name, runs in outcomes.items():
        cells = []
        for other in opponents:
            pair = finals(runs), finals(outcomes[other])
            probability = bootstrap(superiority, *pair)
            text = f"{bootstrap(median_difference, *pair).text()}; {probability.text(2)}"
            cells.append("" if other == name else text)
        rows.append((name, *cells))
    return Table(
        "Each against the others",
        "Difference of median hypervolumes, row minus column; then the probability that a seed of the row ends above "
        "one of the column. Where an interval holds 0, or that of a probability holds 0.5, the seeds do not decide.",
        ("searcher", *(f"against {other}" for other in opponents)),
        rows,
    )


def speed_table(outcomes: Outcomes) -> Table:
    """Return the share of the budget that each searcher needs to reach the final values of others."""
    ends = {name: float(np.median(finals(outcomes[name]))) for name in (OURS, *BASELINES) if name in outcomes}
    wanted = {f"for {name}'s end": end for name, end in ends.items()}
    wanted |= {f"for {NEARLY:.0%} of {name}'s": NEARLY * ends[name] for name in (OURS,) if name in ends}
    rows = []
    for name, runs in outcomes.items():
        curve = np.median([one.curve for one in runs], axis=0)
        rows.append((name, *(share_text(curve, one) for one in wanted.values())))
    return Table(
        "Budget needed",
        "Share of the budget after which the median hypervolume of the row is at least that of the column at the end.",
        ("searcher", *wanted),
        rows,
    )


def share_text(curve: np.ndarray, wanted: float) -> str:
    """Return the share of the budget at which a curve first reaches a value."""
    reached = np.flatnonzero(curve >= wanted)
    return f"{100 * (reached[0] + 1) / len(curve):g} %" if len(reached) else "not reached"


def error_tables(data: Data, stops: list[str], others: dict[str, Predict], folds: int) -> list[Table]:
    """Return the errors of the surrogate and of other regressors on the same folds, and the rank agreement of rungs."""
    predicted = cross_predict(data, folds=folds)
    found = {"Gaussian process, used here": errors(data.qualities, predicted)}
    found |= {name: errors(data.qualities, cross_predict(data, predict, folds)) for name, predict in others.items()}
    rows = [(name, *map(error_text, one)) for name, one in found.items()]
    rows += [("the process, from uniform to evolved rows", *map(error_text, one)) for one in [extrapolate(data)] if one]
    spread = ", ".join(f"{value:.3f}" for value in data.qualities.std(axis=0))
    taus = {"as recorded": data.qualities, "as the surrogate has it": predicted}
    agreement = [(name, *(f"{tau:.2f}" for tau in rung_agreement(qualities))) for name, qualities in taus.items()]
    return [
        Table(
            "How wrong the surrogate is",
            "Root of the mean squared error in bits per byte, share of the variance explained, Kendall's tau with what "
            f"was recorded; of rows that the fit did not see, in {folds} folds of {len(data.features):,}. Standard "
            f"deviations of what was recorded: {spread}. A last row, of descendants predicted from uniform samples "
            f"alone, is there once the table has descendants: it has {(~data.is_uniform).sum():,}.",
            ("regressor", *stops),
            rows,
        ),
        Table(
            "What a rung says about the end",
            "Kendall's tau of the quality at a rung with that at the end, which a race lives on: recorded, and as "
            "predicted for rows that the fit did not see. Where the second is higher, the surrogate flatters the race.",
            ("", *stops[:-1]),
            agreement,
        ),
    ]


def error_text(one: Errors) -> str:
    """Return the errors as a cell of a table."""
    return f"{one.rmse:.4f}; {one.r2:.2f}; {one.tau:.2f}"
