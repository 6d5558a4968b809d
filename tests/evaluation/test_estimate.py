"""Estimates of long losses: against naive fits, planted laws, and what was measured."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star.architecture.genome import Space
from star.architecture.scales import SCALES
from star.architecture.structures import FAMILIES
from star.cost.target import Target
from star.evaluation.estimate import INPUTS, LEAST, OWN, PENALTIES, Estimator, Features, Observation, fit_stage
from star.evaluation.prior import read_prior

NANO = SCALES["nano"]
MARKS = 4


def draw(rng, number, noise=0.01, groups=("a", "b")):
    """Trainings whose losses follow a law that is linear in the loss before, its slope and two features."""
    observations = []
    for _ in range(number):
        group, features = groups[rng.integers(len(groups))], tuple(rng.normal(size=2))
        losses = [3 + 0.2 * features[0] + 0.1 * rng.normal()]
        for mark in range(MARKS - 1):
            slope = losses[-1] - losses[-2] if mark else 0.0
            gain = -0.2 * losses[-1] + 0.1 * slope + 0.05 * features[1] + 0.03 * (group == "b")
            losses.append(losses[-1] + gain + noise * rng.normal())
        observations.append(Observation(group, features, tuple(losses)))
    return observations


def naive_fit(inputs, gains, groups, penalty):
    """Ridge regression by its normal equations, with a weakly penalised intercept for each group."""
    names = sorted(set(groups))
    z = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    own = np.array([[OWN**0.5 * (group == name) for name in names] for group in groups])
    design = np.hstack([z, own])
    offset = gains.mean()
    weights = np.linalg.solve(design.T @ design + penalty * np.eye(design.shape[1]), design.T @ (gains - offset))
    return weights, design, offset


@pytest.mark.parametrize("seed", range(5))
def test_a_stage_is_the_ridge_regression_that_predicts_best_what_it_leaves_out(seed):
    rng = np.random.default_rng(seed)
    inputs, gains = rng.normal(size=(20, 3)), rng.normal(size=20)
    groups = [("a", "b")[one] for one in rng.integers(2, size=20)]
    stage = fit_stage(inputs, gains, groups)

    def error(penalty):
        weights, design, offset = naive_fit(inputs, gains, groups, penalty)
        inverse = np.linalg.inv(design.T @ design + penalty * np.eye(design.shape[1]))
        leverage = np.einsum("ij,jk,ik->i", design, inverse, design) + 1 / len(gains)
        return (((gains - offset - design @ weights) / (1 - leverage)) ** 2).mean()

    best = min(PENALTIES, key=error)
    weights, _, offset = naive_fit(inputs, gains, groups, best)
    np.testing.assert_allclose(stage.weights, weights, atol=1e-9)
    assert stage.offset == pytest.approx(offset) and stage.variance == pytest.approx(error(best))
    assert stage.trainings == 20


def test_a_planted_law_is_recovered_from_every_mark():
    rng = np.random.default_rng(0)
    estimator = Estimator(draw(rng, 400, noise=0.001), MARKS)
    assert estimator.target == MARKS - 1
    for one in draw(rng, 50, noise=0.001):
        for reached in range(1, MARKS):
            found = estimator.estimate(Observation(one.group, one.features, one.losses[:reached]))
            assert found.mean == pytest.approx(one.losses[-1], abs=0.02)


@pytest.mark.parametrize("reached", range(MARKS))
def test_intervals_cover_what_they_claim(reached):
    rng = np.random.default_rng(1)
    estimator = Estimator(draw(rng, 300), MARKS)
    inside = []
    for one in draw(rng, 1000):
        found = estimator.estimate(Observation(one.group, one.features, one.losses[:reached]))
        inside.append(abs(found.mean - one.losses[-1]) < 1.96 * found.error)
    assert 0.92 < np.mean(inside) < 0.98


def test_what_was_measured_is_no_estimate():
    rng = np.random.default_rng(2)
    estimator = Estimator(draw(rng, 30), MARKS)
    (one,) = draw(rng, 1)
    found = estimator.estimate(one)
    assert (found.mean, found.error) == (one.losses[-1], 0.0)


def test_a_group_that_was_never_seen_is_estimated_too():
    rng = np.random.default_rng(3)
    estimator = Estimator(draw(rng, 300, groups=("a",)), MARKS)
    for one in draw(rng, 20, groups=("c",)):
        found = estimator.estimate(Observation("c", one.features, one.losses[:1]))
        assert found.mean == pytest.approx(one.losses[-1], abs=0.1)


@given(st.integers(0, 3 * LEAST), st.integers(0, 3 * LEAST))
def test_the_target_is_the_last_mark_that_enough_trainings_reached(short, long):
    rng = np.random.default_rng(4)
    observations = [Observation(one.group, one.features, one.losses[:2]) for one in draw(rng, short)]
    estimator = Estimator(observations + draw(rng, long), MARKS)
    assert estimator.target == (MARKS - 1 if long >= LEAST else 1 if short + long >= LEAST else 0)
    assert (estimator.first is not None) == (short + long >= LEAST)


def test_features_are_costs_and_shares():
    features, target = Features(NANO.dims), Target(dims=NANO.dims, context=NANO.dims.seq_len, dtype_bytes=2)
    rng = np.random.default_rng(5)
    for _ in range(20):
        genome = Space(8, "extended").sample(rng)
        log_params, log_flops, *shares = features(genome)
        cost = target.count(genome)
        assert np.exp([log_params, log_flops]) == pytest.approx([cost.params, cost.flops_per_token])
        assert sum(shares) == pytest.approx(1.0) and len(shares) == len(FAMILIES) == len(INPUTS) - 4


def test_the_prior_of_nano_holds_whole_trainings_that_got_better():
    prior = read_prior("nano")
    assert {one.corpus for one in prior} == {"stdlib", "prose"} and len(prior) >= 56
    steps = sorted(prior[0].losses)
    assert steps[0] == NANO.recipe.steps // 9 and steps[-1] == 30 * NANO.recipe.steps
    for one in prior:
        assert (
            sorted(one.losses) == steps and one.losses[steps[-1]] < one.losses[NANO.recipe.steps] < one.losses[steps[0]]
        )
    assert read_prior("micro") == ()
