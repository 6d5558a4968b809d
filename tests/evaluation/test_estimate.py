"""Estimates of long losses: against naive fits, planted laws, and what was measured."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star.architecture.genome import Space, decode
from star.architecture.scales import SCALES
from star.architecture.structures import FAMILIES
from star.cost.target import Target
from star.evaluation.estimate import (
    COSTS,
    INPUTS,
    LEAST,
    NOISES,
    OWN,
    REACH,
    SHARES,
    Estimator,
    Features,
    Observation,
    Traits,
    fit_stage,
    leave_out,
    similarity,
)
from star.evaluation.prior import prior_noise, read_prior, seed_noise

NANO = SCALES["nano"]
MARKS = 4
NAMES = ("SA-1", "Rec-1", "Rec-1-Diff", "GConv-1")


def draw_operators(rng, number, slots=3):
    return [tuple(NAMES[one] for one in rng.integers(len(NAMES), size=slots)) for _ in range(number)]


def draw(rng, number, noise=0.01, groups=("a", "b")):
    """Trainings whose losses follow a law that is linear in the loss before, its slope and two values."""
    observations = []
    for operators in draw_operators(rng, number, 12):
        group, values = groups[rng.integers(len(groups))], tuple(rng.normal(size=2))
        losses = [3 + 0.2 * values[0] + 0.1 * rng.normal()]
        for mark in range(MARKS - 1):
            slope = losses[-1] - losses[-2] if mark else 0.0
            gain = -0.2 * losses[-1] + 0.1 * slope + 0.05 * values[1] + 0.03 * (group == "b")
            losses.append(losses[-1] + gain + noise * rng.normal())
        observations.append(Observation(group, Traits(values, operators), tuple(losses)))
    return observations


def naive_covariance(inputs, operators, groups, share):
    """Entry by entry."""
    inputs = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    return np.array(
        [
            [
                np.dot(inputs[i], inputs[j]) / inputs.shape[1]
                + share * similarity([operators[i]], [operators[j]])[0, 0]
                + OWN * (groups[i] == groups[j])
                for j in range(len(inputs))
            ]
            for i in range(len(inputs))
        ]
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_stage_predicts_best_the_architectures_that_it_leaves_out(seed):
    """Each is left out in all groups, and all others are fitted anew."""
    rng = np.random.default_rng(seed)
    operators = [one for one in draw_operators(rng, 8) for _ in range(2)] + draw_operators(rng, 4)
    groups = ["a", "b"] * 8 + ["a"] * 4
    inputs, gains = rng.normal(size=(20, 3)), rng.normal(size=20)
    stage = fit_stage(inputs, operators, groups, gains)

    def left_out(share, noise):
        whole = naive_covariance(inputs, operators, groups, share) + noise * np.eye(20)
        squares, scaled = 0.0, 0.0
        for one in set(operators):
            out = np.array([other == one for other in operators])
            weights = np.linalg.solve(whole[~out][:, ~out], whole[~out][:, out]).T
            errors = gains[out] - gains.mean() - weights @ (gains[~out] - gains.mean())
            spread = whole[out][:, out] - weights @ whole[~out][:, out]
            squares += (errors**2).sum()
            scaled += (errors**2 / np.diag(spread)).sum()
        return squares / 20, scaled / 20

    share, noise = min(((one, other) for one in SHARES for other in NOISES), key=lambda pair: left_out(*pair)[0])
    assert (stage.covariance.share, stage.covariance.noise) == (share, noise)
    squares, scaled = left_out(share, noise)
    assert (stage.deviation**2, stage.amplitude) == pytest.approx((squares, scaled))
    places = [np.array([[i] for i in range(20)])]
    single = leave_out(stage.inverse, stage.duals, places)[0]
    assert single == pytest.approx(((stage.duals / np.diag(stage.inverse)) ** 2).mean())


def test_what_operators_gain_is_learned_from_like_architectures():
    rng = np.random.default_rng(6)
    operators, trained = draw_operators(rng, 200, 8), 100
    gains = np.array([-0.1 * one.count("GConv-1") for one in operators]) + 0.01 * rng.normal(size=200)
    inputs = rng.normal(size=(200, 2))
    stage = fit_stage(inputs[:trained], operators[:trained], ["a"] * trained, gains[:trained])
    assert stage.covariance.share > 0
    found = [stage.predict(inputs[i], operators[i], "a") for i in range(trained, 200)]
    misses = np.array([one.mean for one in found]) - gains[trained:]
    assert misses.std() < 0.6 * gains[trained:].std()
    assert np.mean(np.abs(misses) < 1.96 * np.array([one.error for one in found])) > 0.88


def test_similarity_by_hand_and_as_a_covariance():
    one, moved, other = ("SA-1", "Rec-1"), ("Rec-1", "SA-1"), ("SA-1", "Rec-1-Diff")
    far, near = np.exp(-1 / REACH), np.exp(-0.5 / REACH)
    assert similarity([one], [one, moved, other, ("GConv-1", "GConv-1"), ("SA-1",)])[0] == pytest.approx(
        [1, (far + 1) / 2, (near + 1) / 2, far, near]
    )
    rng = np.random.default_rng(7)
    for slots in (1, 3, 8):
        rows = draw_operators(rng, 30, slots)
        whole = similarity(rows, rows)
        np.testing.assert_allclose(whole, whole.T)
        assert np.linalg.eigvalsh(whole).min() > -1e-9


def test_a_planted_law_is_recovered_from_every_mark():
    rng = np.random.default_rng(0)
    estimator = Estimator(draw(rng, 400, noise=0.001), MARKS)
    assert estimator.target == MARKS - 1
    for one in draw(rng, 50, noise=0.001):
        for reached in range(1, MARKS):
            found = estimator.estimate(Observation(one.group, one.traits, one.losses[:reached]))
            assert found.mean == pytest.approx(one.losses[-1], abs=0.02)


def test_intervals_cover_what_they_claim():
    """At each mark, over fits to several draws: one draw alone tells a standard deviation to a twentieth."""
    inside = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        estimator = Estimator(draw(rng, 200), MARKS)
        for one in draw(rng, 300):
            known = [Observation(one.group, one.traits, one.losses[:reached]) for reached in range(MARKS)]
            found = [estimator.estimate(other) for other in known]
            inside.append([abs(other.mean - one.losses[-1]) < 1.96 * other.error for other in found])
    assert all(0.92 < share < 0.98 for share in np.mean(inside, axis=0))


def test_errors_cover_an_architecture_that_the_prior_leaves_out():
    """The losses of its two corpora differ by less than the errors, and say nothing of them."""
    prior = [one for one in read_prior("nano") if one.seed == 0]
    features, marks = Features(NANO.dims), (117, 468, 1872, 3510)
    rows = [Observation(one.corpus, features(one.genome), tuple(map(one.losses.get, marks))) for one in prior]
    misses = []
    for operators in sorted({one.traits.operators for one in rows})[::3]:
        estimator = Estimator([one for one in rows if one.traits.operators != operators], len(marks))
        for one in rows:
            if one.traits.operators == operators:
                known = [Observation(one.group, one.traits, one.losses[:reached]) for reached in range(len(marks))]
                found = [estimator.estimate(other) for other in known]
                misses.append([(other.mean - one.losses[-1]) / other.error for other in found])
    inside = (np.abs(misses) < 2).mean(axis=0)
    assert len(misses) > 20 and (inside > 0.85).all()
    assert (np.square(misses).mean(axis=0) > 0.4).all(), "and no more than that"


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
        found = estimator.estimate(Observation("c", one.traits, one.losses[:1]))
        assert found.mean == pytest.approx(one.losses[-1], abs=0.1)


def test_errors_leave_out_the_level_of_a_group_that_was_never_seen():
    """It is common to all of the group: what is said of their differences does not depend on it."""
    rng = np.random.default_rng(3)
    observations = draw(rng, 300, groups=("a", "b"))
    stage = Estimator(observations, MARKS).stages[0]
    for one in draw(rng, 20):
        inputs = np.array([one.losses[0], 0.0, *one.traits.values])
        new, known = (stage.predict(inputs, one.traits.operators, group).error for group in ("c", "a"))
        assert known < 1.5 * stage.deviation and new < 1.5 * stage.deviation < stage.amplitude**0.5 * OWN**0.5


@given(st.integers(0, 3 * LEAST), st.integers(0, 3 * LEAST))
def test_the_target_is_the_last_mark_that_enough_trainings_reached(short, long):
    rng = np.random.default_rng(4)
    observations = [Observation(one.group, one.traits, one.losses[:2]) for one in draw(rng, short)]
    estimator = Estimator(observations + draw(rng, long), MARKS)
    assert estimator.target == (MARKS - 1 if long >= LEAST else 1 if short + long >= LEAST else 0)
    assert (estimator.first is not None) == (short + long >= LEAST)


def test_features_are_costs_and_shares():
    features, target = Features(NANO.dims), Target(dims=NANO.dims, context=NANO.dims.seq_len, dtype_bytes=2)
    rng = np.random.default_rng(5)
    for _ in range(20):
        genome = Space(8, "extended").sample(rng)
        log_params, log_flops, log_cache, *shares = features(genome).values
        assert features(genome).operators == tuple(slot.liv.name for slot in decode(genome))
        cost = target.count(genome)
        known = [cost.params, cost.flops_per_token, max(1, cost.cache_bytes)]
        assert np.exp([log_params, log_flops, log_cache]) == pytest.approx(known)
        assert sum(shares) == pytest.approx(1.0) and len(shares) == len(FAMILIES) == len(INPUTS) - 2 - len(COSTS)


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


def test_the_noise_between_seeds_is_the_pooled_variance():
    groups = [[2.0, 2.1, 2.3], [1.0, 1.4], [5.0]]
    noise = seed_noise(groups)
    assert noise.freedom == 3 and noise.squares == pytest.approx(
        2 * np.var(groups[0], ddof=1) + np.var(groups[1], ddof=1)
    )
    prior = read_prior("nano")
    found, rows = prior_noise(prior, 468), {}
    for one in prior:
        rows.setdefault((one.corpus, one.genome), []).append(one.losses[468])
    assert found.freedom == sum(len(row) - 1 for row in rows.values()) == len(prior) - len(rows)
