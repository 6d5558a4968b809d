"""Published laws against published numbers, and against slower ways to the same figure."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star.errors import UserError
from star.laws.experts import E_MAX, E_START, transform_experts
from star.laws.kaplan import KaplanOptimum
from star.laws.optimum import find_optimum
from star.laws.overtraining import OverTraining
from star.laws.published import (
    BESIROGLU,
    HOFFMANN,
    HOFFMANN_EXACT,
    KAPLAN,
    KAPLAN_OF_COMPUTE,
    KAPLAN_OF_PARAMS,
    KAPLAN_OF_TOKENS,
    KRAJEWSKI,
    LUDZIEJEWSKI,
    MUENNIGHOFF,
    PUBLISHED,
)
from star.laws.serving import find_served_optimum

GOPHER_BUDGET = 5.76e23  # FLOPs that Chinchilla was trained with


@pytest.mark.parametrize(
    ("law", "chinchilla", "gopher"),
    [
        (HOFFMANN, 1.936645, 1.993258),
        (HOFFMANN_EXACT, 1.920846, 1.967243),
        (BESIROGLU, 1.973882, 1.999608),
    ],
)
def test_losses_of_chinchilla_and_gopher(law, chinchilla, gopher):
    assert law.loss(70e9, 1.4e12) == pytest.approx(chinchilla, abs=5e-7)
    assert law.loss(280e9, 300e9) == pytest.approx(gopher, abs=5e-7)


@pytest.mark.parametrize(
    ("law", "params", "tokens", "ratio", "exponent"),
    [
        (HOFFMANN, 32.2e9, 2.98e12, 92.6, 0.4516),
        (HOFFMANN_EXACT, 40.4e9, 2.38e12, 58.9, 0.4565),
        (BESIROGLU, 72.2e9, 1.33e12, 18.4, 0.5126),
        (MUENNIGHOFF.once, 69.96e9, 1.372e12, 19.6, 0.5),
    ],
)
def test_the_best_size_at_the_budget_of_chinchilla(law, params, tokens, ratio, exponent):
    best = law.optimum(GOPHER_BUDGET)
    assert (best.params, best.tokens) == pytest.approx((params, tokens), rel=2e-3)
    assert best.tokens / best.params == pytest.approx(ratio, abs=0.06)
    assert law.params_exponent == pytest.approx(exponent, abs=1e-4)


@given(st.sampled_from(list(PUBLISHED)), st.floats(17, 27))
def test_the_closed_form_of_the_optimum_is_what_a_search_finds(name, power):
    law, flops = PUBLISHED[name], 10**power
    best, searched = law.optimum(flops), find_optimum(law.loss, flops)
    assert searched.params == pytest.approx(best.params, rel=1e-5)
    assert searched.loss == pytest.approx(best.loss, rel=1e-12)
    assert 6 * searched.params * searched.tokens == pytest.approx(flops)
    at = law.alpha * law.A / best.params**law.alpha
    assert at == pytest.approx(law.beta * law.B / best.tokens**law.beta, rel=1e-9), "marginal gains are equal"


def test_a_law_without_an_optimum_is_refused():
    with pytest.raises(UserError, match="no compute-optimal size"):
        find_optimum(lambda params, tokens: 2 + 100 / tokens**0.3, 1e20)


def test_the_law_of_over_training_is_that_of_chinchilla_with_one_exponent():
    law = OverTraining.from_chinchilla(MUENNIGHOFF.once)
    params, tokens = np.geomspace(1e7, 1e11, 9), np.geomspace(1e9, 1e13, 9)[::-1]
    assert law.loss(params, tokens) == pytest.approx(MUENNIGHOFF.once.loss(params, tokens), rel=1e-12)
    assert law.chinchilla.loss(params, tokens) == pytest.approx(law.loss(params, tokens), rel=1e-12)
    assert law.optimum(1e21) == pytest.approx(MUENNIGHOFF.once.optimum(1e21))


def test_repeated_data():
    assert MUENNIGHOFF.loss(6.34e9, 242e9, 25e9) == pytest.approx(2.2256440889984477, abs=1e-12)
    assert MUENNIGHOFF.loss(8.67e9, 178e9, 25e9) == pytest.approx(2.2269634075087867, abs=1e-12)
    params, tokens = 7.0224e9, 237.337e9
    best = find_optimum(partial(MUENNIGHOFF.loss, unique_tokens=25e9), 6 * params * tokens)
    assert best.flops == pytest.approx(1e22, rel=1e-4)
    assert (best.params, best.tokens) == pytest.approx((params, tokens), rel=1e-3)
    assert best.loss <= MUENNIGHOFF.loss(params, tokens, 25e9), "the published optimum is from a grid"
    assert best.tokens / 25e9 == pytest.approx(9.49, abs=0.01)


def test_tokens_seen_once_count_fully_and_repeated_ones_less_and_less():
    once = MUENNIGHOFF.once
    small = 1e9  # not too large for the tokens
    assert MUENNIGHOFF.loss(small, 50e9) == once.loss(small, 50e9)
    losses = MUENNIGHOFF.loss(small, 25e9 * np.array([1, 4, 16, 64, 256]), 25e9)
    assert (np.diff(losses) < 0).all() and (np.diff(losses, 2) > 0).all()
    free = once.loss(small, 100e9)
    assert losses[1] - free < 0.1 * (losses[0] - free), "up to four epochs repetition is almost free"


def test_kaplan_of_one_quantity_is_the_limit_of_the_joint_law():
    assert KAPLAN.loss(1e9, 1e30) == pytest.approx((6.4e13 / 1e9) ** 0.076, rel=1e-9)
    assert KAPLAN.loss(1e30, 1e10) == pytest.approx((1.8e13 / 1e10) ** 0.103, rel=1e-3)
    assert KAPLAN_OF_PARAMS.loss(8.8e13) == KAPLAN_OF_TOKENS.loss(5.4e13) == KAPLAN_OF_COMPUTE.loss(3.1e8) == 1
    assert KAPLAN_OF_PARAMS.loss(1.5e9) == pytest.approx(2.30, abs=0.01), "GPT-2 XL by figure 1"


def test_the_table_of_kaplan_spends_more_than_its_budget():
    best = KaplanOptimum()
    for flops in (1e18, 1e21, 1e24):
        assert 6 * best.params(flops) * best.tokens(flops) / flops == pytest.approx(1.81, abs=0.01)


@pytest.mark.parametrize(
    ("experts", "row"),
    [
        (1, (30.3640, -0.1817, 53.9838, -0.1965)),
        (8, (21.8330, -0.1676, 119.9126, -0.2338)),
        (32, (16.5424, -0.1557, 234.6726, -0.2652)),
    ],
)
def test_the_dense_form_of_a_mixture_is_that_of_table_4(experts, row):
    """The constants are printed with four digits, which give the table to 0.3 %."""
    found = LUDZIEJEWSKI.dense(experts)
    assert found == pytest.approx(row, rel=3e-3)
    m, mu, n, nu = found
    assert LUDZIEJEWSKI.loss(1e9, 1e11, experts) == pytest.approx(m * 1e9**mu + n * 1e11**nu + LUDZIEJEWSKI.c)


def test_the_transformed_number_of_experts_saturates():
    assert transform_experts(1) == pytest.approx(E_START, rel=1e-12)
    assert transform_experts(1e12) == pytest.approx(E_MAX, rel=1e-6)
    assert (np.diff(transform_experts(np.arange(1, 200))) > 0).all()


def test_finer_experts_lower_the_loss_down_to_a_limit():
    losses = KRAJEWSKI.loss(1e10, 1e11, np.array([1, 4, 16, 1e9]))
    assert (np.diff(losses) < 0).all()
    assert losses[-1] == pytest.approx(0.47 + 18.1 / 1e10**0.115 + 30.8 / 1e11**0.147, rel=1e-5)


@pytest.mark.parametrize(
    ("params", "inference", "best", "tokens", "ratio", "saved"),
    [(13e9, 1e12, 7.23e9, 547e9, 75.6, 0.175), (13e9, 1e13, 4.26e9, 1.718e12, 403, 0.539)],
)
def test_inference_makes_smaller_models_cheaper(params, inference, best, tokens, ratio, saved):
    """Against 20 tokens per parameter."""
    trained = 20 * params
    found = find_served_optimum(BESIROGLU.loss, BESIROGLU.loss(params, trained), inference)
    check_served(found, best, tokens, ratio)
    whole = 6 * params * trained + 2 * params * inference
    assert 1 - found.flops / whole == pytest.approx(saved, abs=1e-3)


def test_inference_against_a_compute_optimal_model_of_70b():
    budget = 5.415445e23
    optimal = BESIROGLU.optimum(budget)
    assert optimal.params == pytest.approx(70e9, rel=1e-6)
    found = find_served_optimum(BESIROGLU.loss, optimal.loss, 1e13)
    check_served(found, 32.8e9, 3.67e12, 112)
    assert 1 - found.flops / (budget + 2 * 70e9 * 1e13) == pytest.approx(0.291, abs=5e-4)


def check_served(found, params, tokens, ratio):
    """The figures, and the condition of first order: with r = loss - E - A / N^alpha, D is (B / r)^(1 / beta)."""
    assert (found.params, found.tokens) == pytest.approx((params, tokens), rel=2e-3)
    assert found.tokens / found.params == pytest.approx(ratio, rel=2e-3)
    law = BESIROGLU
    rest = found.loss - law.E - law.A / found.params**law.alpha
    assert found.tokens == pytest.approx((law.B / rest) ** (1 / law.beta), rel=1e-9)
    near = [found.params * (1 + step) for step in (-0.01, 0.01)]
    inference = found.inference_flops / (2 * found.params)
    for size in near:
        needed = (law.B / (found.loss - law.E - law.A / size**law.alpha)) ** (1 / law.beta)
        assert 6 * size * needed + 2 * size * inference > found.flops


def test_without_inference_the_cheapest_model_of_a_loss_is_the_compute_optimal_one():
    best = BESIROGLU.optimum(1e22)
    found = find_served_optimum(BESIROGLU.loss, best.loss, 0.0)
    assert found.params == pytest.approx(best.params, rel=1e-3)
    assert found.flops == pytest.approx(1e22, rel=1e-6)


def test_a_loss_below_the_floor_is_refused():
    with pytest.raises(UserError, match="no model reaches"):
        find_served_optimum(BESIROGLU.loss, 1.8, 1e12)
