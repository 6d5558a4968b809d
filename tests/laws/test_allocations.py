"""Approaches 1 and 2, whose results on noiseless runs of a law are known."""

from dataclasses import replace

import numpy as np
import pytest
from support.laws import read_epoch, with_losses

from star.errors import UserError
from star.laws.envelope import fit_envelope
from star.laws.fits import fit
from star.laws.isoflop import bias_of, fit_isoflop, group_budgets
from star.laws.published import BESIROGLU, HOFFMANN
from star.laws.runs import Runs

BUDGETS = np.geomspace(1e18, 1e21, 7)


def isoflop_runs(law, centre=1.0, width=4.0, drift=1.0):
    """Nine sizes for each budget, around the best one times `centre`, which moves by `drift` from first to last."""
    around = np.geomspace(1 / width, width, 9)
    moved = centre * np.geomspace(1, drift, len(BUDGETS))
    params = np.concatenate([law.optimum(c).params * m * around for c, m in zip(BUDGETS, moved, strict=True)])
    flops = np.repeat(BUDGETS, 9)
    tokens = flops / (6 * params)
    return Runs(params=params, tokens=tokens, flops=flops, loss=law.loss(params, tokens))


def test_parabolas_are_right_where_the_law_is_symmetric():
    law = replace(BESIROGLU, beta=BESIROGLU.alpha)
    runs = isoflop_runs(law)
    found = fit_isoflop(runs)
    assert [point.params for point in found.points] == pytest.approx([law.optimum(c).params for c in BUDGETS])
    assert (found.params_exponent, found.tokens_exponent) == pytest.approx((0.5, 0.5))
    assert bias_of(runs, law) == pytest.approx((0, 1, 1), abs=1e-9)


@pytest.mark.parametrize("law", [BESIROGLU, HOFFMANN])
def test_parabolas_of_centred_sizes_have_a_wrong_scale_and_the_right_exponent(law):
    bias = bias_of(isoflop_runs(law), law)
    assert bias.exponent == pytest.approx(0, abs=1e-9)
    assert bias.params != pytest.approx(1, abs=1e-3)
    assert bias.extrapolated == pytest.approx(bias.params)
    wider = bias_of(isoflop_runs(law, width=8), law)
    assert abs(np.log(wider.params)) > abs(np.log(bias.params))


def test_parabolas_of_sizes_that_drift_have_a_wrong_exponent():
    law = replace(BESIROGLU, beta=BESIROGLU.alpha)
    runs = isoflop_runs(law, drift=3)
    bias = bias_of(runs, law)
    assert abs(bias.exponent) > 5e-3
    found = fit_isoflop(runs)
    assert found.params_exponent - law.params_exponent == pytest.approx(bias.exponent), "the runs are noiseless"
    at = 100 * BUDGETS[-1]
    assert found.params(at) / law.optimum(at).params == pytest.approx(bias.extrapolated)
    assert fit(runs).law.params_exponent == pytest.approx(0.5, abs=1e-6), "the fit of the law has no bias"


def test_a_vertex_is_that_of_the_parabola_in_log_params():
    runs = isoflop_runs(BESIROGLU).take(np.arange(27))
    found = fit_isoflop(runs)
    for i, point in enumerate(found.points):
        part = runs.take(np.arange(9 * i, 9 * i + 9))
        a, b, _ = np.polyfit(np.log(part.params), part.loss, 2)
        assert point.params == pytest.approx(np.exp(-b / (2 * a)), rel=1e-5)
        assert 6 * point.params * point.tokens == pytest.approx(BUDGETS[i])


def test_the_runs_of_chinchilla_give_about_one_half():
    runs = read_epoch()
    found = fit_isoflop(runs)
    assert found.params_exponent == pytest.approx(0.49, abs=0.04), "published: 0.49, from 0.462 to 0.534"
    assert fit_envelope(runs).params_exponent == pytest.approx(0.50, abs=0.04)
    bias = bias_of(runs, fit(runs).law)
    noiseless = fit_isoflop(with_losses(runs, fit(runs).law.predict(runs)))
    assert bias.exponent == pytest.approx(noiseless.params_exponent - fit(runs).law.params_exponent)


def test_budgets_are_grouped_within_a_tenth():
    runs = replace(isoflop_runs(BESIROGLU), flops=None)
    assert [len(group) for group in group_budgets(runs)] == [9] * 7
    shaken = replace(runs, tokens=runs.tokens * np.random.default_rng(0).uniform(1, 1.09, len(runs)))
    assert [sorted(group) for group in group_budgets(shaken)] == [list(range(i, i + 9)) for i in range(0, 63, 9)]


def test_the_envelope_of_curves_is_the_optimum():
    sizes, lengths = np.geomspace(5e7, 5e9, 25), np.geomspace(5e8, 5e11, 40)
    params, tokens = np.repeat(sizes, 40), np.tile(lengths, 25)
    found = fit_envelope(Runs(params=params, tokens=tokens, loss=BESIROGLU.loss(params, tokens)))
    assert found.params_exponent == pytest.approx(BESIROGLU.params_exponent, abs=0.01)
    for flops in (1e19, 1e20, 1e21):
        assert found.params(flops) == pytest.approx(BESIROGLU.optimum(flops).params, rel=0.06)


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (isoflop_runs(BESIROGLU).take(np.arange(18)), "not 2"),
        (isoflop_runs(BESIROGLU, centre=30), "not 0"),
        (isoflop_runs(BESIROGLU).take(np.arange(0, 63, 4)), "not 0"),
    ],
)
def test_budgets_without_a_minimum_are_refused(runs, words):
    with pytest.raises(UserError, match=f"parabolas need 3 budgets.*{words}"):
        fit_isoflop(runs)


def test_runs_that_are_no_curves_are_refused():
    with pytest.raises(UserError, match="3 sizes with losses at several tokens, not 0"):
        fit_envelope(isoflop_runs(BESIROGLU))
    sizes, lengths = np.geomspace(5e7, 6e7, 4), np.geomspace(1e12, 2e12, 5)
    params, tokens = np.repeat(sizes, 5), np.tile(lengths, 4)
    with pytest.raises(UserError, match="seldom one between others"):
        fit_envelope(Runs(params=params, tokens=tokens, loss=BESIROGLU.loss(params, tokens)))
