"""The front and named baselines trained longer: what is trained, what is recorded, and how it goes on."""

import json
from dataclasses import replace

import pytest
from support.runs import Driver, Witness
from support.tiny import CONFIG, TINY, invent, make_corpus, make_task, write_text

from star.architecture.genome import genome_hash
from star.errors import UserError
from star.evaluation.evaluate import evaluate
from star.records import Job, derive_seed
from star.run.evolve import Interrupted, evaluation_settings
from star.run.plan import plan_run, read_plan
from star.run.verifier import BASELINES, read_verification
from star.run.verify import verify
from star.storage.run_directory import RunDirectory

TOKENS = 256
ONE, THREE = ({"verify_tokens": TOKENS, "verify_seeds": seeds} for seeds in (1, 3))


@pytest.fixture
def run(tmp_path):
    return Driver(invent).run_in(tmp_path / "run", replace(CONFIG, corpus=(write_text(tmp_path),)))


def test_every_member_and_baseline_is_trained_once_and_the_closest_calls_more_often(run):
    witness = Witness()
    found = verify(run, witness, THREE, evaluate=invent)
    front = run.latest_generation().front
    assert {one.hash for one in found.members} == {one.hash for one in front}
    assert {one.name for one in found.baselines} == set(BASELINES)
    files = list((run.path / "verified" / str(TOKENS)).iterdir())
    assert len(witness.evaluations) == len(files) > len(front) + len(BASELINES)
    repeated = [one for one in (*found.members, *found.baselines) if len(one.qualities) > 1]
    assert 0 < len(repeated) <= (len(front) + len(BASELINES)) // 2 + 2
    for one in (*found.members, *found.baselines):
        tasks = [derive_seed(CONFIG.seed, one.hash, repeat) for repeat in range(3)]
        assert len(set(tasks)) == 3 and len(one.qualities) <= 3
    again = Witness()
    assert verify(run, again, THREE, evaluate=invent) == found
    assert not again.evaluations and not again.workers, "nothing is left to train"


def test_a_training_is_that_of_a_longer_recipe(run, tmp_path):
    found = verify(run, changes=ONE, evaluate=evaluate)
    plan = read_plan(run)
    recipe = replace(TINY.recipe, tokens=TOKENS)
    settings = replace(evaluation_settings(plan), scale=replace(plan.trained, recipe=recipe), rungs=())
    for member in run.latest_generation().front:
        expected = evaluate(Job(task=make_task(member.genome)), settings, make_corpus(tmp_path)).evaluation
        (own,) = [one for one in found.members if one.hash == genome_hash(member.genome)]
        assert own.qualities == (expected.objectives["quality_bpb"],)
        assert own.proxy == member.objectives["quality_bpb"]


@pytest.mark.parametrize("stop_at", [1, 5, 9])
def test_a_verification_that_was_stopped_goes_on_to_the_same_end(run, tmp_path, stop_at):
    whole = Driver(invent).run_in(tmp_path / "whole", read_plan(run).settings)
    expected = verify(whole, changes=THREE, evaluate=invent)
    with pytest.raises(Interrupted, match=f"go on with: star verify {run.path}"):
        verify(run, Witness(stop_at), THREE, evaluate=invent)
    again = Witness()
    assert verify(run, again, THREE, evaluate=invent) == expected
    assert len(again.evaluations) == len(list((run.path / "verified" / str(TOKENS)).iterdir())) - stop_at


def test_a_damaged_training_is_done_again(run):
    expected = verify(run, changes=ONE, evaluate=invent)
    path = sorted((run.path / "verified" / str(TOKENS)).iterdir())[0]
    path.write_bytes(path.read_bytes()[:-7])
    again = Witness()
    assert verify(run, again, ONE, evaluate=invent) == expected
    assert len(again.evaluations) == 1
    assert run.verified_budgets() == [TOKENS]


def test_what_cannot_be_verified_is_refused_in_a_sentence(run):
    with pytest.raises(UserError, match="verify_tokens must be at least the 64 tokens of a proxy, not 63"):
        verify(run, changes={"verify_tokens": 63}, evaluate=invent)
    with pytest.raises(UserError, match=r"too few for a verification of 10,000,000 tokens: [\d,]+ at most"):
        verify(run, changes={"verify_tokens": 10_000_000}, evaluate=invent)
    for path in (run.path / "generations").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="has no front yet: there is nothing to verify"):
        verify(run, changes=ONE, evaluate=invent)
    with pytest.raises(UserError, match="verify_tokens needs quality among the objectives"):
        plan_run(replace(CONFIG, objectives=("mqar", "params"), verify_tokens=TOKENS))


def test_the_command_prints_members_and_verdicts(star, refused, run):
    expected = verify(run, changes=ONE | {"verify_seeds": 2}, evaluate=invent)
    code, out, _ = star("verify", run.path, "--verify-tokens", TOKENS, "--verify-seeds", 2)
    assert code == 0 and out.splitlines()[0].split()[:4] == ["id", "proxy", "verified", "place"]
    assert all(name in out for name in BASELINES) and "after 256 tokens" in out
    found = json.loads(star("verify", run.path, "--verify-tokens", TOKENS, "--verify-seeds", 2, "--json")[1])
    assert [one["quality_bpb"] for one in found["members"] if one["qualities"]] == [
        one.mean for one in expected.members if one.qualities
    ]
    assert {one["name"]: one["beaten"] for one in found["baselines"]} == {
        one.name: expected.verdict(one)[0] for one in expected.baselines
    }
    refused(["verify", run.path, "--verify-tokens", "1"], "--verify-tokens must be at least the 64 tokens of a proxy")


def test_a_run_that_is_to_be_verified_ends_with_its_verification(star, run, tmp_path):
    """Also when it is stopped on the way, and to the same end as a verification afterwards."""
    expected = verify(run, changes=THREE, evaluate=invent)
    settings = replace(read_plan(run).settings, **THREE)
    trained = len(run.evaluations())
    own, driver = RunDirectory(tmp_path / "own"), Driver(invent)
    with pytest.raises(Interrupted, match="star resume"):
        driver.evolve(settings, own, Witness(trained + 3))
    assert own.latest_generation().number == settings.generations
    driver.resume(own)
    assert read_verification(own, read_plan(own)) == expected
    again = Witness()
    driver.resume(own, progress=again)
    assert not again.evaluations
    rows = json.loads(star("front", own.path, "--json")[1])
    verified = {one.id: one.mean for one in expected.members if one.qualities}
    assert {row["id"]: row["verified_bpb"] for row in rows if row["verified_bpb"]} == verified
    assert "beaten on all objectives" in star("front", own.path)[1]
