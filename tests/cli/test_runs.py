"""Commands that search and read a run: what they print, refuse and leave behind."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from support.fake_run import write_run
from support.pretended import pretend
from support.runs import Driver

from star.architecture.genome import decode, parse
from star.cli.results import front_table, read_front
from star.records import Evaluation, Result, Status
from star.run.evolve import Interrupted
from star.run.plan import plan_run
from star.run.settings import Settings, from_toml
from star.storage.run_directory import RunDirectory

SUMMARY = {
    "run",
    "generation",
    "evaluations",
    "failures",
    "duplicates_avoided",
    "repaired",
    "hypervolume",
    "front_size",
    "wall_seconds",
    "training_seconds",
    "overhead_seconds",
    "worker_utilisation",
}
OWN = ["--deck", "extended", "--levels", "all"]
TINY = ["--population", "2", "--generations", "1", "--tokens", "1024", "--slots", "2", "--store", ""]
TINY += ["--serial", "--json"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The directory of an invented run."""
    return write_run(tmp_path_factory.mktemp("runs") / "run", Settings(population=6, generations=2), weights=True).path


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The directory of an invented run whose genomes have decks of their own."""
    config = Settings(population=6, generations=2, deck="extended", levels="all")
    return write_run(tmp_path_factory.mktemp("runs") / "own", config, weights=True, failing=0.2).path


def _members(path):
    """The front of an invented run, in the order of quality."""
    individuals = RunDirectory(path).open().latest_generation().individuals
    members = [one for one in individuals if one.rank == 0 and one.status is Status.OK]
    return sorted(members, key=lambda one: one.objectives["quality_bpb"])


def test_status_tells_how_far_a_run_is(star, finished):
    code, out, err = star("status", finished, "--json")
    found = json.loads(out)
    assert (code, err, found["run"]) == (0, "", str(finished))
    assert (found["generation"], found["generations"], found["finished"]) == (2, 2, True)
    assert found["front_size"] == len(_members(finished))
    assert found["evaluations"] == len(list(RunDirectory(finished).open().evaluations()))
    assert str(found["evaluations"]) in star("status", finished)[1]
    assert found["repaired"] == 2
    never = ("wall_seconds", "overhead_seconds", "worker_utilisation")
    assert found.keys() >= SUMMARY and all(found[name] is None for name in never), "no process came to its end"


def test_front_lists_the_front_best_quality_first(star, finished):
    found = json.loads(star("front", finished, "--json")[1])
    members = _members(finished)
    assert [row["id"] for row in found] == [one.id for one in members]
    for row, one in zip(found, members, strict=True):
        assert parse(row["genome"]) == one.genome
        assert {name: row[name] for name in one.objectives} == one.objectives
    lines = star("front", finished)[1].splitlines()
    assert lines[0].split()[:5] == ["id", "born", "bits/byte", "params", "cache"]
    assert [line.split()[0] for line in lines[1:]] == [str(one.id) for one in members]


def test_costs_have_readable_heads(finished):
    plan, (row, *_) = read_front(finished)
    row = replace(row, objectives={"quality_bpb": 2.0, "flops_per_token": 3e9, "cache_bytes": 5.0})
    heads = front_table([row], plan).heads
    assert heads[:-1] == ["id", "born", "bits/byte", "cache", "FLOP/token"]
    heads = front_table([row], plan_run(replace(plan.settings, target="1b", context=None))).heads
    assert heads[2:-1] == ["bits/byte, proxy at nano", "params", "cache", "memory", "FLOP/token"]


def test_help_names_tables_of_files(star):
    assert "[scale]" in star("evolve", "--help")[1]


def test_the_share_of_failures_is_told_by_status(star, own):
    found = json.loads(star("status", own, "--json")[1])
    failed, trained = found["failures"]["diverged"], found["evaluations"]
    share = f"{failed / trained:.1%}"
    line = f"failures {failed} of {trained} ({share}): {failed} diverged ({share})"
    assert line in [" ".join(line.split()) for line in star("status", own)[1].splitlines()]


def test_operators_of_a_genomes_own_are_brief_in_the_table_and_whole_in_json(star, own):
    found = json.loads(star("front", own, "--json")[1])
    assert any("/" in row["genome"] for row in found) and any("~" in name for row in found for name in row["classes"])
    for row in found:
        assert [slot.liv.name for slot in decode(parse(row["genome"]))] == row["classes"]
    table = star("front", own)[1]
    assert "~ " in table and not re.search(r"~\w", table)
    code, out, err = star("inspect", f"{own}:{found[0]['id']}")
    assert code == 0, err


def test_a_genome_can_be_named_by_its_run_and_number(star, refused, finished):
    one = _members(finished)[0]
    assert json.loads(star("inspect", f"{finished}:{one.id}", "--json")[1])["hash"] == one.hash
    refused(["inspect", f"{finished}:999999"], "999999", f"star front {finished}")
    refused(["inspect", f"{finished}:{'9' * 5000}"], "keeps no individual 999")


def test_report_and_export_write_what_they_say(star, finished, tmp_path):
    found = json.loads(star("report", finished, "--to", tmp_path, "--json")[1])
    assert Path(found["report"]).is_file() and Path(found["figure"]).is_file()
    found = json.loads(star("export", finished, "--to", tmp_path / "models", "--json")[1])
    assert [Path(model).name for model in found["models"]] == [str(one.id) for one in _members(finished)]
    assert all((Path(model) / "model.py").is_file() for model in found["models"])


def test_a_run_from_the_command_line_resumes_and_is_never_overwritten(star, refused, tmp_path):
    run = tmp_path / "run"
    code, out, err = star("evolve", *TINY, "--out", run, "--seed", 3)
    summary = json.loads(out)
    assert code == 0, err
    assert set(summary) >= SUMMARY and summary["generation"] == 1
    status = json.loads(star("status", run, "--json")[1])
    times = ("wall_seconds", "overhead_seconds", "worker_utilisation")
    assert [status[name] for name in times] == [summary[name] for name in times]
    assert sum(line.startswith("generation ") for line in err.splitlines()) == 2
    assert (run / "report.html").is_file() and (run / "export" / "README.md").is_file()
    refused(["evolve", *TINY, "--out", run], f"star resume {run}")
    code, out, err = star("resume", run, "--generations", "+1", "--json")
    assert (code, json.loads(out)["generation"]) == (0, 2)
    code, out, err = star("resume", run)
    assert code == 0 and "is finished" in err and str(run / "report.html") in out


def test_options_win_over_the_configuration_file(star, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("star.run.evolve.evolve", lambda config, run, watcher: seen.append(config) or _stop(run))
    path = tmp_path / "run.toml"
    path.write_text('population = 8\nseed = 5\ncorpus = ["stdlib"]\noperator_mutation = 0.5\n')
    given = f"--config {path} --out {tmp_path / 'run'} --seed 6 --corpus /b --corpus /c --workers 3 --context 9"
    given += " --deck extended --levels all --window 7"
    code, out, err = star("evolve", *given.split(), "--objectives", "quality,cache")
    assert (code, out) == (130, "") and err.splitlines()[-1] == "star: interrupted; go on with: star resume"
    expected = {"population": 8, "seed": 6, "corpus": ("/b", "/c"), "objectives": ("quality", "cache")}
    expected |= {"deck": "extended", "levels": "all", "window": 7, "operator_mutation": 0.5}
    assert seen == [Settings(**expected, workers=3, context=9)]


def test_synthetic_tasks_stand_where_quality_stood(star, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "star.run.evolve.evolve", lambda config, run, watcher: seen.append(config.objectives) or _stop(run)
    )
    for objectives in ([], ["--objectives", "cache,quality"], ["--objectives", "params,cache"]):
        star("evolve", "--out", tmp_path / "run", "--task", "mqar", "--task", "mad", *objectives)
    tasks = ("mqar", "mad")
    assert seen == [(*tasks, "params", "cache"), ("cache", *tasks), (*tasks, "params", "cache")]


def test_whoever_asks_for_workers_gets_them(star, tmp_path, monkeypatch):
    """Whatever a configuration says, or the run so far."""
    seen = []
    monkeypatch.setattr("star.run.evolve.evolve", lambda config, run, watcher: seen.append(config.serial) or _stop(run))
    (tmp_path / "run.toml").write_text("serial = true\n")
    for given in ([], ["--workers", 3], ["--serial"]):
        star("evolve", "--config", tmp_path / "run.toml", "--out", tmp_path / "run", *given)
    assert seen == [True, False, True]


def test_a_corpus_is_found_again_from_another_directory(star, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("star.run.evolve.evolve", lambda config, run, watcher: seen.append(config.corpus) or _stop(run))
    monkeypatch.chdir(tmp_path)
    Path("run.toml").write_text('corpus = ["stdlib", "texts/a.txt"]\n')
    star("evolve", "--config", "run.toml")
    star("evolve", "--config", "run.toml", "--corpus", "b")
    assert seen == [("stdlib", str(tmp_path / "texts" / "a.txt")), (str(tmp_path / "b"),)]


def test_a_run_in_which_nothing_could_be_trained_says_why_and_fails(star, tmp_path, monkeypatch):
    def fail(job, settings, corpus):
        evaluation = Evaluation(hash=job.task.hash, status=Status.OUT_OF_MEMORY, error="MemoryError: too large")
        return Result(task=job.task, evaluation=evaluation)

    monkeypatch.setattr("star.run.evolve.evolve", Driver(fail).evolve)
    code, out, err = star("evolve", *TINY, "--out", tmp_path / "run")
    assert code == 1 and json.loads(out)["front_size"] == 0
    assert err.splitlines()[-1] == "star: no proxy was trained to the end, mostly for: MemoryError: too large"


def test_a_race_tells_whom_it_stopped(star, tmp_path, monkeypatch):
    monkeypatch.setattr("star.run.evolve.evolve", Driver(pretend).evolve)
    race = ["--population", "9", "--rungs", "2", "--tokens", "4096", "--generations", "1", "--slots", "4"]
    code, out, err = star("evolve", *race, "--serial", "--store", "", "--out", tmp_path / "run")
    assert code == 0, err
    status = json.loads(star("status", tmp_path / "run", "--json")[1])
    assert status["stopped"] > 0 and (status["rungs"], status["mode"]) == (2, "generations")
    share = status["training_tokens"] / (status["evaluations"] * 4096)
    assert f"race    {status['stopped']} proxies stopped at a rung; {share:.1%} of the tokens" in out


def _stop(run):
    raise Interrupted("interrupted; go on with: star resume")


def test_a_run_over_all_levels_of_the_extended_deck(star, tmp_path):
    run = tmp_path / "run"
    code, out, err = star("evolve", *TINY[:-1], *OWN, "--window", 16, "--out", run)
    assert code == 0, err
    evaluations = RunDirectory(run).open().evaluations().values()
    failed = sum(one.status is not Status.OK for one in evaluations)
    assert re.search(r"^failed  (none|\d of \d .*)$", out, re.MULTILINE)[1].startswith(str(failed or "none"))
    settings = from_toml((run / "run.toml").read_text())
    assert (settings.deck, settings.levels, settings.window) == ("extended", "all", 16)
    generation = RunDirectory(run).open().latest_generation()
    assert all(one.genome[0] == -1 for one in generation.individuals)
    text = (run / "run.toml").read_text()
    (run / "run.toml").write_text(text.replace('levels = "all"', 'levels = "backbone"'))
    code, out, err = star("resume", run)
    assert code == 2 and "has levels = 'backbone', but the run was made with levels = 'all'" in err
    (run / "made_with.json").unlink()  # as in runs of 0.1.0
    code, out, err = star("resume", run, "--generations", "+1")
    assert code == 2 and "deck extended and levels backbone cannot give: the run was made with others" in err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("evolve --populaton 3", ["did you mean '--population'?"]),
        ("evolve --population few", ["--population", "integer"]),
        ("evolve --population 1", ["population", "at least 2"]),
        ("evolve --workers some", ["--workers", "auto"]),
        ("evolve --workers 00", ["--workers", "'00'"]),
        (f"evolve --workers {'9' * 5000}", ["--workers", "auto"]),
        ("evolve --scale nanno", ["did you mean 'nano'?"]),
        ("evolve --tokens 5", ["tokens 5", "one training step"]),
        ("evolve --deck papper", ["did you mean 'paper'?"]),
        ("evolve --levels backbones", ["did you mean 'backbone'?"]),
        ("evolve --window 500", ["window must be at most 128"]),
        ("evolve --serial --address auto", ["--serial", "address"]),
        ("evolve --serial --workers 2", ["--serial", "--workers"]),
        ("evolve --gpus-per-worker 1.5 --out {tmp}/new", ["--gpus-per-worker must be whole above 1, not 1.5"]),
        ("evolve --rungs 1 --eta 4", ["--eta", "--rungs"]),
        ("evolve --tokens 8192 --eta 4", ["--eta", "--rungs"]),
        ("evolve --objectives params,cache", ["objectives", "quality", "synthetic task"]),
        ("evolve --objectives quality,parms", ["did you mean 'params'?"]),
        ("evolve --corpus no/such/text --out {tmp}/new", ["no/such/text"]),
        ("evolve --config no/such.toml", ["no/such.toml"]),
        ("evolve --config {tmp}/unknown.toml", ["unknown.toml", "did you mean 'population'?"]),
        ("evolve --config {tmp}/binary.toml", ["binary.toml", "not text"]),
        ("evolve --tokens 1024 --out {tmp}/unknown.toml/run", ["unknown.toml"]),
        ("evolve --tokens 1024 --out {tmp}", ["not empty", "new directory"]),
        ("resume no/such/run", ["no/such/run", "not a run"]),
        ("resume", ["run", "star resume --help"]),
        ("resume {tmp} --generations 3", ["+N"]),
        (f"resume {{tmp}} --generations +{'9' * 5000}", ["+N"]),
        ("status {tmp}", ["not a run"]),
        ("status {tmp}/unknown.toml", ["is a file, not the directory of a run"]),
        ("front no/such/run", ["not a run"]),
        ("report no/such/run", ["not a run"]),
        ("export no/such/run --to x", ["not a run"]),
        ("export {tmp}", ["--to"]),
    ],
)
def test_a_wrong_search_is_one_line_with_the_right_word_and_leaves_nothing(refused, tmp_path, command, words):
    (tmp_path / "unknown.toml").write_text("populaton = 3\n")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    refused(command.format(tmp=tmp_path).split(), *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["binary.toml", "unknown.toml"]
