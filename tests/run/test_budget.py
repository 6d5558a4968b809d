"""Seconds in place of tokens: what they come to, what is recorded of them, and what is refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.runs import Driver, Witness
from support.tiny import CONFIG, contents, invent, make_corpus, write_text

from star.errors import UserError
from star.run import budget
from star.run.budget import count_proxies, measure_step, spend
from star.run.evolve import evolve
from star.run.plan import plan_run, read_plan
from star.run.settings import Settings, from_toml
from star.storage.run_directory import RunDirectory
from star.units import read_seconds

STEP = 32  # tokens of a step of the tiny scale


@pytest.fixture
def speed(monkeypatch):
    """A step takes a hundredth of a second."""
    monkeypatch.setattr(budget, "measure_step", lambda plan, corpus: 0.01)


@given(st.integers(0, 30), st.integers(0, 90), st.integers(0, 90))
def test_times_are_read_as_people_write_them(hours, minutes, seconds):
    wanted = 3600 * hours + 60 * minutes + seconds
    for text in (f"{hours}h{minutes}m{seconds}s", f"{hours} h {minutes} min {seconds}", f"{wanted}", f"{wanted}S"):
        if wanted:
            assert read_seconds("budget", text) == wanted
        else:
            with pytest.raises(UserError, match="budget must be a time above 0"):
                read_seconds("budget", text)
    assert read_seconds("budget", "1.5h") == 5400


@pytest.mark.parametrize("text", ["", "s", "-5s", "5x", "10m5h", "1e3", "soon", "5" * 400])
def test_other_times_are_refused(text):
    with pytest.raises(UserError, match="budget must be a time above 0, such as 45s, 10m or 1h30m"):
        read_seconds("budget", text)


@pytest.mark.parametrize(
    ("settings", "proxies"),
    [
        ({"generations": 2}, 6 + 2 * 5),
        ({"generations": 0, "tokens": 960, "rungs": 2}, 6 * 1 / 3 + 2 * 2 / 3),
        ({"generations": 0, "tokens": 64, "verify_tokens": 256}, 6 + 3 * 4),
        ({"generations": 0, "ranking": "estimate", "screening": 2, "longer_share": 0.25, "verify_tokens": 0}, 6 / 0.75),
    ],
)
def test_a_budget_counts_what_is_trained(settings, proxies):
    assert count_proxies(plan_run(replace(CONFIG, **settings))) == pytest.approx(proxies)


def test_seconds_become_tokens_at_the_measured_speed(tmp_path, speed):
    corpus = make_corpus(tmp_path)
    own = replace(CONFIG, proxy_seconds=0.25)
    assert spend(own, plan_run(own), corpus) == replace(own, proxy_seconds=0.0, tokens=25 * STEP)
    whole = replace(CONFIG, budget=32.0, generations=2, workers=3, serial=False)
    assert spend(whole, plan_run(whole), corpus) == replace(whole, budget=0.0, tokens=600 * STEP), "96 s for 16 proxies"
    with pytest.raises(UserError, match="proxy_seconds is too short for one training step of a proxy at scale tiny"):
        spend(replace(own, proxy_seconds=0.005), plan_run(own), corpus)
    far = replace(whole, workers=0, address="ray://host:1")
    with pytest.raises(UserError, match="budget needs the number of workers on a cluster"):
        spend(far, plan_run(far), corpus)


def test_the_tokens_are_recorded_and_the_run_goes_on_with_them(tmp_path, speed):
    config, witness = replace(CONFIG, corpus=(write_text(tmp_path),), proxy_seconds=0.1, generations=1), Witness()
    run = RunDirectory(tmp_path / "run")
    Driver(invent).evolve(config, run, witness)
    settings = read_plan(run).settings
    assert (settings.tokens, settings.proxy_seconds, settings.budget) == (10 * STEP, 0.0, 0.0)
    assert "a proxy is trained on 320 tokens, by the speed measured here" in witness.notes
    plain = Driver(invent).run_in(tmp_path / "plain", replace(config, proxy_seconds=0.0, tokens=10 * STEP))
    assert contents(run) == contents(plain)
    Driver(invent).resume(run, 1)
    assert run.latest_generation().number == 2


def test_the_speed_is_that_of_real_training(tmp_path):
    plan, corpus = plan_run(CONFIG), make_corpus(tmp_path)
    assert 1e-4 < measure_step(plan, corpus) < 10
    evolve(
        replace(CONFIG, corpus=(write_text(tmp_path),), proxy_seconds=0.2, generations=0), RunDirectory(tmp_path / "r")
    )
    assert read_plan(RunDirectory(tmp_path / "r")).settings.tokens >= STEP


def test_one_of_the_three_says_how_long_a_proxy_is_trained():
    assert from_toml('budget = "10m"').budget == 600
    for two in ({"tokens": 64, "budget": 60.0}, {"budget": 60.0, "proxy_seconds": 1.0}):
        with pytest.raises(UserError, match="tokens, proxy_seconds and budget each say"):
            plan_run(Settings(**two))
