"""Intervals: against fits of repeated tables one by one, and by how often they hold the constants of a known law."""

import time

import numpy as np
import pytest
from scipy.stats import binom
from support.laws import draw_runs, read_epoch

from star.errors import UserError
from star.laws.fits import fit, refit
from star.laws.intervals import LEVEL, Bootstrap, bootstrap, leave_out_largest
from star.laws.overtraining import OverTraining
from star.laws.published import BESIROGLU, KAPLAN, KRAJEWSKI, LUDZIEJEWSKI, MUENNIGHOFF

LAWS = {
    "chinchilla": BESIROGLU,
    "over-training": OverTraining.from_chinchilla(MUENNIGHOFF.once),
    "kaplan": KAPLAN,
    "experts": LUDZIEJEWSKI,
    "granularity": KRAJEWSKI,
    "data-constrained": MUENNIGHOFF,
}


@pytest.mark.parametrize("name", LAWS)
def test_a_weighted_sample_is_a_table_with_repeated_runs(name):
    runs = draw_runs(LAWS[name], 120, 0.003, convention="non-embedding" if name == "kaplan" else "total")
    made = fit(runs, name)
    counts = np.random.default_rng(1).multinomial(120, np.full(120, 1 / 120), size=3).astype(float)
    for one, law in zip(counts, refit(runs, made, counts), strict=True):
        alone = fit(runs.take(np.repeat(np.arange(120), one.astype(int))), name)
        assert alone.law.to_vector() == pytest.approx(law.to_vector(), rel=1e-4)


def test_a_squared_fit_is_sampled_by_its_own_objective():
    runs = draw_runs(BESIROGLU, 60, 0.003)
    made = fit(runs, objective="squared")
    (law,) = refit(runs, made, np.ones((1, 60)))
    assert law == made.law


def test_an_interval_lies_between_quantiles_of_the_samples():
    laws = [OverTraining(float(i), 1.0, 1.0, 0.1) for i in range(1001)]
    assert Bootstrap(laws).interval(lambda law: law.E) == pytest.approx((25, 975))
    assert Bootstrap(laws).constants()["eta"] == (0.1, 0.1)


def test_seeds_and_numbers_of_samples():
    runs = draw_runs(BESIROGLU, 60, 0.005)
    made = fit(runs)
    first, again, other = (bootstrap(runs, made, 100, seed).constants() for seed in (0, 0, 1))
    assert first == again != other


def test_intervals_narrow_as_the_square_root_of_the_runs():
    widths = []
    for number in (40, 360):
        runs = draw_runs(BESIROGLU, number, 0.005)
        found = bootstrap(runs, fit(runs), 150).constants()["alpha"]
        widths.append(found.high - found.low)
    assert widths[0] / widths[1] == pytest.approx(3, rel=0.4)


def test_the_intervals_of_chinchilla_hold_the_published_errors():
    """Standard errors of Besiroglu et al. 2024: 0.03 of E, 0.02 of alpha and beta."""
    runs = read_epoch()
    found = bootstrap(runs, fit(runs), 200)
    for name, error in (("E", 0.03), ("alpha", 0.02), ("beta", 0.02)):
        spread = np.std([getattr(law, name) for law in found.laws])
        assert 0.4 * error < spread < 1.5 * error


def coverage(sets, samples, runs, noise):
    """Return how often the interval of each constant, and of the best size, holds that of the law."""
    hits = []
    for seed in range(sets):
        drawn = draw_runs(BESIROGLU, runs, noise, seed)
        found = bootstrap(drawn, fit(drawn), samples, seed)
        quantities = [*(lambda law, name=name: getattr(law, name) for name in ("E", "A", "B", "alpha", "beta"))]
        quantities += [lambda law: law.params_exponent, lambda law: law.optimum(1e24).params]
        intervals = [(found.interval(quantity), quantity(BESIROGLU)) for quantity in quantities]
        hits.append([one.low <= true <= one.high for one, true in intervals])
    return np.sum(hits, axis=0)


def check_coverage(hits, sets):
    """A right level fails here once in 10,000 times for each quantity."""
    low, high = binom.interval(1 - 1e-4, sets, LEVEL)
    assert (hits >= low).all() and (hits <= high).all(), hits


def test_the_level_of_intervals_is_near_nominal():
    check_coverage(coverage(8, 120, 40, 0.005), 8)


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.002, 0.01])
def test_the_level_of_intervals_is_nominal_over_200_tables(noise):
    check_coverage(coverage(200, 200, 60, noise), 200)


@pytest.mark.slow
def test_a_thousand_samples_of_240_runs_take_less_than_20_seconds():
    runs = read_epoch()
    made = fit(runs)
    started = time.process_time()
    assert len(bootstrap(runs, made, 1000).laws) == 1000
    assert time.process_time() - started < 20


def test_the_largest_budgets_are_left_out_and_predicted():
    runs = read_epoch()
    found = leave_out_largest(runs, fit(runs))
    kept = runs.take(runs.budgets <= found.flops)
    assert found.runs == 60 and len(kept) == 180
    law = fit(kept).law
    assert found.constants == fit(kept).constants
    rest = runs.take(runs.budgets > found.flops)
    errors = np.log(rest.loss / law.predict(rest))
    assert (found.error, found.bias) == pytest.approx((np.abs(errors).mean(), errors.mean()))


def test_a_law_predicts_its_own_largest_budgets():
    runs = draw_runs(BESIROGLU, 60)
    found = leave_out_largest(runs, fit(runs))
    assert found.runs == 15 and found.error < 1e-9


def test_runs_that_cannot_be_left_out_are_named():
    runs = draw_runs(BESIROGLU, 12)
    found = leave_out_largest(runs, fit(runs))
    assert found.constants is None and "need at least 10 runs, not 9" in found.reason


def test_samples_that_cannot_be_fitted_are_refused():
    """Ten runs without repetition are needed, and half of the samples have fewer."""
    runs = draw_runs(MUENNIGHOFF, 120, seed=3)
    once = np.flatnonzero(runs.tokens <= runs.unique_tokens)
    runs = runs.take(np.sort(np.concatenate([once[:10], np.setdiff1d(np.arange(120), once)])))
    made = fit(runs, "data-constrained")
    with pytest.raises(UserError, match="samples of the runs cannot be fitted"):
        bootstrap(runs, made, 20)
