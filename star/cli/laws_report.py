"""Output of star laws fit, as text and as JSON."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from star.cli.console import count, note, say, stdout
from star.cli.table import Table
from star.errors import UserError
from star.laws.fits import LAWS, Fit
from star.laws.intervals import Bootstrap, HeldOut, Interval
from star.laws.isoflop import Allocation, Bias
from star.laws.runs import Runs
from star.units import write_amount

SUMS = {"huber": "sum of Huber losses", "squared": "sum of squared errors"}


def print_fit(made: Fit, budgets: Sequence[float], sampled: Bootstrap | None, held_out: HeldOut) -> None:
    """Print the constants with intervals, the best sizes and the residuals of a fit."""
    say(
        f"{made.name}: {count(len(made.residuals), 'run')}, {made.convention} parameters, by {made.estimator}",
        f"L = {LAWS[made.name].formula}",
        "",
    )
    intervals = sampled.constants() if sampled else {}
    rows = Table("constant", ">value", ">95 % interval", ">without the largest budgets")
    for name, value in made.constants.items():
        without = f"{held_out.constants[name]:.5g}" if held_out.constants else "-"
        rows.add_row(name, f"{value:.5g}", _span(intervals.get(name), "{:.4g}".format), without)
    stdout().print(rows)
    say("")
    sizes = Table(">FLOPs", ">params", ">95 % interval", ">tokens", ">tokens/param", ">loss")
    for one in _optima(made, budgets, sampled):
        size = one["params_interval"]
        sizes.add_row(
            f"{one['flops']:.3g}",
            write_amount(one["params"], "params"),
            _span(size and Interval(*size), lambda x: write_amount(float(f"{x:.3g}"), "params")),
            write_amount(one["tokens"], "params"),
            f"{one['tokens'] / one['params']:.3g}",
            f"{one['loss']:.4f}",
        )
    stdout().print(sizes)
    say("", *(f"at {name.replace('_', ' ')} {write_amount(value)}" for name, value in made.fixed.items()))
    residuals = np.abs(made.residuals)
    say(
        f"residuals: {residuals.mean():.2%} of the loss on average, {residuals.max():.2%} at most; "
        f"{SUMS[made.objective]} {made.value:.6g}"
    )
    above = f"the {count(held_out.runs, 'run')} above {held_out.flops:.3g} FLOPs"
    if held_out.constants:
        way = "low" if held_out.bias > 0 else "high"
        say(
            f"a fit without {above} predicts them {held_out.error:.2%} off on average, "
            f"{abs(held_out.bias):.2%} too {way}"
        )
    else:
        note(f"note: no fit without {above}: {held_out.reason}")


def fit_record(made: Fit, budgets: Sequence[float], sampled: Bootstrap | None, held_out: HeldOut) -> dict[str, Any]:
    """Return a fit as a JSON value."""
    intervals = sampled.constants() if sampled else {}
    residuals = np.abs(made.residuals)
    return {
        "law": made.name,
        "estimator": made.estimator,
        "objective": made.objective,
        "objective_value": made.value,
        "params_convention": made.convention,
        "runs": len(made.residuals),
        "constants": {
            name: {"value": value, "interval": intervals.get(name)} for name, value in made.constants.items()
        },
        "fixed": made.fixed,
        "optima": _optima(made, budgets, sampled),
        "residuals": {"mean": float(residuals.mean()), "max": float(residuals.max()), "log": made.residuals.tolist()},
        "without_largest": {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in held_out._asdict().items()
        },
    }


def print_allocation(
    estimator: str, found: Allocation, runs: Runs, budgets: Sequence[float], bias: Bias | None, reason: str
) -> None:
    """Print the exponents and the best sizes of Approach 1 or 2, and the bias of the latter."""
    say(
        f"{estimator}: {count(len(runs), 'run')}, {runs.convention} parameters, {count(len(found.points), 'budget')}",
        "",
        f"N = {found.params_scale:.4g} C^{found.params_exponent:.4f}",
        f"D = {found.tokens_scale:.4g} C^{found.tokens_exponent:.4f}",
        "",
    )
    sizes = Table(">FLOPs", ">params", ">tokens", ">tokens/param")
    for flops in budgets:
        params, tokens = found.params(flops), found.tokens(flops)
        amounts = (write_amount(params, "params"), write_amount(tokens, "params"))
        sizes.add_row(f"{flops:.3g}", *amounts, f"{tokens / params:.3g}")
    stdout().print(sizes)
    if bias:
        note(
            "warning: parabolas are biased even without noise: on noiseless losses of the fitted chinchilla law at "
            f"these runs the exponent of N is {bias.exponent:+.4f} off, and N {bias.params - 1:+.1%} at the largest "
            f"budget, {bias.extrapolated - 1:+.1%} at a hundred times it"
        )
    elif estimator == "isoflop":
        note(f"warning: parabolas are biased even without noise, and by how much cannot be told here: {reason}")


def allocation_record(
    estimator: str, found: Allocation, runs: Runs, budgets: Sequence[float], bias: Bias | None
) -> dict[str, Any]:
    """Return the result of Approach 1 or 2 as a JSON value."""
    return {
        "estimator": estimator,
        "params_convention": runs.convention,
        "runs": len(runs),
        "params_exponent": found.params_exponent,
        "params_scale": found.params_scale,
        "tokens_exponent": found.tokens_exponent,
        "tokens_scale": found.tokens_scale,
        "budgets": len(found.points),
        "optima": [{"flops": one, "params": found.params(one), "tokens": found.tokens(one)} for one in budgets],
        "bias": bias and bias._asdict(),
    }


def _optima(made: Fit, budgets: Sequence[float], sampled: Bootstrap | None) -> list[dict[str, Any]]:
    """Return the best sizes by budget, with the interval of N if every sample has one."""
    optima = []
    for flops in budgets:
        best = made.optimum(flops)
        try:
            interval = sampled and sampled.interval(lambda law, flops=flops: made.optimum(flops, law).params)
        except UserError:
            interval = None
        optima.append(best._asdict() | {"params_interval": interval})
    return optima


def _span(interval: Interval | None, write: Any) -> str:
    return f"{write(interval.low)} .. {write(interval.high)}" if interval else "-"
