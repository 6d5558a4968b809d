"""--track of the commands that search and train: trackers hold what Parquet holds."""

from dataclasses import fields
from statistics import median

import pyarrow.parquet as pq
import pytest
from support.tracked import read_mlflow, read_tensorboard

from star.records import Generation, Status
from star.storage.run_directory import RunDirectory

SEARCH = ("evolve", "--population", "2", "--generations", "2", "--tokens", "1024", "--slots", "2", "--store", "")


def single(value):
    """The value as TensorBoard keeps it, in single precision."""
    return pytest.approx(value, rel=1e-6)


def test_a_search_and_its_continuation_are_one_record(place, star):
    code, _, err = star(*SEARCH, "--serial", "--verify-tokens", "0", "--track", "tensorboard", "--out", "run")
    assert code == 0, err
    code, _, err = star("resume", "run", "--generations", "+1", "--serial")
    assert code == 0, err
    found = read_tensorboard(place / "run/tracking/tensorboard")
    generations = RunDirectory(place / "run").open().generations()
    numbers = {one.name for one in fields(Generation)}
    for number, generation in enumerate(generations):
        for name in found.keys() & numbers:
            assert found[name][number] == single(getattr(generation, name))
        assert found["front_size"][number] == len(generation.front)
        for objective in ("quality_bpb", "params", "cache_bytes"):
            least = min(one.objectives[objective] for one in generation.front)
            trained = [one.objectives[objective] for one in generation.individuals if one.status is Status.OK]
            assert found[f"front_best/{objective}"][number] == single(least)
            assert found[f"population_median/{objective}"][number] == single(median(trained))
    assert len(generations) == 4 and {"hypervolume", "evaluations", "tokens"} <= found.keys() & numbers


def test_a_training_is_tracked(place, star):
    given = ("--scale", "tiny.toml", "--corpus", "text.txt", "--tokens", "320", "--peak-flops", "1G", "--out", "t")
    code, out, err = star("train", "lfm2-like", *given, "--track", "mlflow")
    assert code == 0, err
    found, rows = read_mlflow(place / "t/tracking/mlflow"), pq.read_table("t/curve.parquet").to_pylist()
    assert found["final_bpb"][10] == pytest.approx(float(out.split()[0]), abs=1e-4)
    for name in rows[0].keys() - {"step"}:
        assert list(found[name].items()) == [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows]


def test_a_tracker_that_nobody_knows_is_refused_with_the_nearest_name(place, star):
    code, _, err = star("train", "lfm2-like", "--track", "tensorbord")
    assert code == 2 and "unknown track 'tensorbord'" in err and "tensorboard" in err and "Traceback" not in err
