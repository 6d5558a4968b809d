"""Fits of published runs against published constants, and of runs that were drawn from a law against the law."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from support.laws import draw_runs, read_epoch, read_gadre, read_muennighoff, with_losses

from star.errors import UserError
from star.laws.fits import LAWS, fit
from star.laws.lbfgs import fit_lbfgs, starts
from star.laws.overtraining import OverTraining
from star.laws.projection import fit_projected
from star.laws.published import BESIROGLU, HOFFMANN, KAPLAN, KRAJEWSKI, LUDZIEJEWSKI, MUENNIGHOFF
from star.laws.runs import Runs
from star.laws.sums import huber

EPOCH = {"E": 1.817236, "A": 477.842, "B": 2143.864, "alpha": 0.347313, "beta": 0.367183}  # of the authors' notebook
PLANTED = {
    "chinchilla": BESIROGLU,
    "over-training": OverTraining.from_chinchilla(MUENNIGHOFF.once),
    "kaplan": KAPLAN,
    "data-constrained": MUENNIGHOFF,
    "experts": LUDZIEJEWSKI,
    "granularity": KRAJEWSKI,
}


def draw(name, number=120, noise=0.0, seed=0):
    return draw_runs(PLANTED[name], number, noise, seed, convention=LAWS[name].convention or "total")


def test_the_refit_of_chinchilla():
    """The runs of Besiroglu et al. 2024 (arXiv:2404.10102)."""
    runs = read_epoch()
    made = fit(runs)
    assert len(runs) == 240
    assert made.constants == pytest.approx(EPOCH, rel=1e-3)
    assert made.value <= 0.0010183
    assert made.value == pytest.approx(huber(np.log(made.law.predict(runs)) - np.log(runs.loss)).sum())


def test_squared_errors_of_217_runs():
    """Epoch's runs below 1e21 FLOPs, without the five of the highest losses, are the 217 of apple/ml-scalefit. That fit
    has N in millions and D in billions."""
    runs = read_epoch()
    runs = runs.take(runs.flops < 1e21)
    assert len(runs) == 217
    small = Runs(params=runs.params / 1e6, tokens=runs.tokens / 1e9, loss=runs.loss)
    law = fit_projected(small, relative=False)
    published = {"E": 1.9051, "A": 4.0005, "B": 1.0509, "alpha": 0.3511, "beta": 0.4587}
    assert asdict(law) == pytest.approx(published, abs=6e-5)
    assert ((law.predict(small) - small.loss) ** 2).sum() == pytest.approx(0.062414, abs=1e-6)
    made = fit(runs, objective="squared")
    assert made.value == pytest.approx(0.062414, abs=1e-6), "the unit of N and D changes A and B alone"
    assert (made.law.alpha, made.law.beta) == pytest.approx((law.alpha, law.beta), rel=1e-5)


@pytest.mark.parametrize(
    ("corpus", "constants"),
    [
        ("c4_original", (1.620, 122.6, 242.6, 0.2526, 0.2622)),
        ("rpj", (1.720, 106.1, 298.0, 0.2431, 0.2730)),
        ("rw_original", (1.701, 76.8, 384.2, 0.2226, 0.2898)),
    ],
)
def test_the_testbed_of_over_training(corpus, constants):
    made = fit(read_gadre(corpus))
    assert tuple(made.constants.values()) == pytest.approx(constants, rel=6e-4)
    tied = fit(read_gadre(corpus), "over-training")
    assert tied.value >= made.value, "one constant less"
    assert tied.law.eta == pytest.approx((made.law.alpha + made.law.beta) / 4, rel=0.05)


def test_the_runs_of_repeated_data():
    runs = read_muennighoff()
    errors = [np.abs(np.log(law.predict(runs) / runs.loss)).mean() for law in (MUENNIGHOFF, MUENNIGHOFF.once)]
    assert errors == pytest.approx([0.12, 0.22], abs=0.005)
    once = runs.take(runs.tokens <= runs.unique_tokens)
    made = fit(once)
    assert len(once) == 41
    assert (made.law.E, made.law.alpha, made.law.beta) == pytest.approx((1.911, 0.339, 0.387), abs=6e-4)
    repeated = fit(runs, "data-constrained")
    assert np.abs(repeated.residuals).mean() < errors[0], "the published constants are from fewer of the runs"


def test_every_90th_start_of_lbfgs_finds_what_projection_finds():
    runs = read_epoch()
    assert len(starts()) == 4500 == len(np.unique(starts(), axis=0))
    assert asdict(fit_lbfgs(runs, every=90)) == pytest.approx(fit(runs).constants, rel=1e-6)


@pytest.mark.slow
def test_all_starts_of_lbfgs_find_what_projection_finds():
    runs = read_epoch()
    assert fit(runs, estimator="lbfgs").constants == pytest.approx(fit(runs).constants, rel=1e-6)


@pytest.mark.parametrize("name", LAWS)
def test_a_law_is_recovered_from_its_own_losses(name):
    made = fit(draw(name), name)
    assert made.constants == pytest.approx(asdict(PLANTED[name]), rel=1e-5)
    assert np.abs(made.residuals).max() < 1e-8
    x = made.law.to_vector()
    assert type(made.law).from_vector(x).to_vector() == pytest.approx(x, rel=1e-12)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("seed", range(3))
def test_no_law_fits_noisy_runs_better_than_the_fit(name, seed):
    """Neither the law that they were drawn from nor one nearby."""
    runs = draw(name, noise=0.01, seed=seed)
    made = fit(runs, name)
    random = np.random.default_rng(seed)
    x = made.law.to_vector()
    others = [type(made.law).from_vector(x * (1 + random.normal(0, 1e-3, len(x)))) for _ in range(30)]
    for law in (PLANTED[name], *others):
        assert huber(np.log(law.predict(runs) / runs.loss)).sum() > made.value


@pytest.mark.parametrize("law", [BESIROGLU, HOFFMANN])
def test_the_polish_ignores_diverged_runs(law):
    runs = draw_runs(law, 80)
    loss = runs.loss.copy()
    loss[:4] *= 1.5
    made = fit(with_losses(runs, loss))
    assert made.constants == pytest.approx(asdict(law), rel=0.02)
    assert fit_projected(with_losses(runs, loss)).alpha != pytest.approx(law.alpha, rel=0.05), "least squares does not"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("chinchila",), "did you mean 'chinchilla'"),
        (("chinchilla", "vpp"), "did you mean 'vp'"),
        (("chinchilla", "vp", "hubert"), "did you mean 'huber'"),
        (("kaplan", "lbfgs"), "lbfgs fits chinchilla"),
        (("kaplan", "vp", "squared"), "squared fits chinchilla"),
        (("kaplan",), "non-embedding parameters, and the table counts total"),
    ],
)
def test_a_fit_that_does_not_exist_is_refused(arguments, words):
    with pytest.raises(UserError, match=words):
        fit(draw_runs(BESIROGLU, 40), *arguments)


def test_a_dense_law_of_mixtures_is_refused():
    runs = draw_runs(BESIROGLU, 40)
    with pytest.raises(UserError, match="take experts"):
        fit(replace(runs, active_params=runs.params / 4))


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_a_budget_is_spent_on_active_parameters(share):
    """An optimum of total parameters: neighbours with as many FLOPs are no better."""
    runs = draw("granularity")
    made = fit(replace(runs, active_params=runs.params * share), "granularity")
    best = made.optimum(1e22)
    assert 6 * share * best.params * best.tokens == pytest.approx(1e22)
    finest = float(runs.granularity.max())
    assert best.loss == pytest.approx(KRAJEWSKI.loss(best.params, best.tokens, finest))
    for times in (0.95, 1.05):
        assert KRAJEWSKI.loss(best.params * times, best.tokens / times, finest) > best.loss


@pytest.mark.parametrize("name", [name for name, family in LAWS.items() if family.needs])
def test_a_missing_column_is_named(name):
    runs = draw_runs(BESIROGLU, 40)
    with pytest.raises(UserError, match=f"needs a column {LAWS[name].needs[0]}"):
        fit(Runs(params=runs.params, tokens=runs.tokens, loss=runs.loss), name)
