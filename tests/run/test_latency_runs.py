"""Runs that minimise latency: it is measured before anything is trained, once, and what is recorded is kept."""

import json
import shutil
from dataclasses import replace

import pytest
from support.latency import Invented, refuse
from support.runs import Driver, Witness
from support.tiny import CONFIG, contents, invent, outcomes, write_text

from star.architecture.genome import DECKS
from star.cost.latency import LatencyTable
from star.errors import UserError
from star.records import RANKED, Status
from star.run import measurer
from star.run.evolve import Interrupted
from star.run.measurer import Measurer
from star.run.plan import plan_run
from star.run.replay import Replayed, replay
from star.run.retrain import retrain
from star.run.verify import verify
from star.storage.run_directory import RunDirectory

OBJECTIVES = ("quality", "latency", "prefill")
RACE = {"tokens": 320, "rungs": 3, "population": 10, "offspring": 6}
ESTIMATES = {"tokens": 320, "population": 12, "offspring": 8, "ranking": "estimate", "longer_share": 0.9}
ESTIMATES |= {"verify_tokens": 0, "objectives": ("quality", "latency", "params"), "screening": 2}
SCHEDULES = {"generations": {}, "race": RACE, "estimates": ESTIMATES, "steady": {"mode": "steady"}}
COLUMNS = ("decode_ms", "prefill_ms")
DRIVER = Driver(invent)


@pytest.fixture
def config(tmp_path):
    return replace(CONFIG, objectives=OBJECTIVES, generations=2, corpus=(write_text(tmp_path),))


@pytest.fixture
def measure(monkeypatch):
    """What stands for the clock."""
    invented = Invented()
    monkeypatch.setattr(measurer, "measure_part", invented)
    return invented


def table_of(run: RunDirectory, config) -> LatencyTable:
    plan = plan_run(config)
    return plan.latency_table(run.latencies(plan.latency_table().setting))


def copied(run: RunDirectory, name: str) -> RunDirectory:
    return RunDirectory(shutil.copytree(run.path, run.path.with_name(name)))


def same(run: RunDirectory, other: RunDirectory) -> bool:
    return contents(run) == contents(other) and outcomes(run) == outcomes(other)


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_part_is_measured_once_and_before_the_first_training_that_needs_it(tmp_path, config, measure, name):
    config = replace(config, **SCHEDULES[name])
    plan, known = plan_run(config), []

    def watch(job, settings, corpus):
        table = LatencyTable(plan.target, 3, dict.fromkeys(measure.asked))
        assert not table.missing([job.task.genome])
        known.append(len(measure.asked))
        return invent(job, settings, corpus)

    run = Driver(watch).run_in(tmp_path / "run", config)
    assert len(set(measure.asked)) == len(measure.asked) > 5
    assert table_of(run, config).rows.keys() == set(measure.asked)
    if name == "steady":
        assert set(known) == {len(measure.asked)} and len(measure.asked) > 3 * len(DECKS["paper"])
    ranked = {hash: one for hash, one in run.history().items() if one.evaluation.status in RANKED}
    assert (name == "estimates") == any(one.evaluation.status is Status.SCREENED for one in ranked.values())
    for task, evaluation, _ in ranked.values():
        total = table_of(run, config).total(task.genome)
        assert [evaluation.objectives[column] for column in COLUMNS] == [total.decode_ms, total.prefill_ms]
    for one in run.latest_generation().front:
        assert set(COLUMNS) & set(plan.columns) <= one.objectives.keys()


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("stop_at", [1, 9])
def test_a_run_that_stopped_ends_alike_and_measures_nothing_twice(tmp_path, config, measure, name, stop_at):
    config = replace(config, **SCHEDULES[name])
    whole = DRIVER.run_in(tmp_path / "whole", config)
    asked, measure.asked = measure.asked, []
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(Interrupted):
        DRIVER.evolve(config, run, Witness(stop_at=stop_at))
    DRIVER.resume(run)
    assert same(run, whole) and measure.asked == asked
    assert isinstance(replay(run), Replayed)


