"""A search within limits: nothing beyond them is trained or reaches the front, and a bad start is recovered from."""

import json
import os
import signal
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from support.runs import Driver
from support.searching import OFFSPRING, SIZES, ask, make, measure, record
from support.targets import SMALL
from support.tiny import CONFIG, contents, invent, outcomes, write_text

from star.architecture.genome import Space, canonical, decode
from star.cost.limits import write_limit
from star.errors import UserError
from star.options import to_toml
from star.records import Status
from star.report.history import read_history
from star.run.evolve import Interrupted, evolve
from star.run.plan import plan_run
from star.run.progress import Progress
from star.run.settings import from_toml
from star.search.candidate_filter import TRIES
from star.search.plan import Plan
from star.search.search import Search
from star.storage.run_directory import RunDirectory


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return replace(CONFIG, corpus=(write_text(tmp_path),), target=str(path), dtype="int4")


@pytest.fixture
def trained():
    """Genomes that were trained, and how often."""
    return Counter()


@pytest.fixture
def driver(trained):
    def count(job, settings, corpus):
        trained[job.task.genome] += 1
        return invent(job, settings, corpus)

    return Driver(count)


def quantile(config, share):
    """The memory that this share of random genomes does not exceed."""
    space, target, rng = plan_run(config).search.space, plan_run(config).target, np.random.default_rng(5)
    return float(np.quantile([target.count(space.sample(rng)).memory_bytes for _ in range(1000)], share))


def total(genome):
    return sum(genome[::5])


class Few:
    """A constraint that few genomes meet, or none but one: the numbers of their classes add up to at most `limit`."""

    num_constraints = 1

    def __init__(self, limit):
        self.limit = limit

    def violations(self, genome):
        return ((total(genome) - self.limit) / self.limit,)


def told(search, number):
    """One generation, infeasible genomes not evaluated."""
    born = []
    proposals, rejected = search.propose(OFFSPRING if search.next_id else SIZES["population"])
    for proposal in proposals:
        one = measure(proposal, number)
        if proposal.genome in rejected:
            one = replace(one, status=Status.INFEASIBLE, objectives={})
        born.append(one)
    survivors = search.tell(born)
    front = tuple(one for one in survivors if one.rank == 0)
    return born, replace(record(search, number, survivors), front=front)


def test_a_limit_that_some_meet_is_met_by_all_proposals():
    search = make(3, Few(16))
    for number in range(5):
        born, generation = told(search, number)
        assert all(total(one.genome) <= 16 for one in born)
    assert 0 < generation.turned_away < 5 * TRIES * SIZES["population"]


def test_the_least_violating_are_kept_where_nothing_is_feasible():
    search = make(3, Few(0.1), space=Space(8))
    born, generation = told(search, 0)
    assert len(born) == SIZES["population"] and {one.status for one in born} == {Status.INFEASIBLE}
    assert TRIES * len(born) <= search.rejected_infeasible < (TRIES + 1) * len(born)
    rng = np.random.default_rng(0)
    usual = min(total(Space(8).sample(rng)) for _ in range(100))
    assert max(total(one.genome) for one in born) < usual, "the least of many draws"
    assert generation.front == () and all(one.rank > 0 for one in generation.individuals)


@pytest.mark.parametrize("seed", range(3))
def test_an_infeasible_start_recovers_by_debs_rules(seed):
    search, least = make(seed, Few(12), space=Space(8)), []
    for number in range(20):
        _, generation = told(search, number)
        least.append(min(total(one.genome) for one in generation.individuals))
        if generation.front:
            break
    assert least[0] > 12 and least == sorted(least, reverse=True)
    assert generation.front and all(total(one.genome) <= 12 for one in generation.front)
    born, generation = told(search, number + 1)
    assert any(one.status is Status.OK for one in born)
    assert {one.status for one in generation.individuals if one.rank == 0} == {Status.OK}


