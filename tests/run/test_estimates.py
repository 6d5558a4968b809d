"""Runs whose candidates are ordered by estimates of long training: what is trained, what is recorded, what is said."""

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from support.runs import Driver, Witness
from support.tiny import CONFIG, TINY, contents, invent, longer_outcomes, make_corpus, write_text

from star.architecture.genome import Space, genome_hash, parse
from star.errors import UserError
from star.evaluation.evaluate import EvaluationSettings, evaluate
from star.evaluation.objectives import QUALITY
from star.evaluation.prior import read_prior
from star.records import Generation, Job, Status, Task
from star.run.estimates import Candidate, Estimates, choose_longer, tokens_of
from star.run.evolve import evaluation_settings
from star.run.generational import Generational
from star.run.plan import plan_run, read_plan
from star.run.seeds import seed_results
from star.run.settings import Settings
from star.run.steps import Known, Train, Wait
from star.run.verifier import read_verification
from star.run.verify import verify
from star.storage.run_directory import RunDirectory
from star.training.schedule import schedule

DRIVER = Driver(invent)
ESTIMATES = replace(
    CONFIG, tokens=320, population=16, offspring=12, ranking="estimate", longer_share=0.9, verify_tokens=0
)


@pytest.fixture
def config(tmp_path):
    return replace(ESTIMATES, corpus=(write_text(tmp_path),))


@pytest.fixture
def run(tmp_path, config):
    return DRIVER.run_in(tmp_path / "run", config)


def test_a_training_that_goes_on_is_one_that_was_longer(tmp_path):
    """Bit for bit, at whatever mark it paused."""
    corpus, plan = make_corpus(tmp_path), plan_run(ESTIMATES)
    settings = EvaluationSettings(scale=plan.trained, target=plan.target, rungs=(2, 4))
    assert plan.trained.recipe.is_open_ended and plan.trained.recipe.average
    rng = np.random.default_rng(0)
    for _ in range(3):
        task = plan.task(Space(3).sample(rng))
        whole = evaluate(Job(task=task, tokens=1280), settings, corpus)
        short = evaluate(Job(task=task), settings, corpus)
        middle = evaluate(Job(task=task, tokens=640, state=short.state), settings, corpus)
        last = evaluate(Job(task=task, tokens=1280, state=middle.state), settings, corpus)
        assert last.evaluation.objectives == whole.evaluation.objectives
        assert last.evaluation.loss_curve == whole.evaluation.loss_curve
        assert (last.evaluation.tokens, whole.evaluation.rungs, last.evaluation.rungs) == (1280, (), ())
        assert all(np.array_equal(last.weights[name], whole.weights[name]) for name in whole.weights)
        ends = [len(one.evaluation.loss_curve) for one in (short, middle, whole)]
        assert ends == [ends[0] * times for times in (1, 2, 4)], "a curve goes on in equal stretches"
        assert short.evaluation.loss_curve == whole.evaluation.loss_curve[: ends[0]]


def test_each_proxy_is_measured_on_its_way_for_the_estimate(tmp_path, config):
    """In full, as at its end, without another effect on the training."""
    corpus = make_corpus(tmp_path)
    early, plain = (plan_run(replace(config, early_loss=one)) for one in (None, False))
    assert early.settings.early_loss and early.race.steps == ()
    assert early.estimation.marks == (early.trained.recipe.steps // 3, *plain.estimation.marks)
    assert early.lengths == plain.lengths and early.measured_steps == early.estimation.marks[:1]
    assert plain.measured_steps == ()
    task = early.task(Space(3).sample(np.random.default_rng(0)))
    found, without = (evaluate(Job(task=task), evaluation_settings(plan), corpus) for plan in (early, plain))
    assert found.evaluation.objectives == without.evaluation.objectives and without.evaluation.rungs == ()
    assert all(np.array_equal(found.weights[name], without.weights[name]) for name in without.weights)
    recipe = replace(early.trained.recipe, tokens=early.measured_steps[0] * early.step_tokens)
    shorter = replace(evaluation_settings(plain), scale=replace(early.trained, recipe=recipe))
    assert found.evaluation.rungs == (evaluate(Job(task=task), shorter, corpus).evaluation.objectives[QUALITY],)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"early_loss": True, "ranking": "loss"}, "is an input of the estimate, and ranking is loss"),
        ({"early_loss": True, "rungs": 2}, "takes the place of rungs"),
        ({"early_loss": True, "tokens": 2 * 32}, "needs 3 training steps; a proxy has 2"),
    ],
)
def test_an_early_loss_belongs_to_the_estimate_alone(changes, reason):
    with pytest.raises(UserError, match=reason):
        plan_run(replace(ESTIMATES, **changes))