@pytest.mark.parametrize("name", SCHEDULES)
def test_what_is_recorded_is_not_measured_again(tmp_path, config, measure, monkeypatch, name):
    """Replayed, or made again from files that were lost, on a machine that has nothing to measure with."""
    config = replace(config, **SCHEDULES[name])
    run = DRIVER.run_in(tmp_path / "run", config)
    monkeypatch.setattr(measurer, "measure_part", refuse)
    monkeypatch.setattr(measurer, "find_machine", refuse)
    assert replay(run).generations == 3
    if name != "steady":
        damaged, notes = copied(run, "damaged"), Witness()
        (damaged.path / "evaluations" / "generation-0001.parquet").unlink()
        DRIVER.resume(damaged, progress=notes)
        assert same(damaged, run) and not any("otherwise" in one or "cannot be made" in one for one in notes.notes)


def test_another_machine_keeps_what_is_recorded(tmp_path, config, measure, monkeypatch):
    """And measures what is not, of which it tells."""
    run = DRIVER.run_in(tmp_path / "run", config)
    before = table_of(run, config).rows
    other = Invented(factor=100.0)
    monkeypatch.setattr(measurer, "measure_part", other)
    monkeypatch.setattr(measurer, "describe_machine", lambda machine: there)
    (here,) = {one.machine for one in before.values()}
    there = json.dumps(json.loads(here) | {"processor": "another"}, sort_keys=True)
    notes = Witness()
    DRIVER.resume(run, 3, notes)
    after = table_of(run, config).rows
    assert other.asked and not set(other.asked) & before.keys() and after.keys() == before.keys() | set(other.asked)
    assert all(after[key] == row for key, row in before.items())
    assert {after[key].machine for key in other.asked} == {there}
    (told, *_) = [one for one in notes.notes if one.startswith("measuring the latency of ")]
    assert "another, " in told and told.endswith("those before were measured on another machine or by another version")
    assert replay(run).generations == 6


def test_a_second_run_measures_nothing(tmp_path, config, measure, monkeypatch):
    config = replace(config, store=str(tmp_path / "store"))
    first = DRIVER.run_in(tmp_path / "first", config)
    notes = Witness()
    monkeypatch.setattr(measurer, "measure_part", refuse)
    second = RunDirectory(tmp_path / "second")
    summary = DRIVER.evolve(config, second, notes)
    assert same(first, second) and not any("measuring" in one for one in notes.notes)
    assert table_of(second, config).rows == table_of(first, config).rows
    assert 0 < summary.reused == summary.evaluations, "proxies are shared as those of any run"
    cheaper = replace(config, objectives=("quality", "params"))
    assert DRIVER.evolve(cheaper, RunDirectory(tmp_path / "third"), notes).reused > 0
    others = RunDirectory(tmp_path / "third").evaluations().values()
    assert not any(set(COLUMNS) & one.objectives.keys() for one in others)


@pytest.mark.parametrize("changes", [{"context": 8}, {"batch": 3}, {"dtype": "fp32"}, {"target": "micro"}])
def test_other_sizes_are_measured_anew(tmp_path, config, measure, changes):
    config = replace(config, store=str(tmp_path / "store"), generations=0)
    DRIVER.run_in(tmp_path / "first", config)
    count = len(measure.asked)
    DRIVER.run_in(tmp_path / "second", replace(config, **changes))
    assert len(measure.asked) == 2 * count


def test_a_table_that_is_damaged_is_measured_again(tmp_path, config, measure):
    run = DRIVER.run_in(tmp_path / "run", config)
    longer = copied(run, "longer")
    DRIVER.resume(longer, 2)
    path = run.path / "latencies.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    notes = Witness()
    DRIVER.resume(run, 2, notes)
    assert same(run, longer) and any("latencies.parquet is torn" in one for one in notes.notes)
    assert path.exists() and replay(run).generations == 5