@pytest.mark.parametrize("cut", range(5))
@pytest.mark.parametrize("limit", [10, 30])
def test_a_restored_search_knows_its_violations(cut, limit):
    plan = Plan(**SIZES | {"space": Space(8)}, seed=7)
    whole, search = [], Search(plan, Few(limit))
    for number in range(7):
        whole.append(told(search, number)[1])
    found = {one.status for one in whole[cut].individuals}
    assert limit == 30 or cut > 2 or Status.INFEASIBLE in found
    search = Search.restore(plan, whole[cut], Few(limit))
    assert [told(search, number)[1] for number in range(cut + 1, 7)] == whole[cut + 1 :]


def test_what_cannot_be_built_is_the_worst_of_all():
    class Meaningless(Few):
        def violations(self, genome):
            return None if genome[0] % 2 else super().violations(genome)

    search = make(1, Meaningless(1), space=Space(8))
    assert all(proposal.genome[0] % 2 == 0 for proposal in ask(search))
    none = Meaningless(1)
    none.violations = lambda genome: None
    search = make(1, none)
    born = [replace(measure(proposal, 0), status=Status.INFEASIBLE, objectives={}) for proposal in ask(search)]
    assert len(born) == SIZES["population"] and all(one.rank > 0 for one in search.tell(born))


@pytest.mark.parametrize(("share", "space"), [(0.3, {}), (0.01, {}), (0.01, {"deck": "extended", "levels": "all"})])
def test_nothing_beyond_a_limit_is_trained_or_reaches_the_front(tmp_path, config, trained, share, space, driver):
    config = replace(config, **space)
    limit = quantile(config, share)
    config = replace(config, max_memory=limit)
    run = driver.run_in(tmp_path / "run", config)
    target, last = plan_run(config).target, run.latest_generation()
    assert trained and all(target.count(genome).memory_bytes <= limit for genome in trained)
    assert last.front and all(target.count(one.genome).memory_bytes <= limit for one in last.front)
    ended = run.evaluations().values()
    assert last.evaluations == len(trained) == sum(one.status is not Status.INFEASIBLE for one in ended)
    assert last.turned_away > 0 and "infeasible" not in last.failures
    for one in ended:
        if one.status is Status.INFEASIBLE:
            assert one.objectives["memory_bytes"] > limit and "quality_bpb" not in one.objectives
            assert one.error.startswith("memory_bytes ") and f"> max_memory {limit:,.0f}" in one.error


def test_a_limit_that_none_of_the_first_draws_meets(tmp_path, config, trained, driver):
    config = replace(config, slots=8, generations=12)
    least = quantile(config, 0) * 0.86
    config = replace(config, max_memory=least)
    run = driver.run_in(tmp_path / "run", config)
    first, *_, last = run.generations()
    assert first.front == () and first.evaluations == 0 and first.hypervolume == 0 and first.reference is None
    assert {one.status for one in first.individuals} == {Status.INFEASIBLE}
    assert last.front and last.hypervolume > 0 and last.reference
    assert all(plan_run(config).target.count(one.genome).memory_bytes <= least for one in last.front)
    assert read_history(run).front and len(read_history(run).trained) == last.evaluations


def test_what_cannot_be_built_at_the_target_is_never_trained(tmp_path, config, trained, driver):
    path = tmp_path / "six.toml"
    path.write_text(SMALL.replace("d_model = 64", "d_model = 48"))  # six heads, which no four divide
    config = replace(config, target=str(path), generations=2)
    run = driver.run_in(tmp_path / "run", config)
    names = {slot.liv.name for genome in trained for slot in decode(genome)}
    assert len(names) > 5 and not names & {"SA-3", "SA-3-Diff"}
    assert run.latest_generation().turned_away > 0 and run.latest_generation().front


class Lines(Progress):
    def __init__(self):
        self.refusals = []

    def generation_finished(self, generation, refusal):
        self.refusals.append(refusal)


