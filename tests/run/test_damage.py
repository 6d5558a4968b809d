"""A finished run goes on after any one of its files was damaged: to the end that it would have come to, or it says why
not."""

import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.runs import Driver, Witness
from support.tiny import CONFIG, contents, invent, longer_outcomes, outcomes, write_text

from star.records import Evaluation, Result, Status
from star.run.evolve import Interrupted
from star.run.progress import Progress
from star.run.replay import replay
from star.storage.run_directory import RunDirectory

DRIVER = Driver(invent)
RACE = {"tokens": 320, "rungs": 3, "population": 10, "offspring": 6}
ESTIMATES = {"tokens": 320, "population": 12, "offspring": 8, "ranking": "estimate", "longer_share": 0.9}
ESTIMATES |= {"verify_tokens": 0}
FOLDERS = ("generations", "weights")


@pytest.fixture(autouse=True)
def no_power_failures(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def config(tmp_path):
    return replace(CONFIG, corpus=(write_text(tmp_path),), generations=2)


def copied(run: RunDirectory, name: str) -> RunDirectory:
    return RunDirectory(shutil.copytree(run.path, run.path.with_name(name)))


def flip(path: Path, seed: int) -> None:
    data = bytearray(path.read_bytes())
    bit = random.Random(seed).randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def sealed_files(run: RunDirectory) -> list[str]:
    """All of them, but one alone of the weights and of the states."""
    found = (path for path in run.path.rglob("*") if path.is_file() and path.name not in ("run.toml", ".lock"))
    names = sorted(str(path.relative_to(run.path)) for path in found)
    arrays = [[name for name in names if name.startswith(folder)][-1:] for folder in ("paused", "weights")]
    return [name for name in names if not name.startswith(("weights", "paused"))] + sum(arrays, [])


def whole(run: RunDirectory) -> dict[str, bytes]:
    return {name: data for name, data in contents(run, *FOLDERS).items() if not name.endswith(".torn")}


@pytest.mark.parametrize(
    "extra",
    [{}, RACE, {"slots": 1, "generations": 4}, RACE | {"max_params": 9_000.0}, ESTIMATES],
    ids=["plain", "race", "found-again", "race-limit", "estimates"],
)
def test_any_damaged_file_leaves_the_same_end(tmp_path, config, extra):
    config = replace(config, **extra)
    run = DRIVER.run_in(tmp_path / "run", config)
    longer = copied(run, "longer")
    DRIVER.resume(longer, 2)
    names = sealed_files(run)
    folders = {"generations", "evaluations", "weights"} | ({"longer", "paused"} if extra is ESTIMATES else set())
    assert {Path(name).parts[0] for name in names if "/" in name} == folders
    for number, name in enumerate(names):
        damaged, notes = copied(run, f"damaged{number}"), Witness()
        flip(damaged.path / name, number)
        DRIVER.resume(damaged, 2, notes)
        if not name.startswith(("summary", "weights", "paused")):  # written anew; read only if wanted
            assert any(f"{name} is torn" in sentence for sentence in notes.notes), (name, notes.notes)
        assert whole(damaged) == whole(longer), name
        assert outcomes(damaged) == outcomes(longer), name
        assert longer_outcomes(damaged) == longer_outcomes(longer), name
        assert replay(RunDirectory(damaged.path)).generations == config.generations + 3, name
        assert not any("otherwise" in sentence for sentence in notes.notes)


@pytest.mark.parametrize("extra", [{}, {"rungs": 2, "eta": 2, "tokens": 256, "population": 20, "offspring": 12}])
def test_a_damaged_steady_run_ends_alike_or_says_why_not(tmp_path, config, extra):
    config = replace(config, mode="steady", **extra)
    run = DRIVER.run_in(tmp_path / "run", config)
    longer = copied(run, "longer")
    DRIVER.resume(longer, 1)
    for number, name in enumerate(sealed_files(run)):
        damaged, notes = copied(run, f"damaged{number}"), Witness()
        flip(damaged.path / name, number)
        DRIVER.resume(damaged, 1, notes)
        if whole(damaged) != whole(longer):
            assert name.startswith("evaluations")
            said = ("the record of arrivals breaks off", "the evaluations do not lead to it")
            assert any(words in sentence for words in said for sentence in notes.notes), (name, notes.notes)
        assert replay(RunDirectory(damaged.path)).generations == config.generations + 2


def test_a_finished_run_that_is_damaged_is_made_whole_without_going_on(tmp_path, config):
    run = DRIVER.run_in(tmp_path / "run", replace(config, **RACE))
    for name in (
        "generations/0001.parquet",
        "evaluations/generation-0001.parquet",
        "evaluations/generation-0002.parquet",
    ):
        damaged = copied(run, Path(name).stem + Path(name).parent.name)
        flip(damaged.path / name, 0)
        DRIVER.resume(damaged)
        assert whole(damaged) == whole(run) and outcomes(damaged) == outcomes(run)


def test_only_what_is_lost_is_trained_again(tmp_path, config):
    run = DRIVER.run_in(tmp_path / "run", replace(config, **RACE))
    lost = {hash for hash, one in run.history().items() if one.order.generation == 1}
    flip(run.path / "evaluations" / "generation-0001.parquet", 1)
    notes = Witness()
    DRIVER.resume(run, progress=notes)
    told = {one.hash for one in notes.evaluations if one.status is not Status.STOPPED}  # these are judged once more
    assert lost and told == {hash for hash in lost if run.evaluations()[hash].status is not Status.STOPPED}


def test_killed_while_it_makes_again_what_is_lost(tmp_path, config):
    """The next process finds what is still missing."""
    config = replace(config, **RACE)
    run = DRIVER.run_in(tmp_path / "run", config)
    longer = copied(run, "longer")
    DRIVER.resume(longer, 2)
    flip(run.path / "evaluations" / "generation-0000.parquet", 1)

    class Stopping(Progress):
        def __init__(self, after):
            self.left = after

        def evaluated(self, evaluation):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    for after in (1, 2, 5):
        with pytest.raises(Interrupted):
            DRIVER.resume(run, 2 * (after == 1), Stopping(after))
    DRIVER.resume(run)
    assert whole(run) == whole(longer) and outcomes(run) == outcomes(longer)


def test_what_comes_out_otherwise_does_not_replace_the_record(tmp_path, config):
    """A machine that fails where it did not, say: what is recorded stays, and a person is told."""
    run = DRIVER.run_in(tmp_path / "run", config)
    before = contents(run, "generations")
    flip(run.path / "evaluations" / "generation-0000.parquet", 1)

    def fail(job, settings, corpus):
        return Result(task=job.task, evaluation=Evaluation(hash=job.task.hash, status=Status.TIMEOUT, error="slow"))

    notes = Witness()
    Driver(fail).resume(run, 1, notes)
    assert any("generation 0 comes out otherwise than it is recorded" in sentence for sentence in notes.notes)
    after = contents(run, "generations")
    assert {name: after[name] for name in before} == before and len(after) == len(before) + 1


def test_what_cannot_be_made_again_is_told_of(tmp_path, config):
    """A child that began with its parents' weights is not what training from random ones gives."""
    run = DRIVER.run_in(tmp_path / "run", replace(config, warm_weights=True))
    before, known = contents(run, "generations"), run.history()
    flip(run.path / "evaluations" / "generation-0001.parquet", 1)
    notes = Witness()
    DRIVER.resume(run, 1, notes)
    assert any("evaluations of generation 1 are lost and cannot be made again" in one for one in notes.notes)
    after = contents(run, "generations")
    assert {name: after[name] for name in before} == before and len(after) == len(before) + 1
    kept = {hash: one for hash, one in known.items() if one.order.generation != 1}
    assert kept.items() <= run.history().items()
