"""A run ends as a loop of five lines would, however often it is stopped and wherever its proxies are trained."""

import random
import signal
from collections import Counter
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from support.runs import Driver, Witness, in_pool
from support.tiny import COLUMNS, CONFIG, SETTINGS, contents, invent, make_task, outcomes, rows_of, write_text

from star.architecture.genome import parse
from star.data.corpus import load_corpus
from star.errors import UserError
from star.evaluation.evaluate import evaluate
from star.records import Evaluation, Individual, Job, Result, Status
from star.run.evolve import Interrupted, evolve, resume
from star.run.generational import longest_first
from star.run.plan import plan_run
from star.run.settings import from_toml
from star.search.plan import Plan
from star.search.search import Search
from star.storage.run_directory import RunDirectory
from star.workers.pool import SerialPool

OWN = {"deck": "extended", "levels": "all"}


@pytest.fixture
def config(tmp_path):
    return replace(CONFIG, corpus=(write_text(tmp_path),), generations=5)


@pytest.fixture
def driver():
    return Driver(invent)


run_in = Driver().run_in


def searched(evaluation: Evaluation) -> dict[str, float]:
    """The objectives that the tiny run minimises, of all that an evaluation finds out."""
    return {name: evaluation.objectives[name] for name in COLUMNS if evaluation.objectives}


def naive(config, corpus, train) -> tuple[tuple[Individual, ...], dict[str, Evaluation]]:
    """The search as a plain loop: the last population, and all proxies that it took."""
    search = Search(
        Plan(population=config.population, space=plan_run(config).search.space, num_objectives=3, seed=config.seed)
    )
    known: dict[str, Evaluation] = {}
    for number in range(config.generations + 1):
        born = []
        for proposal in search.ask(config.offspring if number else config.population):
            task = make_task(proposal.genome, config.seed)
            if task.hash not in known:
                known[task.hash] = train(Job(task=task), SETTINGS, corpus).evaluation
            born.append(
                Individual(
                    id=proposal.id,
                    genome=proposal.genome,
                    hash=task.hash,
                    generation=number,
                    parents=proposal.parents,
                    status=known[task.hash].status,
                    objectives=searched(known[task.hash]),
                    rank=0,
                    crowding=0.0,
                )
            )
        survivors = search.tell(born)
    return survivors, known


def non_dominated(evaluations) -> set[str]:
    """The hashes of those that no other beats in everything, one comparison after the other."""
    points = {one.hash: np.array(list(searched(one).values())) for one in evaluations if one.status is Status.OK}
    return {
        hash
        for hash, point in points.items()
        if not any((other <= point).all() and (other < point).any() for other in points.values())
    }


@pytest.mark.parametrize("space", [{}, OWN])
def test_a_run_is_the_plain_loop(tmp_path, config, space):
    config = replace(config, generations=3, **space)
    run, witness = RunDirectory(tmp_path / "run"), Witness()
    summary = evolve(config, run, witness)
    survivors, known = naive(config, load_corpus(config.corpus, 1 << 20), evaluate)
    last = run.latest_generation()
    assert last.individuals == survivors
    assert {one.hash for one in last.front} == non_dominated(known.values())
    assert summary.evaluations == last.evaluations == len(known) == len(run.evaluations()) == len(witness.evaluations)
    assert (summary.generation, summary.front_size) == (3, len(last.front))
    assert last.tokens == summary.training_tokens == len(known) * 64
    assert (summary.hypervolume, summary.failures) == (last.hypervolume, last.failures)
    assert summary.repaired == last.repaired and (last.repaired > 0) == ("levels" in space)
    assert witness.numbers == [0, 1, 2, 3] and witness.workers == summary.workers == 1
    assert from_toml(run.config_toml) == plan_run(config).settings
    for number, proposals, _ in witness.proxies:
        assert proposals == (config.offspring if number else config.population)


