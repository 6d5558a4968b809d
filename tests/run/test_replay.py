"""A record that leads where it says is confirmed; whatever was changed in it is named."""

import json
from dataclasses import replace

import pytest
from support.pretended import pretend
from support.runs import Driver
from support.tiny import CONFIG, contents, invent, write_text

from star.records import Status
from star.run.evolve import evolve
from star.run.retrain import retrain
from star.storage.run_directory import RunDirectory

FOLDERS = ("generations", "weights", "evaluations")
RACE = {"rungs": 2, "eta": 2, "tokens": 256}


@pytest.fixture(params=["steady", "generations"])
def config(request, tmp_path):
    return replace(CONFIG, corpus=(write_text(tmp_path),), mode=request.param, generations=2)


@pytest.fixture
def recorded(tmp_path, config):
    return Driver(invent).run_in(tmp_path / "run", config)


def rewrite(run, hash, **changes):
    """Change what is recorded of one evaluation, or lose it if nothing is to change."""
    entries = run.history()
    task, evaluation, order = entries.pop(hash)
    with run.resume():
        for path in (run.path / "evaluations").iterdir():
            path.unlink()
        for one in entries.values():
            run.append_evaluation(*one)
        if changes:
            run.append_evaluation(task, replace(evaluation, **changes), order)


def test_a_run_is_confirmed_and_nothing_is_written(star, recorded, config):
    before = contents(recorded, *FOLDERS)
    code, out, err = star("replay", recorded.path, "--json")
    asks = config.population + 2 * config.offspring
    assert code == 0 and not err
    arrivals = len(recorded.evaluations())
    same = {"run": str(recorded.path), "same": True, "asks": asks, "arrivals": arrivals, "generations": 3}
    assert json.loads(out) == same
    line = f"Replayed 3 generations ({asks} proposals): identical to the record.\n"
    assert star("replay", recorded.path) == (0, line, "")
    assert contents(recorded, *FOLDERS) == before


def test_a_run_that_is_going_on_is_confirmed_as_far_as_it_is(star, recorded):
    last = recorded.path / "generations" / "0002.parquet"
    last.unlink()
    assert star("replay", recorded.path)[1].startswith("Replayed 2 generations (")


@pytest.mark.parametrize("change", ["better", "lost", "torn"])
def test_what_was_changed_is_named(star, recorded, change):
    first = recorded.generations()[0].individuals[0]
    if change == "better":
        better = first.objectives["quality_bpb"] - 1e-9
        rewrite(recorded, first.hash, objectives=first.objectives | {"quality_bpb": better})
        words = (f"generation 0: individual {first.id} has objectives", f"{better}")
    elif change == "lost":
        number = recorded.history()[first.hash].order.arrival
        rewrite(recorded, first.hash)
        words = (f"arrival {number}", "missing") if number else (first.hash, "not recorded")
    else:
        path = recorded.path / "generations" / "0001.parquet"
        path.write_bytes(path.read_bytes()[:-9])
        words = ("generation 1", "torn")
    code, out, err = star("replay", recorded.path)
    assert code == 1 and not err and out.count("\n") == 1
    assert all(word in out for word in words), out
    code, out, _ = star("replay", recorded.path, "--json")
    assert code == 1 and json.loads(out)["same"] is False


@pytest.mark.parametrize("extra", [{"generations": 1}, RACE | {"population": 12, "generations": 0}])
def test_one_proxy_comes_out_as_recorded(star, tmp_path, extra):
    run = RunDirectory(tmp_path / "run")
    evolve(replace(CONFIG, corpus=(write_text(tmp_path),), **extra), run)
    before = contents(run, *FOLDERS)
    kept = run.latest_generation().individuals
    chosen = {one.status: one for one in kept}.values()
    for one in chosen:
        code, out, _ = star("replay", run.path, one.id, "--json")
        assert code == 0 and json.loads(out) == {"id": one.id, "hash": one.hash, "same": True}
        told = star("replay", run.path, one.id)[1]
        assert told.startswith(f"Trained individual {one.id} again: identical to the record (")
        assert f"quality_bpb {one.objectives['quality_bpb']!r}" in told
    assert contents(run, *FOLDERS) == before
    value = one.objectives["quality_bpb"]
    rewrite(run, one.hash, objectives=run.evaluations()[one.hash].objectives | {"quality_bpb": value + 0.5})
    code, out, _ = star("replay", run.path, one.id)
    assert code == 1
    assert out == f"individual {one.id} has quality_bpb {value + 0.5}, and {value} trained again: -0.5\n"
    code, out, _ = star("replay", run.path, one.id, "--json")
    assert code == 1 and json.loads(out)["differences"] == {"quality_bpb": [value + 0.5, value]}


def test_one_that_diverged_after_a_rung_comes_out_as_recorded(tmp_path):
    """What is recorded of it besides is of the part before, which it passed."""
    config = replace(CONFIG, corpus=(write_text(tmp_path),), **RACE | {"population": 60, "generations": 0})
    run = Driver(pretend).run_in(tmp_path / "run", config)
    known = run.evaluations()
    diverged = [one for one in run.latest_generation().individuals if one.status is Status.DIVERGED]
    assert {len(known[one.hash].rungs) for one in diverged} == {0, 1}
    for one in diverged:
        assert not retrain(run, str(one.id), pytest.fail, pretend).differences()


def test_refusals(star, refused, recorded, tmp_path):
    refused(["replay", tmp_path / "nowhere"], "does not exist")
    refused(["replay", recorded.path, "999"], "keeps no individual 999")
    kept = recorded.latest_generation().individuals
    rewrite(recorded, kept[0].hash, status="timeout", objectives={})
    refused(["replay", recorded.path, str(kept[0].id)], "is timeout")
    (tmp_path / "text.txt").write_text("something else altogether, and long enough. " * 200)
    refused(["replay", recorded.path, str(kept[1].id)], "the corpus is not the one")
    for path in (recorded.path / "generations").iterdir():
        path.unlink()
    refused(["replay", recorded.path], "no finished generation yet")