def test_the_rate_of_an_open_ended_recipe_falls_beyond_its_steps():
    recipe = replace(TINY.recipe, tokens=3200).open_ended()
    rates = [schedule(step, recipe) for step in range(400)]
    assert max(rates) == rates[recipe.steps - 1] == 1 and rates[4 * recipe.steps - 1] == pytest.approx(0.5)
    assert recipe.open_ended() is recipe
    assert not TINY.recipe.is_open_ended


def test_qualities_become_estimates_once_enough_is_known(tmp_path, config):
    run = DRIVER.run_in(tmp_path / "run", replace(config, longer_share=0.5, screening=2))
    generations = run.generations()
    last = generations[-1]
    assert [one.estimated for one in generations] == sorted(one.estimated for one in generations)
    assert generations[0].estimated == 0 < last.estimated
    measured = run.evaluations()
    assert all(one.quality_error == 0 for one in generations[0].individuals)
    for one in last.individuals:
        if one.status in (Status.OK, Status.SCREENED):
            reached = one.hash in {hash for hash, _ in run.longer(last.estimated)}
            assert (one.quality_error > 0) != reached, "what was measured has no error"
    assert any(one.objectives[QUALITY] != measured[one.hash].objectives[QUALITY] for one in last.front)
    assert [stage["trainings"] for stage in last.fit] == sorted((s["trainings"] for s in last.fit), reverse=True)
    assert last.longer == sum(len(run.longer(tokens)) for tokens in (1280, 5120))


def test_longer_trainings_stay_within_their_share(run, config):
    plan = plan_run(config)
    for before, one in pairwise(run.generations()):
        assert before.tokens < one.tokens and before.longer <= one.longer
    rows = {(hash, length): row for length in (1280, 5120) for (hash, _), row in run.longer(length).items()}
    spent, last = sum(tokens_of(rows, plan).values()), run.generations()[-1]
    assert 0 < spent <= config.longer_share * last.tokens
    own = sum(one.tokens for one in run.evaluations().values() if one.status is not Status.DIVERGED)
    assert last.tokens >= own + spent


@pytest.mark.parametrize("seed", range(20))
def test_the_choice_of_longer_trainings(seed):
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.05, 0.9)
    plan = plan_run(replace(ESTIMATES, longer_share=share))
    tasks = {task.hash: task for task in (plan.task(Space(3).sample(rng)) for _ in range(12))}
    candidates = [Candidate(task, [rng.random()], rng.random()) for task in tasks.values()]
    front = rng.random(len(candidates)) < 0.5
    tokens = int(rng.integers(320, 20_000))
    chosen = choose_longer(candidates, front.tolist(), {}, plan, tokens)
    assert all(isinstance(task, Task) and length == 1280 for task, length in chosen)
    assert len({task.hash for task, _ in chosen}) == len(chosen)
    extra = 960 * len(chosen)
    assert extra <= share * (tokens + extra)
    assert len(chosen) == len(candidates) or extra + 960 > share * (tokens + extra + 960), "as many as there may be"
    best = {one.task.hash for one, is_best in zip(candidates, front, strict=True) if is_best}
    order = [task.hash in best for task, _ in chosen]
    assert order == sorted(order, reverse=True), "the front comes first"


