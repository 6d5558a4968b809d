"""The minimiser of many samples against scipy on one, and the projection against a solver of non-negative squares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize, nnls
from support.laws import draw_runs, read_epoch

from star.laws.chinchilla import Chinchilla
from star.laws.projection import _non_negative, fit_projected, grid_starts, project
from star.laws.published import BESIROGLU, LUDZIEJEWSKI
from star.laws.sums import Problem, _newton_step, huber, minimise, objective, predict, whiten


def test_huber_is_quadratic_then_linear():
    r = np.linspace(-5, 5, 101)
    naive = [x * x / 2 if abs(x) <= 2 else 2 * (abs(x) - 1) for x in r]
    assert huber(r, 2.0) == pytest.approx(naive)


@pytest.mark.parametrize("law", [BESIROGLU, LUDZIEJEWSKI])
def test_a_sum_of_terms_is_the_law(law):
    runs = draw_runs(law, 20)
    logs, shares = predict(Problem(law.features(runs), np.log(runs.loss)), law.to_vector()[None, :])
    assert np.exp(logs[0]) == pytest.approx(law.predict(runs), rel=1e-12)
    assert shares.sum(axis=0) == pytest.approx(1)


def test_a_step_without_damping_is_newtons():
    """Against gradient and Hessian by differences."""
    runs = draw_runs(BESIROGLU, 30, noise=0.01)
    problem = Problem(Chinchilla.features(runs) @ whiten(Chinchilla.features(runs)), np.log(runs.loss), delta=0.02)
    x = np.linalg.inv(whiten(Chinchilla.features(runs))) @ BESIROGLU.to_vector()
    counts = np.random.default_rng(0).integers(0, 3, (1, 30)).astype(float)

    def value(x):
        return objective(problem, x[None, :], counts)[0]

    axes = 1e-3 * np.eye(5)
    gradient = np.array([value(x + e) - value(x - e) for e in axes]) / 2e-3
    hessian = np.array(
        [[value(x + e + f) - value(x + e - f) - value(x - e + f) + value(x - e - f) for e in axes] for f in axes]
    )
    step = _newton_step(problem, x[None, :], counts, np.zeros(1))[0]
    assert step == pytest.approx(-np.linalg.solve(hessian / 4e-6, gradient), rel=2e-2)


@pytest.mark.parametrize("seed", range(4))
def test_every_sample_has_the_minimum_that_a_simplex_finds(seed):
    """A sample is a table in which runs are repeated."""
    runs, random = read_epoch(), np.random.default_rng(seed)
    problem = Problem(Chinchilla.features(runs), np.log(runs.loss))
    counts = random.multinomial(240, np.full(240, 1 / 240), size=5).astype(float)
    start = np.tile(BESIROGLU.to_vector(), (5, 1))
    x, value = minimise(problem, counts, start)
    assert objective(problem, x, counts) == pytest.approx(value, rel=1e-12)
    rows = np.repeat(np.arange(240), counts[seed].astype(int))
    repeated = Problem(problem.features[:, rows], problem.target[rows])
    again, least = minimise(repeated, np.ones((1, 240)), start[:1])
    assert (again[0], least[0]) == (pytest.approx(x[seed], rel=1e-6), pytest.approx(value[seed], rel=1e-9))

    def cost(x):
        return 1e3 * objective(repeated, x[None, :], np.ones((1, 240)))[0]

    options = {"maxiter": 3000, "maxfev": 3000, "xatol": 1e-9, "fatol": 1e-12}
    nearby = minimize(cost, x[seed] * 1.0001, method="Nelder-Mead", options=options)
    assert least[0] <= nearby.fun / 1e3 * (1 + 1e-9)


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.5]))
def test_least_squares_without_negative_unknowns(seed, shift):
    random = np.random.default_rng(seed)
    columns, target = random.normal(size=(8, 3)) + shift, random.normal(size=8)
    solution, gain = _non_negative(columns.T @ columns, columns.T @ target)
    wanted, norm = nnls(columns, target)
    assert solution == pytest.approx(wanted, rel=1e-6, abs=1e-9)
    assert gain == pytest.approx(target @ target - norm**2, rel=1e-6, abs=1e-9)


def test_the_grid_begins_near_the_law():
    runs = draw_runs(BESIROGLU, 60)
    (start,) = grid_starts(runs, np.ones((1, 60)))
    assert start[3:] == pytest.approx([BESIROGLU.alpha, BESIROGLU.beta], abs=0.041), "a point of the grid beside it"
    assert project(runs, np.array([BESIROGLU.alpha, BESIROGLU.beta]), True)[0] == pytest.approx(
        [BESIROGLU.E, BESIROGLU.A, BESIROGLU.B], rel=1e-6
    )
    (tied,) = grid_starts(runs, np.ones((1, 60)), tied=True)
    assert tied[3] == tied[4]


def test_no_exponents_project_better_than_the_local_optimum():
    runs = draw_runs(BESIROGLU, 60, noise=0.01)
    law = fit_projected(runs)
    least = project(runs, np.array([law.alpha, law.beta]), True)[1]
    for alpha in np.linspace(0.1, 1, 30):
        assert all(project(runs, np.array([alpha, beta]), True)[1] >= least for beta in np.linspace(0.1, 1, 30))
