"""Runs that star 0.1.0 wrote are read, replayed, exported and continued as that version would have continued them."""

import json
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from support.runs import Witness

from star.run.evolve import resume
from star.run.replay import replay
from star.storage.run_directory import RunDirectory
from star.storage.tables import pack_generation, unpack_generation

STORED = Path(__file__).parents[1] / "data" / "run-0.1"
ORACLE = STORED / "race_0003.parquet"  # what 0.1.0 made of the race by one generation more
# What the bytes of these files depend on: others round otherwise, or write Parquet otherwise.
MADE_BY = {"instructions": "AVX2", "torch": "2.13.0+cpu", "pyarrow": "26.0.1"}


@pytest.fixture
def stored(tmp_path):
    """Copies of the stored runs, with the place of their text."""

    def copy(name: str) -> RunDirectory:
        path = shutil.copytree(STORED / name, tmp_path / name)
        if version("pyarrow") != MADE_BY["pyarrow"]:
            for file in (path / "generations").iterdir():
                file.write_bytes(pack_generation(unpack_generation(file.read_bytes())))
        config = path / "run.toml"
        config.write_text(config.read_text().replace("@corpus@", str(STORED / "text.txt")))
        return RunDirectory(path)

    return copy


@pytest.mark.parametrize(("name", "asks", "arrivals", "generations"), [("race", 10, 10, 3), ("steady", 7, 7, 2)])
def test_a_stored_run_replays_byte_for_byte(stored, name, asks, arrivals, generations):
    found = replay(stored(name))
    assert (found.asks, found.arrivals, found.generations) == (asks, arrivals, generations)


def test_a_stored_run_is_reported_and_exported(star, stored):
    run = stored("race")
    front = run.latest_generation().front
    rows = json.loads(star("front", run.path, "--json")[1])
    assert {row["id"] for row in rows} == {one.id for one in front}
    assert star("report", run.path)[0] == 0 and (run.path / "report.html").stat().st_size > 10_000
    out = run.path / "export"
    assert star("export", run.path, "--to", out)[0] == 0
    assert {path.name for path in out.iterdir() if path.is_dir()} == {str(one.id) for one in front}
    for one in front:
        assert (out / str(one.id) / "model.py").exists() and (out / str(one.id) / "model.safetensors").exists()


@pytest.mark.parametrize("lost", ["", "evaluations/generation-0000.parquet"])
def test_a_stored_run_goes_on_as_the_version_that_wrote_it_would_have(stored, lost):
    """Also when what it needs of the rungs of survivors was damaged, and is trained again."""
    run, notes = stored("race"), Witness()
    if lost:
        (run.path / lost).write_bytes((run.path / lost).read_bytes()[:-9])
    before = {path.name: path.read_bytes() for path in (run.path / "generations").iterdir()}
    assert resume(run, 1, notes).generation == 3
    here = {name: version(name) for name in ("torch", "pyarrow")}
    rounds_alike = here | {"instructions": torch.backends.cpu.get_cpu_capability()} == MADE_BY
    told = [one for one in notes.notes if "begun with" not in one]
    differing = [one for one in told if "comes out otherwise" in one]
    assert len(told) - len(differing) == 2 * bool(lost)
    assert not differing or lost and not rounds_alike, "what is trained again comes out the same"
    after = {path.name: path.read_bytes() for path in (run.path / "generations").iterdir()}
    assert {name: after[name] for name in before} == before
    if rounds_alike:
        assert after["0003.parquet"] == ORACLE.read_bytes()
    then, now = unpack_generation(ORACLE.read_bytes()), run.latest_generation()
    assert _without_quality(now.individuals) == _without_quality(then.individuals)
    for one, other in zip(now.individuals, then.individuals, strict=True):
        assert one.objectives["quality_bpb"] == pytest.approx(other.objectives["quality_bpb"], rel=1e-4)


def test_a_stored_run_that_is_finished_stays_as_it_is(stored):
    for name in ("race", "steady"):
        run = stored(name)
        before = {path: path.read_bytes() for path in run.path.rglob("*.parquet")}
        resume(run) if name == "race" else replay(run)
        assert {path: path.read_bytes() for path in run.path.rglob("*.parquet")} == before


def _without_quality(individuals):
    return [
        replace(
            one, objectives={k: v for k, v in one.objectives.items() if k != "quality_bpb"}, crowding=0.0, shortfall=0.0
        )
        for one in individuals
    ]
