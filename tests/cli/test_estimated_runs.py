"""What commands say of a run whose qualities are estimated: values with errors, and what was not trained."""

import json
from dataclasses import replace

import pytest
from support.runs import Driver
from support.tiny import CONFIG, invent, write_text

from star.run.verify import verify


@pytest.fixture
def run(tmp_path):
    config = replace(CONFIG, corpus=(write_text(tmp_path),), tokens=320, population=12, offspring=12)
    config = replace(config, ranking="estimate", longer_share=0.6, screening=2, verify_tokens=0)
    return Driver(invent).run_in(tmp_path / "run", config)


def test_the_front_shows_estimates_with_their_errors(star, run):
    last = run.latest_generation()
    _, out, _ = star("front", run.path)
    assert "bits/byte, estimate" in out.splitlines()[0]
    assert f"bits per byte estimated for {last.estimated:,} training tokens, ± one standard error" in out
    assert f"with {last.longer} longer trainings of this run" in out
    rows = json.loads(star("front", run.path, "--json")[1])
    errors = {one.id: one.quality_error for one in last.front if one.quality_error}
    assert errors == {row["id"]: row["quality_error"] for row in rows if "quality_error" in row} != {}
    for one in last.front:
        error = f" ± {one.quality_error:.4f}" if one.quality_error else " "
        assert f"{one.objectives['quality_bpb']:.4f}{error}" in out
    verify(run, changes={"verify_tokens": last.estimated, "verify_seeds": 1}, evaluate=invent)
    assert "estimate  verified" in star("front", run.path)[1]


def test_one_architecture_is_said_to_be_estimated(star, run):
    one = next(one for one in run.latest_generation().front if one.quality_error)
    _, out, _ = star("inspect", f"{run.path}:{one.id}")
    quality = one.objectives["quality_bpb"]
    assert f"{quality:.4f} ± {one.quality_error:.4f} bits/byte, estimated from this model" in out


def test_status_counts_what_was_screened_and_trained_longer(star, run):
    last, statuses = run.latest_generation(), [one.status for one in run.evaluations().values()]
    found = json.loads(star("status", run.path, "--json")[1])
    assert (found["longer_trainings"], found["estimated_tokens"]) == (last.longer, last.estimated)
    assert found["screened"] == statuses.count("screened") > 0
    assert found["evaluations"] == len(statuses) - found["screened"]
    assert found["training_tokens"] == last.tokens > sum(one.tokens for one in run.evaluations().values())
