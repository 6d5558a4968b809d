"""Without generations: what a run gives follows from the order in which results came, and that order is on record."""

import os
import random
import sys
from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from support.runs import Driver, in_pool
from support.tiny import CONFIG, SETTINGS, contents, invent, make_task, outcomes, rows_of, write_text

from star.records import Individual, Job, Status
from star.run import steady
from star.run.plan import plan_run
from star.run.progress import Progress
from star.run.replay import Differs, replay
from star.run.steady import LEAST
from star.search.plan import Plan
from star.search.search import Search
from star.storage.run_directory import RunDirectory
from star.workers.pool import SerialPool

TOUCHES = {"open", "os.rename", "os.remove", "os.mkdir"}
RACE = {"rungs": 2, "eta": 2, "tokens": 256}


class Killed(BaseException):
    """In place of the end of this process."""


@pytest.fixture(autouse=True)
def no_power_failures(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def config(tmp_path):
    return replace(CONFIG, corpus=(write_text(tmp_path),), mode="steady")


@pytest.fixture
def trained():
    """How often each part of each training was done, by invention."""
    return Counter()


@pytest.fixture
def driver(trained):
    def count(job, settings, corpus):
        trained[job.task.hash, job.until] += 1
        return invent(job, settings, corpus)

    return Driver(count)


class Scrambled(SerialPool):
    """Its results arrive in a random order, and the number of its workers changes all the time."""

    def __init__(self, evaluate, seed):
        super().__init__(evaluate)
        self.rng = random.Random(seed)
        self.num_workers = 3
        self.submitted = set()
        self.has_starved = False

    def submit(self, job):
        key = job.task.hash, job.until
        assert key not in self.submitted, "a job was given twice"
        is_new = job.task.hash not in {hash for hash, _ in self.submitted}
        assert not (self.has_starved and is_new), "a worker waited, and there was work"
        self.submitted.add(key)
        super().submit(job)

    def take(self):
        self.has_starved |= self.pending <= self.num_workers
        self._waiting.rotate(-self.rng.randrange(min(self.pending, self.num_workers)))
        result = super().take()
        self.num_workers = self.rng.randrange(1, 6)
        return result


def scramble(driver: Driver, seed: float) -> Driver:
    return replace(driver, make_pool=in_pool(partial(Scrambled, seed=seed)))


def order(run: RunDirectory) -> dict[str, tuple[int, int]]:
    return {hash: (one.order.arrival, one.order.asked) for hash, one in run.history().items()}


def budget(config) -> int:
    return config.population + config.generations * config.offspring


def check_record(run: RunDirectory, config) -> None:
    """Nothing lost, nothing twice, the budget met, and the record leads to the generations on disk."""
    rows = sorted(run.history().values(), key=lambda one: one.order.arrival)
    last = run.latest_generation()
    assert last.number == config.generations and last.next_id == budget(config)
    assert [one.order.arrival for one in rows] == list(range(1, 1 + len(rows)))
    assert [one.order.asked for one in rows] == sorted(one.order.asked for one in rows)
    assert len(rows) == last.evaluations + sum(one.evaluation.status is Status.INFEASIBLE for one in rows)
    files = [path for path in (run.path / "evaluations").iterdir() if path.suffix == ".parquet"]
    assert all(path.name.startswith("generation-") for path in files)
    found = replay(run)
    assert (found.asks, found.arrivals, found.generations) == (budget(config), len(rows), config.generations + 1)


@contextmanager
def killed_at(touch: int, path: Path):
    """Everything that this process does to files below `path` fails from the `touch`-th time on."""
    state = {"touched": 0, "on": True}

    def count(event, arguments):
        if state["on"] and event in TOUCHES and str(arguments[0]).startswith(str(path)):
            state["touched"] += 1
            if state["touched"] >= touch:
                raise Killed

    sys.addaudithook(count)
    try:
        yield
    finally:
        state["on"] = False


def test_one_worker_is_the_plain_loop(tmp_path, config, trained, driver):
    """Two are under way at any time: the oldest is told, another is asked for."""
    run = driver.run_in(tmp_path / "run", config)
    space = plan_run(config).search.space
    search = Search(Plan(population=config.population, space=space, num_objectives=3, seed=config.seed))
    flight, known, number = deque(), {}, 0
    for told in range(budget(config)):
        while len(flight) < 2 and search.next_id < budget(config):
            (proposal,) = search.ask(1)
            task = make_task(proposal.genome, config.seed)
            flight.append((proposal, task))
            if task.hash in known:  # told at once
                flight.rotate(1)
                break
        proposal, task = flight.popleft()
        known[task.hash] = invent(Job(task=task), SETTINGS, None).evaluation
        one = known[task.hash]
        born = Individual(
            id=proposal.id,
            genome=proposal.genome,
            hash=task.hash,
            generation=number,
            parents=proposal.parents,
            status=one.status,
            objectives=one.objectives,
            rank=0,
            crowding=0.0,
        )
        survivors = search.tell([born])
        number += told + 1 == config.population + number * config.offspring
    assert run.latest_generation().individuals == survivors
    assert number == config.generations + 1 and len(known) == len(trained)
    assert set(trained.values()) == {1}


@pytest.mark.parametrize("extra", [{}, RACE | {"population": 20, "offspring": 12}])
def test_one_worker_repeats_itself(tmp_path, config, trained, extra, driver):
    config = replace(config, **extra)
    one, other = driver.run_in(tmp_path / "one", config), driver.run_in(tmp_path / "other", config)
    assert contents(one) == contents(other) and outcomes(one) == outcomes(other) and order(one) == order(other)
    check_record(one, config)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("extra", [{}, RACE, {"slots": 1, "generations": 6}, {"max_params": 9_000.0}])
def test_any_order_is_a_record(tmp_path, config, trained, extra, seed, driver):
    driver = scramble(driver, seed)
    config = replace(config, **extra)
    run = driver.run_in(tmp_path / "run", config)
    check_record(run, config)
    assert set(trained.values()) == {1}
    before = contents(run)
    for path in (run.path / "generations").iterdir():
        path.unlink()
    driver.resume(run)
    assert contents(run) == before, "generations follow from the record of evaluations"


@pytest.mark.parametrize(
    "extra",
    [{}, {"rungs": 3, "eta": 2, "tokens": 256, "store": "shared"}, {"warm_weights": True}],
    ids=["plain", "race", "warm"],
)
def test_killed_before_every_single_touch_of_the_disk(tmp_path, config, trained, monkeypatch, extra, driver):
    monkeypatch.setattr(steady, "LEAST", 2)
    config = replace(config, population=3, offspring=1, generations=1, **extra)
    if config.store:
        config = replace(config, store=str(tmp_path / "store-whole"))
    whole = driver.run_in(tmp_path / "whole", config)
    check_record(whole, config)
    touch, is_done = 0, False
    while not is_done:
        touch += 2 if extra else 1
        run = RunDirectory(tmp_path / f"run{touch}")
        if config.store:
            config = replace(config, store=str(tmp_path / f"store{touch}"))
        is_done = kill(driver, run, config, touch)
        landed = run.evaluations() if (run.path / "run.toml").exists() else {}
        trained.clear()
        driver.resume(run) if (run.path / "run.toml").exists() else driver.evolve(config, run)
        again = {(hash, until) for hash, until in trained if hash in landed and until is None}
        assert not [hash for hash, _ in again if landed[hash].status is not Status.STOPPED], touch
        assert not [one for one in trained if one[0] in landed and one[1] == 0], touch
        assert contents(run) == contents(whole) and outcomes(run) == outcomes(whole), touch
        assert order(run) == order(whole), touch
    assert touch > 40, "there should have been so many at least"


def kill(driver: Driver, run: RunDirectory, config, touch: int) -> bool:
    """Begin a run and kill it at a touch of the disk; whether it came to its end before that."""
    try:
        with killed_at(touch, run.path):
            driver.evolve(config, run)
    except Killed:
        run.close()
        return False
    return True


@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again_with_many_workers(tmp_path, config, seed, driver):
    """Each time results come in another order; what had landed stays, and so do the generations."""
    rng = random.Random(seed)
    run = RunDirectory(tmp_path / "run")
    landed, recorded, is_done = {}, {}, False
    while not is_done:
        driver = scramble(driver, rng.random())
        try:
            with killed_at(rng.randrange(40, 120), run.path):
                driver.resume(run) if (run.path / "run.toml").exists() else driver.evolve(config, run)
            is_done = True
        except Killed:
            run.close()
        found, files = outcomes(run), contents(run, "generations") if (run.path / "generations").exists() else {}
        assert {hash: found[hash] for hash in landed} == landed
        whole = {name: data for name, data in files.items() if not Path(name).name.startswith(".")}
        assert {name: whole[name] for name in recorded} == recorded
        landed, recorded = found, whole
    check_record(run, config)


def test_a_lost_result_costs_the_order_but_no_other_result(tmp_path, config, trained, driver):
    config = replace(config, slots=1, generations=6)
    run = driver.run_in(tmp_path / "run", config)
    victim = run.path / "evaluations" / "generation-0002.parquet"
    victim.write_bytes(victim.read_bytes()[:-40])
    with pytest.raises(Differs, match="its evaluation is missing"):
        replay(RunDirectory(run.path))
    left = set(RunDirectory(run.path).evaluations())
    trained.clear()
    witness = Notes()
    driver.resume(run, progress=witness)
    assert any("the record of arrivals breaks off" in note for note in witness.notes)
    assert any("the evaluations do not lead to it" in note for note in witness.notes)
    weights_alone = {one.hash for one in run.latest_generation().front}
    assert {hash for hash, _ in trained} & left <= weights_alone
    assert left <= set(run.evaluations())
    assert replay(run).generations == config.generations + 1
    (run.path / "evaluations" / "generation-0002.parquet.torn").unlink()
    assert set(rows_of(run).values()) == {1}


class Notes(Progress):
    def __init__(self):
        self.notes = []

    def noted(self, sentence):
        self.notes.append(sentence)


def test_a_generation_that_does_not_follow_is_told_of_and_made_anew(tmp_path, config, trained, driver):
    run = driver.run_in(tmp_path / "run", config)
    before = contents(run, "generations")
    with run.resume():
        run.write_generation(replace(run.generations()[1], hypervolume=0.5))
    with pytest.raises(Differs, match="generation 1: it has hypervolume 0.5, and "):
        replay(run)
    witness = Notes()
    driver.resume(run, 1, witness)
    assert any("generation 1 follows otherwise from its evaluations" in note for note in witness.notes)
    after = contents(run, "generations")
    assert {name: after[name] for name in before} == before


def test_more_generations(tmp_path, config, trained, driver):
    run = driver.run_in(tmp_path / "run", config)
    before = contents(run, "generations")
    assert driver.resume(run, 2).generation == config.generations + 2
    after = contents(run, "generations")
    assert {name: after[name] for name in before} == before
    check_record(run, replace(config, generations=config.generations + 2))


def test_a_space_that_runs_out_ends_the_run(tmp_path, config, trained, caplog, driver):
    config = replace(config, slots=1, generations=1, population=20, offspring=2)
    run = driver.run_in(tmp_path / "run", config)
    last = run.latest_generation()
    assert last.number == 1 and last.next_id < budget(config) and "exhausted" in caplog.text
    replay(run)


def test_the_race_stops_only_who_is_behind(tmp_path, config, trained, driver):
    config = replace(config, **RACE, population=20, offspring=20)
    run = driver.run_in(tmp_path / "run", config)
    history = sorted(run.history().values(), key=lambda one: one.order.arrival)
    rows = [one.evaluation for one in history]
    stopped = [one for one in rows if one.status is Status.STOPPED]
    reached = [one for one in rows if one.rungs]
    beyond = [one for one in reached if one.status in (Status.OK, Status.DIVERGED)]  # to the end, or to its own
    assert len(stopped) > 10 and len(stopped) + len(beyond) == len(reached)
    assert all(one.status is not Status.STOPPED for one in rows[: LEAST - 2]), "but for two under way"
    for one in stopped:
        costs = {name: value for name, value in one.objectives.items() if name != "quality_bpb"}
        better = [rival for rival in reached if rival.rungs[0] < one.rungs[0]]
        assert any(all(rival.objectives[name] <= cost for name, cost in costs.items()) for rival in better)
    steps = plan_run(config).trained.recipe.steps
    (rung,) = plan_run(config).race.steps
    assert {one.tokens for one in stopped} == {rung * 256 // steps} and run.latest_generation().tokens == sum(
        one.tokens for one in rows
    )


def test_a_store_gives_results_at_once(tmp_path, config, trained, driver):
    config = replace(config, slots=1, store=str(tmp_path / "store"))
    driver.run_in(tmp_path / "first", config)
    stored = {hash for hash, _ in trained}
    trained.clear()
    run = driver.run_in(tmp_path / "second", replace(config, generations=5))
    check_record(run, replace(config, generations=5))
    assert stored & set(run.evaluations()) and not stored & {hash for hash, _ in trained}
