"""Runs that cannot carry a law are refused with the reason; runs that can are not."""

import numpy as np
import pytest
from support.laws import draw_runs, read_epoch, read_gadre, with_losses

from star.errors import UserError
from star.laws.chinchilla import Chinchilla
from star.laws.fits import fit
from star.laws.limits import check_condition
from star.laws.published import BESIROGLU, KAPLAN, MUENNIGHOFF
from star.laws.runs import Runs


def runs_of(params, tokens, law=BESIROGLU, noise=0.003, convention="total"):
    random = np.random.default_rng(0)
    loss = law.loss(params, tokens) * np.exp(random.normal(0, noise, len(params)))
    return Runs(params=params, tokens=tokens, loss=loss, convention=convention)


RANDOM = np.random.default_rng(1)
SIZES = np.exp(RANDOM.uniform(np.log(5e7), np.log(5e9), 40))
LENGTHS = np.exp(RANDOM.uniform(np.log(1e9), np.log(1e11), 40))


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (runs_of(SIZES[:9], LENGTHS[:9]), "5 constants need at least 10 runs, not 9"),
        (runs_of(np.geomspace(1e9, 3e9, 40), LENGTHS), "params lie between 1G and 3G, which is too narrow"),
        (runs_of(SIZES, np.geomspace(1e10, 3.9e10, 40)), "tokens lie between 10G and 39G, which is too narrow"),
        (runs_of(SIZES, 20 * SIZES), "tokens follow from params"),
        (runs_of(SIZES, 5e5 * SIZES**0.5), "tokens follow from params"),
        (runs_of(SIZES, LENGTHS, Chinchilla(2.0, 400.0, 0.0, 0.35, 0.3), 0), "the runs show no effect of tokens"),
        (runs_of(SIZES, LENGTHS, Chinchilla(2.0, 0.0, 900.0, 0.35, 0.3), 0), "the runs show no effect of params"),
        (runs_of(SIZES, LENGTHS, Chinchilla(1e-9, 400.0, 900.0, 0.35, 0.3), 0), "the runs show no floor"),
        (runs_of(SIZES, LENGTHS, Chinchilla(0.5, 400.0, 2.0, 0.35, 0.005), 0), "condition number of the Jacobian is"),
    ],
)
def test_what_cannot_be_told_is_refused(runs, words):
    with pytest.raises(UserError, match=words) as refused:
        fit(runs)
    assert "\n" not in str(refused.value)


def test_kaplan_of_runs_that_show_no_tokens_is_refused():
    runs = runs_of(SIZES, LENGTHS, noise=0, convention="non-embedding")
    flat = with_losses(runs, (8.8e13 / runs.params) ** 0.076)
    with pytest.raises(UserError, match="no effect of tokens"):
        fit(flat, "kaplan")
    assert fit(with_losses(runs, KAPLAN.predict(runs)), "kaplan").law.alpha_N == pytest.approx(0.076, rel=1e-5)


def test_repetition_that_costs_nothing_is_refused():
    runs = draw_runs(MUENNIGHOFF, 120)
    with pytest.raises(UserError, match="repetition costs nothing"):
        fit(with_losses(runs, MUENNIGHOFF.once.predict(runs)), "data-constrained")
    once = runs.take(runs.tokens <= runs.unique_tokens)
    with pytest.raises(UserError, match="10 runs that see each token once and others"):
        fit(once, "data-constrained")


def test_published_runs_are_not_refused():
    for runs in (read_epoch(), *(read_gadre(name) for name in ("c4_original", "rpj", "rw_original"))):
        fit(runs)


def test_the_condition_number_does_not_depend_on_the_unit():
    runs = runs_of(SIZES, LENGTHS)
    small = Runs(params=runs.params / 1e6, tokens=runs.tokens / 1e9, loss=runs.loss)
    assert fit(small).law.alpha == pytest.approx(fit(runs).law.alpha, rel=1e-6)


def test_a_jacobian_that_is_no_number_is_refused():
    check_condition(np.eye(3))
    with pytest.raises(UserError, match="condition number of the Jacobian is inf"):
        check_condition(np.full((3, 3), np.nan))