def test_only_the_best_by_their_estimate_are_trained(tmp_path, config):
    config = replace(config, screening=4, seed_genomes=("11111-11111-11111", "21111-21111-21111"))
    run = DRIVER.run_in(tmp_path / "run", config)
    rows = run.history().values()
    estimated = [one.number for one in run.generations() if one.estimated]
    for number in estimated[1:]:
        fresh = [one.evaluation.status for one in rows if one.order.generation == number]
        assert len(fresh) - fresh.count(Status.SCREENED) <= -(-len(fresh) // 4)
    assert all(
        (one.evaluation.tokens, one.evaluation.rungs, QUALITY in one.evaluation.objectives) == (0, (), False)
        for one in rows
        if one.evaluation.status is Status.SCREENED
    )
    assert all(one.status is Status.OK for one in run.latest_generation().front)
    trained = sum(one.evaluation.status not in (Status.SCREENED, Status.INFEASIBLE) for one in rows)
    assert run.latest_generation().evaluations == trained < len(rows)


def test_seed_genomes_are_trained_whatever_their_estimate(tmp_path):
    config = replace(
        CONFIG,
        scale="nano",
        scale_toml="",
        ranking="estimate",
        generations=0,
        population=8,
        verify_tokens=0,
        screening=8,
    )
    seeds = ("transformer-pp", "gqa-transformer", "striped-mamba")
    run = DRIVER.run_in(tmp_path / "run", replace(config, corpus=(write_text(tmp_path),), seed_genomes=seeds))
    assert not plan_run(config).why_no_prior
    statuses = [one.status for one in sorted(run.latest_generation().individuals, key=lambda one: one.id)]
    assert Status.SCREENED not in statuses[:3] and statuses[3:].count(Status.SCREENED) == 3


def test_seed_genomes_are_said_to_have_their_estimates(tmp_path, config):
    run = DRIVER.run_in(tmp_path / "run", replace(config, seed_genomes=("11111-91111-11111", "21111-21111-21111")))
    last, proxies = run.latest_generation(), run.evaluations()
    estimates = {one.hash: one.objectives[QUALITY] for one in (*last.individuals, *last.front)}
    hashes = [genome_hash(parse(text)) for text in read_plan(run).settings.seed_genomes]
    found = dict(zip(hashes, seed_results(run), strict=True))
    shown = {hash: one.objectives[QUALITY] for hash, one in found.items() if one.status is Status.OK}
    assert shown and all(shown[hash] == estimates.get(hash, shown[hash]) for hash in shown)
    assert any(shown[hash] != proxies[hash].objectives[QUALITY] for hash in shown)


def test_a_run_that_goes_on_after_its_verification_ends_as_one_that_was_longer(tmp_path, config):
    longer = DRIVER.run_in(tmp_path / "longer", replace(config, generations=5))
    run = DRIVER.run_in(tmp_path / "run", replace(config, generations=3))
    verify(run, changes={"verify_tokens": 1280, "verify_seeds": 1}, evaluate=invent)
    DRIVER.resume(run, 2)
    assert contents(run) == contents(longer)
    own, others = longer_outcomes(run), longer_outcomes(longer)
    assert {key: own[key] for key in others} == others


def test_a_verification_renews_the_estimates_of_members_and_baselines(tmp_path, config):
    run = DRIVER.run_in(tmp_path / "run", replace(config, generations=5))
    last = run.latest_generation()
    assert last.estimated == 16 * 320, "the verification is shorter than what is estimated"
    found = verify(run, changes={"verify_tokens": 4 * 320, "verify_seeds": 1}, evaluate=invent)
    assert found.expected_tokens == last.estimated
    ended = [one for one in (*found.members, *found.baselines) if one.qualities]
    assert len(ended) > 4 and all(one.expected for one in ended)
    measured = {hash: one.evaluation for (hash, _), one in run.longer(16 * 320).items()}
    for one in found.members:
        if one.hash in measured and measured[one.hash].status is Status.OK:
            assert one.expected.error == 0.0
            assert one.expected.mean == pytest.approx(measured[one.hash].objectives[QUALITY], abs=1e-6)
    proxies = run.verified(320)
    assert {hash for hash, _ in proxies} == {one.hash for one in found.baselines}, "trained as proxies first"
    assert read_verification(run, read_plan(run)).tokens == 4 * 320


def test_the_front_is_trained_longer_beside_new_proxies_once_there_is_a_fit(config):
    plan = plan_run(config)
    settings = EvaluationSettings(scale=plan.trained, target=plan.target, rungs=())
    schedule, in_flight, orders = Generational(plan, {}), [], [""]
    while (step := schedule.next(has_room=True)) is not None:
        match step:
            case Known(task, evaluation):
                schedule.report(task, evaluation)
            case Train(task, _, _, tokens):
                in_flight.append((task, tokens))
                orders[-1] += "L" if tokens else "P"
            case Wait():
                task, tokens = in_flight.pop(0)
                schedule.report(task, invent(Job(task=task, tokens=tokens), settings, None).evaluation, tokens)
                orders[-1] += "." if not orders[-1].endswith(".") else ""
            case Generation():
                orders.append("")
    assert re.fullmatch(r"P+\.L+\.", orders[0]), "without a fit: proxies, and then what goes on of them"
    assert any(re.fullmatch(r"L+P+\.", one) for one in orders[1:])


def test_the_text_of_the_prior_is_that_of_the_run_if_their_names_are_equal():
    first = read_prior("nano")[0]
    levels = []
    for corpus in (("stdlib",), ("prose",), ("stdlib", "prose"), ("text",)):
        estimates = Estimates(plan_run(Settings(ranking="estimate", corpus=corpus)))
        estimates.renew([], {})
        levels.append(estimates.guess(first.genome).mean)
        assert ("none of which" in estimates.sentence()) == (corpus not in (("stdlib",), ("prose",)))
    assert levels[0] > levels[1] and levels[2] == levels[3]


def test_results_in_the_store_lead_to_the_same_end(tmp_path, config):
    config = replace(config, store=str(tmp_path / "store"), tokens=96, population=9, offspring=4, generations=1)
    config = replace(config, verify_tokens=384, verify_seeds=1)
    first, second = (Driver(evaluate).run_in(tmp_path / name, config) for name in ("first", "second"))
    assert all(one.worker == "store" for one in second.evaluations().values() if one.status is Status.OK)
    assert contents(first, "generations") == contents(second, "generations")
    assert longer_outcomes(first) == longer_outcomes(second)


def test_people_are_told_from_what_qualities_are_estimated(tmp_path, config):
    witness = Witness()
    DRIVER.evolve(config, RunDirectory(tmp_path / "run"), witness)
    told = [note for note in witness.notes if "prior" in note]
    assert told[0] == (
        "no prior of scale tiny is shipped: the loss of proxies orders until 8 of them have been trained longer"
    )
    assert told[1] == "quality is estimated for 1,280 training tokens; no prior of scale tiny is shipped"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, ""),
        ({"rungs": 3}, ""),
        ({"scale": "micro"}, "no prior of scale micro is shipped"),
        ({"slots": 4}, "the prior of nano has 8 slots, the run 4"),
        ({"tokens": 240_000}, "the prior of nano has proxies of 120,000 tokens, the run of 240,000"),
        ({"rungs": 2, "eta": 2}, "the prior of nano has no losses at the rungs of the run"),
    ],
)
def test_a_prior_that_does_not_fit_is_not_used(changes, sentence):
    plan = plan_run(Settings(ranking="estimate", **changes))
    assert plan.why_no_prior == sentence
    estimates = Estimates(plan)
    estimates.renew([], {})
    assert (estimates.target == 0) == bool(sentence) and sentence in estimates.sentence()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mode": "steady"}, "ranking must be loss: mode steady has no generations at which"),
        ({"warm_weights": True}, "ranking must be loss: children that begin with weights of their parents"),
        ({"objectives": ("mqar", "params")}, "ranking must be loss: without quality among the objectives"),
        ({"ranking": "estimates"}, "unknown ranking 'estimates'; did you mean 'estimate'?"),
    ],
)
def test_what_cannot_be_estimated_is_refused_in_a_sentence(changes, sentence):
    with pytest.raises(UserError, match=sentence.replace("?", r"\?")):
        plan_run(Settings(**{"ranking": "estimate"} | changes))
