"""What `star resume` does at once, what it refuses before it loads anything heavy, and where new runs go."""

import json
import os
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.runs import Driver
from support.tiny import CONFIG, invent, write_text

from star.storage.run_directory import RunDirectory

MAIN = (sys.executable, "-c", "from star.cli.command import main; main()")
HEAVY = ("torch", "ray", "pymoo", "matplotlib")
WATCHED = f"""
import sys
from star.cli.command import run
code = run(sys.argv[1:])
print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("corpus"))


@pytest.fixture
def config(text):
    return replace(CONFIG, corpus=(text,), generations=1)


@pytest.fixture
def finished(tmp_path, config):
    """A finished run, without models or report."""
    return Driver(invent).run_in(tmp_path / "run", config).path


def watched(*arguments) -> tuple[int, str, str]:
    """Run a command in a process of its own: exit code, output, and what it told, whose last line lists what is heavy
    and was loaded."""
    done = subprocess.run([sys.executable, "-c", WATCHED, *map(str, arguments)], capture_output=True)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    "extra",
    [{}, {"mode": "steady", "max_params": 9_000.0, "tokens": 256, "rungs": 2, "eta": 2}, {"warm_weights": True}],
)
def test_a_finished_run_has_nothing_done_again(star, tmp_path, config, extra):
    finished = Driver(invent).run_in(tmp_path / "run", replace(config, **extra)).path
    star("resume", finished)  # writes models and report, which were missing
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in finished.rglob("*") if path.is_file()}
    assert finished / "report.html" in before and finished / "export" / "README.md" in before
    code, out, err = watched("resume", finished)
    assert code == 0 and str(finished / "report.html") in out
    assert err.splitlines() == [f"{finished} is finished; star resume {finished} --generations +N adds more", "[]"]
    code, out, err = watched("resume", finished, "--json")
    assert code == 0 and json.loads(out)["generation"] == 1 and err.endswith("[]\n")
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in finished.rglob("*") if path.is_file()}
    assert {path for path in before if before[path] != after.get(path)} <= {finished / ".lock"}


@pytest.mark.parametrize("missing", ["report.html", "front.png", "export/README.md"])
def test_what_is_missing_of_a_finished_run_is_written(star, finished, missing):
    star("resume", finished)
    others = {finished / name for name in ("report.html", "export/README.md")} - {finished / missing}
    (finished / missing).unlink()
    times = {path: path.stat().st_mtime_ns for path in others}
    assert star("resume", finished)[0] == 0 and (finished / missing).exists()
    export = {path for path in others if path.name == "README.md"}
    assert all(path.stat().st_mtime_ns == times[path] for path in (export if "export" not in missing else others))


def edited(run: Path) -> None:
    (run / "run.toml").write_text((run / "run.toml").read_text().replace("seed = 0", "seed = 1"))


def of_another_schema(run: Path) -> None:
    from star.storage import files, tables

    data = (run / "generations" / "0001.parquet").read_bytes()
    end = data.rindex(b"schema_version")
    start = data.rindex(files.MARK) + len(files.MARK)
    data = data[:start] + files.BLANK + data[start + len(files.BLANK) :]
    place = data.index(str(tables.SCHEMA_VERSION).encode(), end)
    (run / "generations" / "0001.parquet").write_bytes(files.seal(data[:place] + b"9" + data[place + 1 :]))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (shutil.rmtree, "does not exist"),
        (lambda run: (run / "run.toml").write_text("population = ["), "TOML"),
        (lambda run: (run / "run.toml").write_bytes(b"\xff\xfe"), "is not text"),
        (edited, "has seed = 1, but the run was made with seed = 0"),
        (of_another_schema, "schema version 9"),
    ],
)
def test_an_unreadable_run_is_refused_before_anything_heavy_is_loaded(finished, spoil, words):
    spoil(finished)
    before = seconds_of_children()
    code, out, err = watched("resume", finished)
    assert (code, out) == (2, "") and words in err and err.count("\n") == 2 and err.endswith("\n[]\n")
    assert seconds_of_children() - before < 2.0


def test_a_run_in_use_is_refused_before_anything_heavy_is_loaded(finished):
    with RunDirectory(finished).resume():
        code, _, err = watched("resume", finished)
    assert code == 2 and f"in use by process {os.getpid()}" in err and err.endswith("\n[]\n")


def test_a_run_whose_text_moved_goes_on_from_the_command_line(star, refused, finished, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(text).rename(tmp_path / "moved.txt")
    try:
        refused(["resume", finished, "--generations", "+1"], "does not exist", "star resume RUN --corpus PATH")
        (tmp_path / "other.txt").write_text("another text altogether\n" * 200)
        wrong = ["resume", finished, "--generations", "+1", "--corpus", "other.txt"]
        refused(wrong, "the corpus is not the one that this run began with")
        code, _, err = star("resume", finished, "--generations", "+1", "--corpus", "moved.txt")
        assert code == 0, err
    finally:
        shutil.copy(tmp_path / "moved.txt", text)
    assert str(tmp_path / "moved.txt") in RunDirectory(finished).config_toml


def test_runs_without_a_directory_of_their_own_never_share_one(star, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda form: "2026-01-02-030405")
    monkeypatch.setattr("star.run.evolve.evolve", lambda settings, run, watcher: Driver(invent).evolve(settings, run))
    given = ["--corpus", text, "--population", 4, "--generations", 0, "--tokens", 1024, "--slots", 2, "--serial"]
    for _ in range(2):
        code, _, err = star("evolve", *given, "--store", "")
        assert code == 0, err
    runs = tmp_path / "runs"
    assert sorted(path.name for path in runs.iterdir()) == ["2026-01-02-030405", "2026-01-02-030405-2"]
    code, _, err = star("evolve", *given, "--out", runs / "2026-01-02-030405")
    assert code == 2 and "holds a run already" in err
    assert star("evolve", *given, "--corpus", tmp_path / "nowhere.txt")[0] == 2
    assert len(list(runs.iterdir())) == 2, "what could not begin leaves nothing"


def test_the_end_of_a_run_lists_what_every_seed_came_to(star, text, tmp_path, monkeypatch):
    monkeypatch.setattr("star.run.evolve.evolve", lambda settings, run, watcher: Driver(invent).evolve(settings, run))
    given = ["--corpus", text, "--population", 6, "--generations", 1, "--tokens", 1024, "--slots", 4, "--serial"]
    given += ["--store", "", "--seed-genomes", "transformer-pp,lfm2-like,mamba"]
    code, out, err = star("evolve", *given, "--out", tmp_path / "run")
    assert code == 0, err
    lines = [line.split() for line in out.splitlines() if line.startswith(("transformer-pp", "lfm2-like", "mamba"))]
    assert [(line[0], line[1]) for line in lines] == [("transformer-pp", "0"), ("lfm2-like", "1"), ("mamba", "2")]
    seeds = json.loads(star("resume", tmp_path / "run", "--json")[1])["seeds"]
    assert [(one["name"], one["id"]) for one in seeds] == [("transformer-pp", 0), ("lfm2-like", 1), ("mamba", 2)]


@pytest.mark.parametrize("option", ["--out", "--corpus"])
def test_a_path_that_is_not_utf8_is_refused_in_one_line(text, tmp_path, option):
    strange = os.fsencode(tmp_path) + b"/r\xff.txt"
    shutil.copy(text, strange)
    given = {"--out": os.fsencode(tmp_path / "new"), "--corpus": os.fsencode(text), option: strange}
    if option == "--out":
        os.unlink(strange)
    command = [*MAIN, "evolve", "--serial", "--tokens", "1024", *sum(given.items(), ())]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 2 and b"is not UTF-8: rename it" in done.stderr
    assert done.stderr.count(b"\n") == 1 and not (tmp_path / "new").exists()


def test_a_run_that_was_moved_to_such_a_path_is_still_read(finished, tmp_path):
    strange = os.fsencode(tmp_path) + b"/r\xff"
    os.rename(finished, strange)
    for command in ("status", "front"):
        done = subprocess.run([*MAIN, command, strange], capture_output=True)
        assert (done.returncode, done.stderr) == (0, b""), command
