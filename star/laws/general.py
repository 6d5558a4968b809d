"""Fit laws that are no sums of power terms: those of Kaplan et al. 2020 and Muennighoff et al. 2023."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from scipy.optimize import least_squares, nnls

from star.errors import UserError
from star.laws.chinchilla import Chinchilla
from star.laws.kaplan import Kaplan
from star.laws.projection import fit_projected
from star.laws.repetition import DataConstrained
from star.laws.runs import Runs
from star.laws.sums import DELTA, Problem, huber, minimise

KAPLAN_GRID = np.geomspace(0.04, 0.5, 12)  # exponents
HALF_LIVES = np.log([1.0, 5.0, 20.0, 80.0])
LEAST_EXPONENT, LARGEST = 1e-3, 100.0  # bounds of unknowns
MOST_LIVES = 1e4  # R_N and R_D of a law that repetition shows in
LEAST_ONCE = 10  # runs without repetition


def fit_kaplan(runs: Runs) -> Kaplan:
    """Return Kaplan's joint law with the least Huber loss of the log loss.

    For fixed exponents L^(1 / alpha_D) is linear in N_c^(alpha_N / alpha_D) and D_c; the best exponents of a grid are
    the start.

    Raises:
        UserError: the exponents are not determined.
    """

    # Relative to the means, because powers of 1e9 up to 1 / 0.03 have no floating-point number.
    centre, middle, usual = (float(np.exp(np.log(one).mean())) for one in (runs.params, runs.tokens, runs.loss))

    def project(exponents: tuple[float, float]) -> Kaplan | None:
        of_params, of_tokens = exponents
        columns = np.stack([(runs.params / centre) ** (-of_params / of_tokens), middle / runs.tokens], axis=1)
        columns /= (runs.loss / usual)[:, None] ** (1 / of_tokens)
        first, second = nnls(columns, np.ones(len(runs)))[0]
        if not first or not second:
            return None
        return Kaplan(
            N_c=centre * first ** (of_tokens / of_params) * usual ** (1 / of_params),
            D_c=middle * second * usual ** (1 / of_tokens),
            alpha_N=of_params,
            alpha_D=of_tokens,
        )

    laws = [law for law in map(project, product(KAPLAN_GRID, KAPLAN_GRID)) if law]
    if not laws:
        raise UserError("the runs do not show that the loss falls with both params and tokens")
    best = min(laws, key=lambda law: huber(np.log(law.predict(runs) / runs.loss), 0.05).sum())
    found = Kaplan.from_vector(_polish(lambda x: Kaplan.from_vector(x).predict(runs), runs, best.to_vector(), (2, 3)))
    if max(found.alpha_N, found.alpha_D) > 1 or min(found.alpha_N, found.alpha_D) < 2 * LEAST_EXPONENT:
        raise UserError(
            f"the runs do not determine the exponents: alpha_N {found.alpha_N:.3g} and alpha_D {found.alpha_D:.3g} fit "
            "best, and both must lie between 0 and 1"
        )
    return found


def fit_repetition(runs: Runs) -> DataConstrained:
    """Return the law of repeated data with the least Huber loss of the log loss.

    The law of Chinchilla of the runs without repetition, and R_N and R_D of all runs with it, are the start; all seven
    constants are then polished together, because R_N also acts where a model is too large for tokens seen once.

    Raises:
        UserError: fewer than 10 runs see their tokens once, none sees them again, or repetition costs nothing.
    """
    assert runs.unique_tokens is not None
    once = runs.take(runs.tokens <= 1.01 * runs.unique_tokens)
    if len(once) < LEAST_ONCE or len(once) == len(runs):
        raise UserError(
            f"the law of repeated data needs {LEAST_ONCE} runs that see each token once and others that see them "
            f"again, not {len(once)} and {len(runs) - len(once)}"
        )
    problem = Problem(Chinchilla.features(once), np.log(once.loss))
    base = minimise(problem, np.ones((1, len(once))), fit_projected(once).to_vector()[None, :])[0][0]

    def predict(x: np.ndarray) -> np.ndarray:
        return DataConstrained.from_vector(x).predict(runs)

    def cost(x: np.ndarray) -> float:
        return float(huber(np.log(predict(x) / runs.loss), 0.05).sum())

    start = min((np.concatenate([base, lives]) for lives in product(HALF_LIVES, HALF_LIVES)), key=cost)
    found = DataConstrained.from_vector(_polish(predict, runs, start, (3, 4)))
    if max(found.R_N, found.R_D) > MOST_LIVES:
        name = "R_N" if found.R_N > found.R_D else "R_D"
        raise UserError(f"the runs do not determine {name}: repetition costs nothing in the best fit")
    return found


def _polish(
    predict: Callable[[np.ndarray], np.ndarray], runs: Runs, start: np.ndarray, exponents: tuple[int, int]
) -> np.ndarray:
    """Return the x with the least Huber loss; the loss is made narrow in steps, because a narrow one traps the search.

    Args:
        exponents: places in x that must stay above 0.
    """
    x, low = start, np.full(len(start), -LARGEST)
    low[list(exponents)] = LEAST_EXPONENT
    for delta in (0.05, 0.01, DELTA):

        def residual(x: np.ndarray, delta: float = delta) -> np.ndarray:
            return np.log(predict(x) / runs.loss) / delta  # of order 1: absolute tolerances apply

        tolerances: dict[str, Any] = {"ftol": 1e-12, "xtol": 1e-12, "gtol": 1e-12}
        with np.errstate(all="ignore"):  # a step to where the prediction is no number is taken back
            x = least_squares(residual, x, bounds=(low, LARGEST), loss="huber", x_scale="jac", **tolerances).x
    return x


def jacobian(predict: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """Return the derivatives of log predictions by central differences, of shape [runs, unknowns]."""
    steps = 1e-5 * np.maximum(np.abs(x), 1e-2)
    columns = [np.log(predict(x + one) / predict(x - one)) / (2 * one.sum()) for one in np.diag(steps)]
    return np.stack(columns, axis=1)
