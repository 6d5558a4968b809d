"""What a fit needs of its runs, and the reasons for which one is refused."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from star.errors import UserError
from star.laws.runs import Runs
from star.units import write_amount

RUNS_PER_CONSTANT = 2
LEAST_SPAN = 4.0  # the largest N or D over the smallest
LEAST_SPREAD = 0.1  # standard deviation of log D at equal N
LEAST_EFFECT = 1e-3  # of a term, or of all params or tokens of the table, as a fraction of the loss
WORST_CONDITION = 1e3


def check_runs(runs: Runs, constants: int) -> None:
    """Refuse runs from which no law of N and D with this number of constants can be told.

    Raises:
        UserError: too few runs, a range of N or D that is too narrow, or one that follows from the other.
    """
    least = RUNS_PER_CONSTANT * constants
    if len(runs) < least:
        raise UserError(f"{constants} constants need at least {least} runs, not {len(runs)}")
    for name, amount in (("params", runs.used_params), ("tokens", runs.tokens)):
        low, high = float(amount.min()), float(amount.max())
        if high < LEAST_SPAN * low:
            raise UserError(
                f"{name} lie between {write_amount(low)} and {write_amount(high)}, which is too narrow for a law: "
                f"the largest must be at least {LEAST_SPAN:g} times the smallest"
            )
    params, tokens = np.log(runs.used_params), np.log(runs.tokens)
    slope, offset = np.polyfit(params, tokens, 1)
    if np.std(tokens - slope * params - offset) < LEAST_SPREAD:
        raise UserError("tokens follow from params in these runs, so that the terms of the two cannot be told apart")


def check_effects(predict: Callable[[Runs], np.ndarray], runs: Runs) -> None:
    """Refuse a fit in which the loss does not depend on N or on D.

    Args:
        predict: the losses of a law.

    Raises:
        UserError: between the smallest and the largest N or D of the table no prediction changes by a thousandth.
    """
    ends = {
        "params": [replace(runs, params=_all(runs, end), active_params=None) for end in _ends(runs.used_params)],
        "tokens": [replace(runs, tokens=_all(runs, end)) for end in _ends(runs.tokens)],
    }
    for name, (low, high) in ends.items():
        if np.abs(np.log(predict(low) / predict(high))).max() < LEAST_EFFECT:
            raise UserError(f"the runs show no effect of {name} on the loss")


def check_floor(share: np.ndarray) -> None:
    """Refuse a fit whose constant term vanished.

    Args:
        share: of the term in the prediction of each run.

    Raises:
        UserError: it is below a thousandth everywhere.
    """
    if share.max() < LEAST_EFFECT:
        raise UserError("the runs show no floor of the loss: the constant term is 0 in the best fit")


def _ends(amount: np.ndarray) -> tuple[float, float]:
    return float(amount.min()), float(amount.max())


def _all(runs: Runs, amount: float) -> np.ndarray:
    return np.full(len(runs), amount)


def check_condition(jacobian: np.ndarray, worst: float = WORST_CONDITION) -> None:
    """Refuse a fit whose constants trade off against each other without a change of the predictions.

    Args:
        jacobian: derivatives of the log predictions, of shape [runs, constants], in coordinates of comparable size.
        worst: the largest condition number that is accepted.

    Raises:
        UserError: the condition number is larger.
    """
    condition = float(np.linalg.cond(jacobian)) if np.isfinite(jacobian).all() else np.inf
    if not condition <= worst:
        raise UserError(
            f"the runs do not determine all constants: the condition number of the Jacobian is {condition:.2g}, above "
            f"{worst:g}; runs with other ratios of tokens to params are needed"
        )