def test_the_usual_reason_is_told_and_no_part_of_the_result(tmp_path, config, trained, driver):
    config = replace(config, max_memory=quantile(config, 0.2), max_params=1e12)
    run, lines = RunDirectory(tmp_path / "run"), Lines()
    summary = driver.evolve(config, run, lines)
    reason = f"memory_bytes > max_memory {write_limit('max_memory', config.max_memory)}"
    assert summary.turned_away_mostly == reason and set(lines.refusals) == {reason}
    assert driver.resume(run).turned_away_mostly == "", "a process that turned nothing away knows of no reason"
    six = tmp_path / "six.toml"
    six.write_text(SMALL.replace("d_model = 64", "d_model = 48"))
    config = replace(config, target=str(six), max_memory=0.0)
    found = driver.evolve(config, RunDirectory(tmp_path / "six")).turned_away_mostly
    assert found.startswith("SA-3")
    free = replace(config, target=None, max_params=0.0)
    assert driver.evolve(free, RunDirectory(tmp_path / "free"), lines).turned_away_mostly == lines.refusals[-1] == ""


def test_a_generation_that_stays_short_says_why(star, tmp_path, config, trained):
    config = replace(config, slots=8, generations=1)
    config = replace(config, max_memory=quantile(config, 0) * 0.86)
    (tmp_path / "config.toml").write_text(to_toml(config))
    code, out, err = star("evolve", "--config", tmp_path / "config.toml", "--out", tmp_path / "run")
    assert code == 0, err
    reason = f"mostly: memory_bytes > max_memory {write_limit('max_memory', config.max_memory)}"
    lines = [line for line in err.splitlines() if line.startswith("generation ")]
    assert f"6 of 6 infeasible, {reason}" in lines[0]
    assert f"rejected before training, {reason}\n" in out


class Stop(Progress):
    def __init__(self, after):
        self.left = after

    def evaluated(self, evaluation):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(("share", "edited"), [(0.2, "deleted"), (0.002, "changed")])
def test_a_stopped_run_ends_alike_whatever_became_of_the_targets_file(tmp_path, config, trained, share, edited, driver):
    config = replace(config, slots=6)
    config = replace(config, max_memory=quantile(config, share), max_flops=1e6)
    limits = plan_run(config).limits
    whole = driver.run_in(tmp_path / "whole", config)
    run = RunDirectory(tmp_path / "stopped")
    with pytest.raises(Interrupted):
        driver.evolve(config, run, Stop(2))
    file = tmp_path / "small.toml"
    file.unlink() if edited == "deleted" else file.write_text(SMALL.replace("d_model = 64", "d_model = 128"))
    for after in (3, 1):
        with pytest.raises(Interrupted):
            driver.resume(run, progress=Stop(after))
    summary = driver.resume(run)
    assert contents(run) == contents(whole) and outcomes(run) == outcomes(whole)
    assert summary.turned_away == whole.latest_generation().turned_away > 0
    assert (summary.target, summary.dtype, summary.limits) == (str(file), "int4", limits)


def test_without_limits_nothing_is_turned_away(tmp_path, config, trained, driver):
    last = driver.run_in(tmp_path / "run", replace(config, target=None)).latest_generation()
    assert last.turned_away == 0 and last.evaluations == len(trained)


