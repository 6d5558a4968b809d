"""A virtual clock against sums that can be done by hand, and what each mode of a search leaves idle on it."""

import math
import random
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.paths import ROOT
from support.runs import Driver
from support.tiny import CONFIG, invent, make_task, write_text

from star.architecture.genome import parse
from star.records import Evaluation, Job, Result, Status
from star.storage.run_directory import RunDirectory

sys.path.insert(0, str(ROOT / "experiments" / "benchmarks"))  # as Python does for scripts that stand there

from simulated_pool import SimulatedPool, Span  # noqa: E402

JOB = Job(task=make_task(parse("11111")))


def answer(job: Job) -> Result:
    return Result(task=job.task, evaluation=Evaluation(hash=job.task.hash, status=Status.OK))


def drain(pool: SimulatedPool, number: int) -> float:
    for _ in range(number):
        pool.submit(JOB)
    while pool.pending:
        pool.take()
    return pool.now


@given(st.integers(1, 20), st.integers(1, 100), st.floats(0.1, 100.0))
def test_equal_jobs(workers, number, seconds):
    pool = SimulatedPool(answer, lambda job: seconds, [1.0] * workers)
    assert pool.num_workers == workers
    assert drain(pool, number) == pytest.approx(math.ceil(number / workers) * seconds)
    assert len(pool.spans) == number
    full = (number // workers) * seconds
    assert not full or pool.utilisation(0.0, full) == pytest.approx(1.0)


@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=30), st.integers(1, 5))
def test_jobs_in_the_order_of_submission_each_to_the_first_free_worker(seconds, workers):
    """List scheduling (Graham 1966), as a plain loop."""
    free, ends = [0.0] * workers, []
    for one in seconds:
        first = free.index(min(free))
        free[first] += one
        ends.append(free[first])
    durations = iter(seconds)
    pool = SimulatedPool(answer, lambda job: next(durations), [1.0] * workers)
    assert drain(pool, len(seconds)) == pytest.approx(max(ends))
    assert sorted(span.ended for span in pool.spans) == pytest.approx(sorted(ends))
    assert pool.utilisation(0.0, pool.now) == pytest.approx(sum(seconds) / (workers * max(ends)))


def test_a_slow_worker_takes_longer():
    pool = SimulatedPool(answer, lambda job: 6.0, [1.0, 1 / 3])
    assert drain(pool, 4) == pytest.approx(18.0)
    assert [span.worker for span in pool.spans] == [0, 1, 0, 0]
    assert pool.utilisation(0.0, 18.0) == 1.0


def test_the_driver_takes_time():
    """Two seconds from each result to the next call: one worker of the two waits for a job that is not there."""
    time = [0.0]
    pool = SimulatedPool(answer, lambda job: 3.0, [1.0, 1.0], lambda: time[0])
    pool.submit(JOB)
    pool.submit(JOB)
    pool.take()  # at 3, the other has ended then too
    time[0] += 2.0
    pool.submit(JOB)
    pool.take()
    pool.take()
    assert pool.spans == [Span(0, 0.0, 3.0), Span(1, 0.0, 3.0), Span(0, 5.0, 8.0)] and pool.now == 8.0


def run_simulated(tmp_path, config, durations, speeds) -> SimulatedPool:
    pools = []

    def make_pool(plan, evaluate, corpus):
        pools.append(SimulatedPool(evaluate, durations, speeds))
        return pools[0]

    driver = Driver(invent, make_pool)
    summary = driver.evolve(replace(config, corpus=(write_text(tmp_path),)), RunDirectory(tmp_path / config.mode))
    assert summary.worker_utilisation == pytest.approx(pools[0].utilisation(0.0, pools[0].now))
    assert (summary.workers, summary.wall_seconds) == (len(speeds), pools[0].now)
    assert summary.overhead_seconds == pytest.approx(0.0, abs=1e-9), "the driver takes no time here"
    return pools[0]


@pytest.fixture
def config():
    return replace(CONFIG, slots=8, population=8, offspring=4, generations=2)


def test_generations_wait_for_their_last_proxy(tmp_path, config):
    """Of 8, 4 and 4 proxies of 10 seconds on 3 workers: 3 + 2 + 2 turns; busy are 16 of 21."""
    pool = run_simulated(tmp_path, config, lambda job: 10.0, [1.0] * 3)
    assert len(pool.spans) == 16, "no genome came twice"
    assert pool.now == 70.0 and pool.utilisation(0.0, pool.now) == pytest.approx(16 / 21)


def test_without_generations_nobody_waits(tmp_path, config):
    """The same 16 take 6 turns, the last of one proxy."""
    pool = run_simulated(tmp_path, replace(config, mode="steady"), lambda job: 10.0, [1.0] * 3)
    assert len(pool.spans) == 16 and pool.now == 60.0 and pool.utilisation(0.0, 50.0) == 1.0


@pytest.mark.parametrize("workers", [1, 7, 40])
def test_a_worker_is_never_idle_while_there_is_work(tmp_path, config, workers):
    """However long proxies take and however slow workers are, but for the tail in which nothing is left to begin."""
    rng = random.Random(workers)
    speeds = [rng.choice([1.0, 1 / 3]) for _ in range(workers)]
    config = replace(config, mode="steady", generations=24)
    pool = run_simulated(tmp_path, config, lambda job: rng.lognormvariate(0.0, 0.5), speeds)
    assert len(pool.spans) > 100
    assert pool.utilisation(0.0, max(span.begun for span in pool.spans)) == pytest.approx(1.0)
