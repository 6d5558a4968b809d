"""A run whose driver is killed again and again ends, file by file, as one that nobody touched; no process stays."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
import pytest
from support.driver import drive, drive_alone, drive_until
from support.paths import TESTS
from support.runs import Driver
from support.tiny import CONFIG, contents, invent, longer_outcomes, outcomes, write_text

from star.records import Status
from star.run.evolve import evolve
from star.run.settings import Settings
from star.storage.run_directory import RunDirectory

KILLS = 5
MANY_KILLS = 50
MEAN_SECONDS = 0.4
RACE = replace(CONFIG, tokens=320, rungs=3)  # ten steps, judged after the first and the third
ESTIMATES = replace(CONFIG, population=9, generations=1, ranking="estimate", longer_share=0.8, verify_tokens=256)
ESTIMATES = replace(ESTIMATES, verify_seeds=1)
VANISH_SECONDS = 10.0


@pytest.fixture(scope="module")
def processes():
    """Forks of a process that has imported everything: a driver that starts in no time, to kill at any moment."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.driver", "torch._dynamo"])  # the first optimiser imports the latter
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(TESTS))
        forkserver.ensure_running()
    return context


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, text):
    run = RunDirectory(tmp_path_factory.mktemp("whole") / "run")
    evolve(replace(CONFIG, corpus=(text,)), run)
    return run


def same(run: RunDirectory, whole: RunDirectory) -> bool:
    return (
        contents(run) == contents(whole)
        and outcomes(run) == outcomes(whole)
        and longer_outcomes(run) == longer_outcomes(whole)
    )


def kill_at_random(folder: Path, processes, config: Settings, wanted: int) -> None:
    """At least so many kills, over as many runs as that takes, each of which ends as one that nobody touched."""
    rng = random.Random(0)
    whole = RunDirectory(folder / "whole")
    evolve(config, whole)
    kills = runs = 0
    while kills < wanted:
        run = RunDirectory(folder / f"run{runs}")
        runs += 1
        while True:
            driver = processes.Process(target=drive, args=(run.path, config))
            driver.start()
            driver.join(rng.expovariate(1 / MEAN_SECONDS))  # now and then long, so that even a slow machine gets on
            if driver.exitcode is not None:
                break
            driver.kill()
            driver.join()
            kills += 1
        assert driver.exitcode == 0
        assert same(run, whole)


@pytest.mark.parametrize("config", [CONFIG, RACE, ESTIMATES], ids=["plain", "race", "estimates"])
def test_killed_at_random_moments(tmp_path, processes, text, config):
    kill_at_random(tmp_path, processes, replace(config, corpus=(text,)), KILLS)


@pytest.mark.slow
def test_killed_fifty_times_in_a_race(tmp_path, processes, text):
    kill_at_random(tmp_path, processes, replace(RACE, corpus=(text,)), MANY_KILLS)


@pytest.mark.parametrize("config", [replace(CONFIG, population=3), replace(RACE, population=2)], ids=["plain", "race"])
@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_before_single_touches_of_the_disk(tmp_path, processes, text, config, step):
    """Before every fourth, or under `slow` before each."""
    config = replace(config, corpus=(text,), offspring=2, generations=1)
    driver = Driver(invent)
    whole = RunDirectory(tmp_path / "whole")
    driver.evolve(config, whole)
    touch = 1 - step
    while True:
        touch += step
        run = RunDirectory(tmp_path / f"run{touch}")
        process = processes.Process(target=drive_until, args=(touch, run.path, config))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        drive(run.path, config, driver)
        assert same(run, whole), touch
    assert touch > 50, "there should have been so many at least"


@contextmanager
def driver_with_ray(processes, run: RunDirectory, text: str, errors: Path) -> Iterator[BaseProcess]:
    config = replace(CONFIG, corpus=(text,), serial=False, workers=2)
    driver = processes.Process(target=drive_alone, args=(run.path, config, errors))
    driver.start()
    yield driver
    driver.kill()
    driver.join()


def wait_until_landed(run: RunDirectory, driver: BaseProcess, count: int) -> None:
    end = time.monotonic() + 120
    before = len(run.evaluations())
    while len(run.evaluations()) < before + count:
        assert driver.is_alive() and time.monotonic() < end
        time.sleep(0.01)


def family(driver: BaseProcess) -> list[psutil.Process]:
    return psutil.Process(driver.pid).children(recursive=True)


def lasting(family: list[psutil.Process]) -> list[psutil.Process]:
    """Those that are still there when all should have ended."""
    return psutil.wait_procs(family, timeout=VANISH_SECONDS)[1]


@pytest.mark.ray
def test_stopped_with_ray(tmp_path, processes, text, whole):
    """Killed while Ray begins and while it trains, then interrupted and terminated: the run ends alike, and
    within seconds no process is left."""
    run, errors = RunDirectory(tmp_path / "run"), tmp_path / "errors"
    for by, landed in ((signal.SIGKILL, 0), (signal.SIGKILL, 3), (signal.SIGINT, 3), (signal.SIGTERM, 3)):
        with driver_with_ray(processes, run, text, errors) as driver:
            wait_until_landed(run, driver, landed)
            while len(begun := family(driver)) < 5:  # the guard and the first of Ray's daemons
                time.sleep(0.01)
            # Ctrl-C reaches the whole group of processes, the other signals the driver alone.
            (os.killpg if by == signal.SIGINT else os.kill)(driver.pid, by)
            driver.join(60)
            assert driver.exitcode == (-by if by == signal.SIGKILL else 1)
            assert not lasting(begun)
            if by != signal.SIGKILL:
                told = errors.read_text().splitlines()[-1]
                assert told.endswith(f"Interrupted: interrupted; go on with: star resume {run.path}")
    assert all(evaluation.status is Status.OK for evaluation in run.evaluations().values())
    with driver_with_ray(processes, run, text, errors) as driver:
        driver.join(120)
        assert driver.exitcode == 0
    assert same(run, whole)