def test_the_front_has_the_weights_that_were_trained(tmp_path, config):
    run = run_in(tmp_path / "run", replace(config, generations=2))
    corpus = load_corpus(config.corpus, 1 << 20)
    kept = {path.stem for path in (run.path / "weights").iterdir()}
    best = run.latest_generation().front
    assert kept == {one.hash for one in best} and kept
    for one in best:
        result = evaluate(Job(task=make_task(one.genome)), SETTINGS, corpus)
        saved, weights = run.load_weights(one.hash), result.weights
        assert searched(result.evaluation) == one.objectives and saved.keys() == weights.keys()
        assert all(np.array_equal(saved[name], weights[name]) for name in weights)


def test_the_clock_adds_up(tmp_path, config):
    witness = Witness()
    summary = evolve(replace(config, generations=1), RunDirectory(tmp_path / "run"), witness)
    trained = sum(evaluation.train_seconds for evaluation in witness.evaluations)
    assert summary.training_seconds == pytest.approx(trained)
    busy = sum(evaluation.seconds for evaluation in witness.evaluations)
    assert summary.worker_utilisation == pytest.approx(busy / summary.wall_seconds, abs=0.01)
    assert summary.overhead_seconds == pytest.approx(summary.wall_seconds - busy, abs=0.01), "one worker"
    assert 0 < summary.worker_utilisation < 1 and summary.startup_seconds >= 0


def test_seeds_decide(tmp_path, config, driver):
    one = driver.run_in(tmp_path / "one", config)
    same = driver.run_in(tmp_path / "same", config)
    other = driver.run_in(tmp_path / "other", replace(config, seed=1))
    assert contents(one) == contents(same)
    assert contents(one)["generations/0005.parquet"] != contents(other)["generations/0005.parquet"]


@pytest.mark.parametrize("seed", range(3))
def test_the_order_in_which_proxies_end_does_not_show(tmp_path, config, driver, monkeypatch, seed):
    in_order = driver.run_in(tmp_path / "in_order", config)
    rng = random.Random(seed)

    class Shuffled(SerialPool):
        num_workers = 4

        def take(self):
            self._waiting.rotate(rng.randrange(len(self._waiting)))
            return super().take()

    shuffled = Driver(invent, in_pool(Shuffled)).run_in(tmp_path / "shuffled", config)
    assert contents(shuffled) == contents(in_order)
    assert outcomes(shuffled) == outcomes(in_order)


@pytest.mark.ray
def test_ray_gives_what_one_process_gives(tmp_path, config):
    config = replace(config, generations=2)
    serial = run_in(tmp_path / "serial", config)
    witness = Witness()
    ray = run_in(tmp_path / "ray", replace(config, serial=False, workers=2), witness)
    assert witness.workers == 2
    assert contents(ray) == contents(serial)
    assert outcomes(ray) == outcomes(serial)


def test_nothing_is_trained_twice(tmp_path, config):
    """One slot has few architectures, so that the search comes back to ones that had died out."""
    trained = Counter()

    def count(job, settings, corpus):
        trained[job.task.hash] += 1
        return invent(job, settings, corpus)

    driver = Driver(count)
    run = driver.run_in(tmp_path / "run", replace(config, slots=1, generations=12, population=4, offspring=4))
    last = run.latest_generation()
    retrained = {hash for hash, times in trained.items() if times > 1}
    assert retrained <= {one.hash for one in last.front}, "for lost weights, at the end"
    assert last.evaluations == len(trained) < last.next_id
    assert last.duplicates_avoided >= last.next_id - last.evaluations
    assert last.failures.get("diverged", 0) == sum(e.status is Status.DIVERGED for e in run.evaluations().values())
    assert {path.stem for path in (run.path / "weights").iterdir()} == {one.hash for one in last.front}


@pytest.mark.parametrize("algorithm", ["regularised", "ga"])
def test_the_front_has_each_architecture_once(tmp_path, config, driver, algorithm):
    """Also one that left the population and was found again."""
    run = driver.run_in(tmp_path / "run", replace(config, slots=1, generations=12, algorithm=algorithm))
    front = run.latest_generation().front
    assert {one.hash for one in front} == non_dominated(run.evaluations().values())
    assert len({one.hash for one in front}) == len(front)


