"""At a rung only those stop that another clearly beats, and never too many; what a race ends with is what a full
training of those that went on would give."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.runs import Driver
from support.tiny import CONFIG, TINY, contents, invent, write_text

from star.errors import UserError
from star.records import Status
from star.run.evolve import evolve
from star.run.plan import plan_run
from star.run.settings import Settings
from star.search.racing import MARGIN, promoted
from star.storage.run_directory import RunDirectory

QUALITY = 0
values = st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=12).map(lambda rows: np.array(rows, float))


def places(everyone):
    """The place of each by quality; of equals the first comes first."""
    order = sorted(range(len(everyone)), key=lambda i: (everyone[i][QUALITY], i))
    return {i: place for place, i in enumerate(order)}


def clearly_beaten(candidates, rivals):
    """One comparison after the other."""
    everyone = [*candidates.tolist(), *rivals.tolist()]
    place = places(everyone)
    beaten = set()
    for i in range(len(candidates)):
        for j, other in enumerate(everyone):
            no_worse = all(b <= a for a, b in zip(everyone[i][1:], other[1:], strict=True))
            if no_worse and Fraction(place[i] - place[j], len(everyone)) > Fraction(str(MARGIN)):
                beaten.add(i)
    return beaten


@given(values, values, st.integers(2, 5))
def test_who_stops_is_clearly_beaten_and_one_in_eta_goes_on(candidates, rivals, eta):
    stays = promoted(candidates, rivals, QUALITY, eta)
    beaten = clearly_beaten(candidates, rivals)
    stopped = set(np.flatnonzero(~stays).tolist())
    least = -(-len(candidates) // eta)
    assert stopped <= beaten and stays.sum() >= least
    assert stays.sum() == max(least, len(candidates) - len(beaten)), "more go on than have to"


@pytest.mark.parametrize("number", [10, 20, 100, 1000])
def test_a_difference_of_just_the_margin_stops_nobody_wherever_it_lies(number):
    tenth = number // 10
    for place in range(number - tenth):
        pair = np.array([[float(place), 1.0], [float(place + tenth), 1.0]])
        others = [[float(one), 2.0] for one in range(number) if one not in (place, place + tenth)]
        assert promoted(pair, np.array(others).reshape(-1, 2), QUALITY, 3).all()


@given(values, values)
def test_only_the_order_of_qualities_counts(candidates, rivals):
    stays = promoted(candidates, rivals, QUALITY, 3)
    for one in (candidates, rivals):
        one[:, QUALITY] = np.exp(one[:, QUALITY])
    assert (promoted(candidates, rivals, QUALITY, 3) == stays).all()


@given(values)
def test_best_of_each_exact_objective_goes_on(candidates):
    """The only one of least cost is dominated by nobody, however bad its quality."""
    for column in (1, 2):
        own = candidates.copy()
        own[0, column] = -1
        assert promoted(own, own[:0], QUALITY, 1_000)[0]


def test_nobody_to_judge():
    assert promoted(np.zeros((0, 3)), np.zeros((4, 3)), QUALITY, 3).shape == (0,)


@pytest.mark.parametrize(("tokens", "rungs", "eta", "steps"), [(320, 3, 3, (1, 3)), (640, 4, 2, (2, 5, 10))])
def test_rungs_divide_the_training(tokens, rungs, eta, steps):
    assert plan_run(replace(CONFIG, tokens=tokens, rungs=rungs, eta=eta)).race.steps == steps
    assert plan_run(Settings(rungs=3)).race.steps == (13, 39) and plan_run(Settings()).trained.recipe.steps == 117
    assert plan_run(Settings(rungs=1)).race.steps == ()


def test_a_race_needs_steps_and_quality():
    with pytest.raises(UserError, match="3 rungs of ratio 3 need 9 training steps; a proxy has 2"):
        plan_run(replace(CONFIG, rungs=3))
    with pytest.raises(UserError, match="rungs needs quality among the objectives"):
        plan_run(replace(CONFIG, tokens=320, rungs=3, objectives=("params", "cache")))


@pytest.fixture
def raced(tmp_path):
    driver = Driver(invent)
    config = replace(CONFIG, corpus=(write_text(tmp_path),), tokens=320, rungs=3, population=20, offspring=12)
    run = RunDirectory(tmp_path / "run")
    driver.evolve(config, run)
    return run, config


def test_a_race_spends_less_and_tells_how_much(raced):
    run, config = raced
    evaluations, last = run.evaluations().values(), run.latest_generation()
    stopped = [one for one in evaluations if one.status is Status.STOPPED]
    assert stopped and {len(one.rungs) for one in stopped} == {1, 2}
    tokens = TINY.recipe.batch_size * TINY.recipe.seq_len
    assert all(one.tokens == plan_run(config).race.steps[len(one.rungs) - 1] * tokens for one in stopped)
    assert last.tokens == sum(one.tokens for one in evaluations) < 0.9 * 320 * len(evaluations)
    assert last.evaluations == len(evaluations)
    assert not list((run.path / "paused").iterdir()), "what nobody goes on with is not kept"


def test_who_was_stopped_is_never_on_the_front_and_ranks_behind(raced):
    run, _ = raced
    for generation in run.generations():
        assert all(one.status is Status.OK for one in generation.front)
        ranks = {status: [o.rank for o in generation.individuals if o.status is status] for status in Status}
        assert max(ranks[Status.OK]) < min([*ranks[Status.STOPPED], 99])
        assert all((one.shortfall > 0) == (one.status is Status.STOPPED) for one in generation.individuals)


def test_those_that_went_on_have_the_quality_of_a_full_training(raced, tmp_path):
    run, config = raced
    whole = Driver(invent).run_in(tmp_path / "whole", replace(config, rungs=1))
    full, quality = whole.evaluations(), "quality_bpb"
    both = [one for hash, one in run.evaluations().items() if one.status is Status.OK and hash in full]
    assert both and all(one.objectives[quality] == full[one.hash].objectives[quality] for one in both)


def test_retries_and_seconds_of_all_parts_are_added(tmp_path):
    """However often a proxy paused: of what every part of it took, nothing is forgotten."""

    def faulty(job, settings, corpus):
        result = invent(job, settings, corpus)
        cause = "node lost" if job.until is None else "worker killed"
        own = {"seconds": 2.0, "train_seconds": 1.0, "retries": {cause: 1}}
        return replace(result, evaluation=replace(result.evaluation, **own))

    driver = Driver(faulty)
    run = RunDirectory(tmp_path / "run")
    driver.evolve(replace(CONFIG, corpus=(write_text(tmp_path),), tokens=320, rungs=3, population=20), run)
    evaluations = run.evaluations().values()
    for one in evaluations:
        if one.status in (Status.OK, Status.STOPPED):
            parts = len(one.rungs) + (one.status is Status.OK)
            assert (one.seconds, one.train_seconds) == (2.0 * parts, 1.0 * parts)
            paused = {"worker killed": len(one.rungs)}
            assert one.retries == (paused | {"node lost": 1} if one.status is Status.OK else paused)
    assert {len(one.rungs) for one in evaluations if one.status is Status.STOPPED} == {1, 2}


def test_a_real_race_is_reproducible(tmp_path):
    config = replace(CONFIG, corpus=(write_text(tmp_path),), tokens=320, rungs=3, generations=1)
    runs = [RunDirectory(tmp_path / name) for name in ("one", "two")]
    for run in runs:
        evolve(config, run)
    assert contents(runs[0]) == contents(runs[1])