def test_a_limit_that_nothing_meets_leaves_nothing(tmp_path, config):
    with pytest.raises(UserError, match="max_memory 9 is less than any architecture costs"):
        evolve(replace(config, max_memory=9.0), RunDirectory(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_infeasible_individuals_are_those_of_the_screen(tmp_path, config, trained, driver):
    config = replace(config, max_memory=quantile(config, 0.001), generations=1)
    run, screen = driver.run_in(tmp_path / "run", config), plan_run(config).screen()
    for one in run.generations()[0].individuals:
        assert (one.status is Status.INFEASIBLE) == bool(screen.refusal(canonical(one.genome)))


@pytest.fixture
def finished(tmp_path, config, trained, driver):
    config = replace(config, max_memory=quantile(config, 0.2), batch=2, context=100)
    return driver.run_in(tmp_path / "run", config).path


def test_what_the_commands_tell_of_a_target(star, finished):
    config = from_toml((finished / "run.toml").read_text())
    found = json.loads(star("status", finished, "--json")[1])
    assert (found["target"], found["context"], found["dtype"], found["batch"]) == (config.target, 100, "int4", 2)
    generation = RunDirectory(finished).latest_generation()
    assert found["limits"] == {"max_memory": config.max_memory} and found["turned_away"] == generation.turned_away
    assert found["evaluations"] == generation.evaluations
    rows, target = json.loads(star("front", finished, "--json")[1]), plan_run(config).target
    members = {one.id: one for one in generation.front}
    assert {row["id"] for row in rows} == set(members)
    for row in rows:
        cost = target.count(members[row["id"]].genome).columns()
        assert {name: row[name] for name in cost} == cost and row["memory_bytes"] <= config.max_memory
    assert "memory" in star("front", finished)[1].splitlines()[0]
    assert "rejected untrained" in star("status", finished)[1]
    code, _, err = star("report", finished)
    assert code == 0 and "limits" in (finished / "report.html").read_text(), err
    code, _, err = star("export", finished, "--to", finished / "models")
    assert code == 0, err


def test_a_run_within_limits_from_the_command_line(star, tmp_path):
    (tmp_path / "small.toml").write_text(SMALL)
    given = f"--target {tmp_path}/small.toml --context 64 --dtype int4 --batch 2 --max-memory 150kB --max-params 0.3M"
    given += " --population 2 --generations 1 --tokens 1024 --slots 2 --serial --objectives quality,memory"
    code, out, err = star("evolve", *given.split(), "--store", "", "--out", tmp_path / "run", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["limits"] == {"max_memory": 150e3, "max_params": 0.3e6} and found["turned_away"] >= 0
    assert (found["target"], found["context"], found["dtype"]) == (f"{tmp_path}/small.toml", 64, "int4")
    assert all(row["memory_bytes"] <= 150e3 for row in json.loads(star("front", tmp_path / "run", "--json")[1]))
    (tmp_path / "small.toml").unlink()
    code, out, err = star("resume", tmp_path / "run", "--generations", "+1")
    assert code == 0 and "limits  params 300k, memory 150 kB; " in out, err
    model = next((tmp_path / "run" / "export").glob("*/model.py"))
    assert "bytes of both in int4 for 2 at a time" in model.read_text()
    again = ["--config", tmp_path / "run" / "run.toml", "--target", "micro", "--max-params", "1k", "--out", "x/y"]
    code, _, err = star("evolve", *again)
    assert code == 2 and "error: --max-params 1,000 is less than any architecture costs at micro" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--max-memory 2XB", ["error: --max-memory must be an amount", "2GB"]),
        ("--max-params 8GB", ["error: --max-params must be an amount", "8B"]),
        ("--max-cache 0", ["error: --max-cache must be an amount above 0"]),
        ("--max-flops many", ["error: --max-flops must be an amount"]),
        ("--max-memory 1kB", ["error: --max-memory 1,000 is less than any architecture costs at nano", "memory_bytes"]),
        ("--max-params 1e9B", ["--max-params must be an amount", "an exponent and a suffix exclude each other"]),
        ("--max-params 1e25", ["error: --max-params must be at most 1e+24, not 1e+25"]),
        ("--target gpt-2-124m --context 32768", ["context must be at most 1024", "learned positions", "gpt-2-124m"]),
        ("--target llama-3.2-1bb", ["did you mean 'llama-3.2-1b'?"]),
        ("--target transformer-pp", ["no table [scale]"]),
        ("--target no/such.toml", ["no/such.toml"]),
        ("--target {tmp}/bad.toml", ["bad.toml", "unknown key 'slot'"]),
        ("--scale llama-3.2-1b", ["no recipe", "nano, micro, 125m, 1b"]),
        ("--scale {tmp}/small.toml", ["no recipe"]),
        ("--dtype int5", ["unknown dtype 'int5'"]),
        ("--batch 0", ["batch must be at least 1"]),
        ("--objectives memry", ["did you mean 'memory'?"]),
    ],
)
def test_a_wrong_option_is_one_line(refused, tmp_path, options, words):
    (tmp_path / "bad.toml").write_text("[scale]\nslot = 3\n")
    (tmp_path / "small.toml").write_text(SMALL)
    refused(["evolve", *options.format(tmp=tmp_path).split(), "--out", tmp_path / "run"], *words)
    assert not (tmp_path / "run").exists()