def test_the_longest_proxies_begin_first():
    texts = ["91111", "91111-91111", "71111-11111", "51111", "291111-481111", "141111"]
    tasks = [make_task(parse(text)) for text in texts]
    assert sorted(tasks, key=longest_first) == tasks[::-1]


def test_failures_never_reach_the_front(tmp_path, config, driver):
    run = driver.run_in(tmp_path / "run", config)
    failed = {hash for hash, evaluation in run.evaluations().items() if evaluation.status is not Status.OK}
    assert failed and run.latest_generation().failures == {"diverged": len(failed)}
    for generation in run.generations():
        assert not failed & {one.hash for one in generation.front}
        assert not failed & {one.hash for one in generation.individuals if one.rank == 0}


@pytest.mark.parametrize(("by", "space"), [(signal.SIGINT, {}), (signal.SIGTERM, {}), (signal.SIGINT, OWN)])
def test_a_stopped_run_ends_like_one_that_was_not(tmp_path, config, driver, by, space):
    config = replace(config, **space)
    whole = driver.run_in(tmp_path / "whole", config)
    run = RunDirectory(tmp_path / "stopped")
    before = signal.getsignal(signal.SIGTERM)
    assert before is not signal.default_int_handler
    witnesses = [Witness(stop_at=4, by=by)]
    with pytest.raises(Interrupted, match=f"go on with: star resume {run.path}"):
        driver.evolve(config, run, witnesses[0])
    for stop_at in (1, 7, 3):
        witnesses.append(Witness(stop_at, by))
        with pytest.raises(Interrupted):
            driver.resume(run, progress=witnesses[-1])
    assert signal.getsignal(signal.SIGTERM) is before
    witnesses.append(Witness())
    summary = driver.resume(run, progress=witnesses[-1])
    assert contents(run) == contents(whole)
    assert outcomes(run) == outcomes(whole)
    landed = [evaluation.hash for witness in witnesses for evaluation in witness.evaluations]
    assert len(landed) == len(set(landed)) == summary.evaluations, "what had landed was trained again"


def test_killed_before_gathering_and_again_in_the_next_generation(tmp_path, config, driver, monkeypatch):
    """Single files of two generations then lie side by side, in an order of neither."""
    whole = driver.run_in(tmp_path / "whole", config)
    run, gather = RunDirectory(tmp_path / "killed"), RunDirectory.compact_evaluations

    def die(self, number, *rest):
        if number == 2:
            raise KeyboardInterrupt
        gather(self, number, *rest)

    monkeypatch.setattr(RunDirectory, "compact_evaluations", die)
    with pytest.raises(Interrupted):
        driver.evolve(config, run)
    monkeypatch.setattr(RunDirectory, "compact_evaluations", gather)
    with pytest.raises(Interrupted):
        driver.resume(run, progress=Witness(stop_at=3))
    singles = {path.stem for path in (run.path / "evaluations").iterdir() if len(path.stem) == 16}
    born = {hash: run.history()[hash].order.generation for hash in sorted(singles)}
    assert set(born.values()) == {2, 3} and list(born.values()) != sorted(born.values())
    driver.resume(run)
    assert contents(run) == contents(whole)
    assert outcomes(run) == outcomes(whole)


@pytest.mark.parametrize("at", [2, 5])
def test_killed_between_gathering_and_deleting_each_evaluation_still_has_one_row(
    tmp_path, config, driver, monkeypatch, at
):
    whole = driver.run_in(tmp_path / "whole", config)
    run, unlink = RunDirectory(tmp_path / "killed"), Path.unlink

    def die(self, missing_ok=False):
        if (run.path / "generations" / f"{at:04d}.parquet").exists() and self.suffix == ".parquet":
            raise KeyboardInterrupt
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", die)
    with pytest.raises(Interrupted):
        driver.evolve(config, run)
    monkeypatch.setattr(Path, "unlink", unlink)
    assert max(rows_of(run).values()) == 2
    driver.resume(run)
    assert rows_of(run) == rows_of(whole) and set(rows_of(run).values()) == {1}
    assert contents(run) == contents(whole)