def test_what_was_measured_on_a_busy_machine_is_not_stored(tmp_path, config, measure):
    config, notes = replace(config, store=str(tmp_path / "store"), generations=0), Witness()
    measure.is_disturbed = True
    run = RunDirectory(tmp_path / "run")
    DRIVER.evolve(config, run, notes)
    assert not (tmp_path / "store" / "latencies").exists()
    assert any("other processes kept the machine busy" in one for one in notes.notes)
    assert table_of(run, config).rows.keys() == set(measure.asked), "of the run that is all there is"


def test_a_run_that_measured_its_proxies_is_not_continued(tmp_path, config, measure):
    """It is still shown and replayed."""
    run = DRIVER.run_in(tmp_path / "run", config)
    (run.path / "latencies.parquet").unlink()
    assert replay(run).generations == 3
    for go_on in (lambda: DRIVER.resume(run, 1), lambda: verify(run, evaluate=invent)):
        with pytest.raises(UserError, match="were measured on its proxies, not at the target.*: begin a new run"):
            go_on()
    assert DRIVER.resume(run).front_size == len(run.latest_generation().front), "there is nothing to do"


def test_operators_of_no_deck_are_measured_when_they_come(tmp_path, config, measure):
    config = replace(config, mode="steady", levels="all", generations=3)
    run = DRIVER.run_in(tmp_path / "run", config)
    deck = set(measure.asked[: measure.asked.index("frame") + 1])
    own = [key for key in measure.asked if key not in deck]
    assert own and len(set(measure.asked)) == len(measure.asked)
    assert replay(run).generations == 4


def test_baselines_are_measured_before_they_are_trained(tmp_path, config, measure, monkeypatch):
    run = DRIVER.run_in(tmp_path / "run", replace(config, population=3, generations=0))
    found = verify(run, changes={"verify_tokens": 128, "verify_seeds": 1}, evaluate=invent)
    table = table_of(run, config)
    assert found.baselines and all(set(COLUMNS) <= one.costs.keys() for one in (*found.members, *found.baselines))
    members = {one.hash: one.genome for one in run.latest_generation().front}
    for one in found.members:
        assert one.costs["decode_ms"] == table.total(members[one.hash]).decode_ms
    monkeypatch.setattr(measurer, "measure_part", refuse)
    assert verify(run, changes={"verify_tokens": 128, "verify_seeds": 1}, evaluate=invent) == found


def test_one_proxy_comes_out_as_recorded(tmp_path, config, measure):
    run = DRIVER.run_in(tmp_path / "run", config)
    one = run.latest_generation().front[0]
    assert not retrain(run, str(one.id), pytest.fail, invent).differences()


def test_what_does_not_fit_into_memory_ends_the_run_in_a_sentence(star, tmp_path, config, monkeypatch):
    def fail(part, setting, machine):
        raise UserError(f"the latency of {part.name} cannot be measured: it takes about 9 TB")

    monkeypatch.setattr(measurer, "measure_part", fail)
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(UserError, match="cannot be measured"):
        DRIVER.evolve(config, run)
    monkeypatch.setattr(measurer, "measure_part", Invented())
    assert DRIVER.resume(run).generation == 2


def test_a_device_that_is_not_there_is_refused_first(refused, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    out = tmp_path / "run"
    objectives = ("--objectives", "quality,latency")
    refused(["evolve", "--out", out, "--device", "cuda", *objectives], "device is cuda, but torch finds no GPU here")
    refused(["evolve", "--out", out, "--device", "gpu", *objectives], "unknown device 'gpu'; did you mean 'cpu'?")
    refused(["evolve", "--out", out, "--device", "cuda"], "--device cuda is where latency and prefill are measured")
    assert not out.exists()


def test_a_measurer_without_a_store_or_a_record(measure):
    plan, notes = plan_run(replace(CONFIG, objectives=OBJECTIVES)), []
    table = plan.latency_table()
    genome = (1, 1, 1, 1, 4) * 2
    one = Measurer(table, "cpu", "", notes.append)
    one.complete([genome])
    one.complete([genome])
    assert len(measure.asked) == 3 and len(notes) == 1 and notes[0].startswith("measuring the latency of 3 parts of ")