def test_every_evaluation_tells_which_generation_asked_for_it(tmp_path, config, driver):
    run = driver.run_in(tmp_path / "run", config)
    born = Counter(one.order.generation for one in run.history().values())
    for generation in run.generations():
        assert generation.evaluations == sum(born[number] for number in range(generation.number + 1))
        for one in generation.individuals:
            assert run.history()[one.hash].order.generation <= one.generation


@pytest.mark.parametrize("torn", ["generations/0000.parquet", "evaluations/generation-0000.parquet"])
def test_the_hypervolume_does_not_need_the_first_generation(tmp_path, config, driver, torn):
    longer = driver.run_in(tmp_path / "longer", config)
    run = driver.run_in(tmp_path / "run", replace(config, generations=2))
    victim = run.path / torn
    victim.write_bytes(victim.read_bytes()[:-40])
    witness = Witness()
    driver.resume(run, 3, witness)
    assert any(f"{victim.name} is torn" in note for note in witness.notes)
    assert run.latest_generation().hypervolume == longer.latest_generation().hypervolume


def test_more_generations_are_those_of_a_longer_run(tmp_path, config, driver):
    longer = driver.run_in(tmp_path / "longer", config)
    run = driver.run_in(tmp_path / "run", replace(config, generations=2))
    with pytest.raises(Interrupted):
        driver.resume(run, 3, Witness(stop_at=2))
    assert from_toml(run.config_toml).generations == 5, "a plain resume goes on to the new end"
    assert driver.resume(run).generation == 5
    assert contents(run) == contents(longer)
    assert run.config_toml == longer.config_toml


def test_a_finished_run_says_so_and_trains_nothing(tmp_path, config, driver, monkeypatch):
    run = RunDirectory(tmp_path / "run")
    summary = driver.evolve(config, run)
    before = contents(run, "generations", "weights", "evaluations")
    witness = Witness()
    again = Driver(invent, in_pool(None)).resume(run, progress=witness)
    assert "is finished" in witness.notes[0]
    seconds = ("startup_seconds", "wall_seconds", "training_seconds", "overhead_seconds")
    assert again == replace(summary, **dict.fromkeys(("workers", "worker_utilisation", *seconds), 0))
    assert contents(run, "generations", "weights", "evaluations") == before
    timing = run.timing()
    assert timing.wall_seconds > 0 and all(getattr(summary, n) == v for n, v in asdict(timing).items()), "and stays"


def test_lost_weights_of_the_front_are_trained_again(tmp_path, config):
    run = run_in(tmp_path / "run", replace(config, generations=1))
    before = contents(run)
    lost = sorted((run.path / "weights").iterdir())[0]
    lost.unlink()
    resume(run)
    assert contents(run) == before


def test_weights_that_cannot_be_made_again_are_told_of(tmp_path, config, driver):
    run = driver.run_in(tmp_path / "run", config)
    before = contents(run)
    lost = sorted((run.path / "weights").iterdir())[0]
    lost.unlink()

    def fail(job, settings, corpus):
        evaluation = Evaluation(hash=job.task.hash, status=Status.OUT_OF_MEMORY, error="too large for this machine")
        return Result(task=job.task, evaluation=evaluation)

    witness = Witness()
    Driver(fail).resume(run, progress=witness)
    sentence = f"the weights of {lost.stem} could not be made again, out_of_memory: too large for this machine"
    assert sentence in witness.notes
    driver.resume(run)
    assert contents(run) == before, "later, where there is room"


def test_a_torn_generation_is_told_of_and_made_again(tmp_path, config, driver):
    run = driver.run_in(tmp_path / "run", config)
    before, counted = contents(run), outcomes(run)
    newest = run.path / "generations" / "0005.parquet"
    newest.write_bytes(newest.read_bytes()[:-40])
    witness = Witness()
    driver.resume(run, progress=witness)
    assert any("0005.parquet is torn" in note for note in witness.notes)
    (run.path / "generations" / "0005.parquet.torn").unlink()
    assert contents(run) == before and outcomes(run) == counted


def test_what_was_given_up_stays_given_up(tmp_path, config):
    """A pool has tried it often enough: however often the run is resumed, a poison genome kills no more workers."""
    deaths = Counter()

    def die(job, settings, corpus):
        if int(job.task.hash, 16) % 2:
            deaths[job.task.hash] += 1
            evaluation = Evaluation(hash=job.task.hash, status=Status.CRASHED, error="died", retries={"died": 2})
            return Result(task=job.task, evaluation=evaluation)
        return invent(job, settings, corpus)

    driver = Driver(die)
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(Interrupted):
        driver.evolve(config, run, Witness(stop_at=9))
    driver.resume(run)
    assert deaths and set(deaths.values()) == {1}
    crashed = [one for one in run.evaluations().values() if one.status is Status.CRASHED]
    assert len(crashed) == run.latest_generation().failures["crashed"] == len(deaths)
    assert all(one.retries == {"died": 2} for one in crashed)


def test_cheap_refusals_come_before_the_corpus_is_read(tmp_path, config):
    config = replace(config, corpus=("nowhere",))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "cat.png").touch()
    with pytest.raises(UserError, match="not empty"):
        evolve(config, RunDirectory(tmp_path / "run"))
    with pytest.raises(UserError, match="unknown objective"):
        evolve(replace(config, objectives=("quallity",)), RunDirectory(tmp_path / "new"))


def test_refusals(tmp_path, config, driver):
    run = driver.run_in(tmp_path / "run", config)
    with pytest.raises(UserError, match="holds a run already; go on with it by `star resume"):
        driver.evolve(config, RunDirectory(run.path))
    with pytest.raises(UserError, match="unknown objective 'quallity'; did you mean 'quality'"):
        driver.evolve(replace(config, objectives=("quallity",)), RunDirectory(tmp_path / "new"))
    with pytest.raises(UserError, match="does not exist"):
        driver.evolve(replace(config, corpus=("nowhere.txt",)), RunDirectory(tmp_path / "new"))
    short = tmp_path / "short.txt"
    short.write_text("too short")
    with pytest.raises(UserError, match="too short"):
        driver.evolve(replace(config, corpus=(str(short),)), RunDirectory(tmp_path / "new"))
    assert not (tmp_path / "new").exists(), "a run that cannot begin leaves nothing"
    Path(config.corpus[0]).write_text("another text altogether\n" * 200)
    with pytest.raises(UserError, match="the corpus is not the one that this run began with"):
        driver.resume(RunDirectory(run.path), 1)


def test_other_versions_are_told_of(tmp_path, config, driver, monkeypatch):
    run = driver.run_in(tmp_path / "run", replace(config, generations=1))
    then = f'torch = "{version("torch")}"'
    (run.path / "run.toml").write_text(run.config_toml.replace(then, 'torch = "9.9"'))
    witness = Witness()
    driver.resume(run, 1, witness)
    assert len(witness.notes) == 1 and "begun with torch 9.9" in witness.notes[0]


def test_what_cannot_be_placed_leaves_everything_as_it_was(tmp_path, config, driver):
    """Neither a run that was never begun, nor more generations than were to be."""
    wrong = {"serial": False, "address": "127.0.0.1:1"}
    with pytest.raises(UserError, match="nothing answers"):
        driver.evolve(replace(config, **wrong), RunDirectory(tmp_path / "new"))
    assert not (tmp_path / "new").exists()
    run = driver.run_in(tmp_path / "run", config)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    for places, words in ((wrong, "nothing answers"), ({"address": "auto"}, "serial")):
        with pytest.raises(UserError, match=words):
            driver.resume(run, 2, places=places)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_where_to_train_is_chosen_anew_and_not_recorded(tmp_path, config, driver, monkeypatch):
    run = driver.run_in(tmp_path / "run", config)
    chosen = []

    def note_choice(plan, evaluate, corpus):
        chosen.append((plan.placement.workers, plan.placement.address, plan.settings.serial))
        return SerialPool(evaluate)

    driver = Driver(invent, note_choice)
    driver.resume(run, 1, places={"workers": 3, "address": "auto", "serial": False})
    driver.resume(run, 1)
    assert chosen == [(3, "auto", False), (0, "", True)]
    assert from_toml(run.config_toml) == plan_run(replace(config, generations=7)).settings
