"""The use of workers, against a twin that looks at every second and every worker."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star.workers.usage import Usage, UsageMeter, covered, measure_usage


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: (min(pair), max(pair)))))
def test_covered_counts_each_second_once(intervals):
    assert covered(intervals) == len({second for begin, end in intervals for second in range(begin, end)})


def make_schedule(seed: int, until: int) -> tuple[list[tuple[int, int]], list[list[tuple[int, int]]]]:
    """Return when each worker came and went, and its jobs: some to the end of its life, as of one that hangs."""
    rng, lives, jobs = random.Random(seed), [], []
    for _ in range(rng.randrange(5)):
        came = rng.randrange(until)
        went = rng.randrange(came + 1, until + 10)
        lives.append((came, went))
        bounds = sorted(rng.randrange(came, went + 1) for _ in range(2 * rng.randrange(4)))
        jobs.append(list(zip(bounds[::2], bounds[1::2], strict=True)))
    return lives, jobs


@given(st.integers(0, 10_000), st.integers(0, 20))
def test_usage_is_what_a_look_at_every_second_gives(seed, since):
    until = 40
    lives, jobs = make_schedule(seed, until)
    seconds = range(since, until)
    there = [[worker for worker, (came, went) in enumerate(lives) if came <= now < went] for now in seconds]
    busy = [[worker for worker, own in enumerate(jobs) if any(b <= now < e for b, e in own)] for now in seconds]
    expected = Usage(
        seconds=until - since,
        workers=max(map(len, there)),
        worker_seconds=sum(map(len, there)),
        busy_seconds=sum(map(len, busy)),
        idle_seconds=sum(not one for one in busy),
    )
    levels = [(now, sum(came <= now < went for came, went in lives)) for now in range(until)]
    usage = measure_usage(levels, [job for own in jobs for job in own], since, until)
    assert usage == expected
    assert 0 <= usage.utilisation <= 1


@given(st.integers(0, 10_000))
def test_a_meter_fed_with_events_gives_the_same(seed):
    """Events of one second in any order in which a pool has them: jobs end, workers change, jobs begin."""
    until = 40
    lives, jobs = make_schedule(seed, until)
    jobs = [[job for job in own if job[0] < job[1]] for own in jobs]
    clock = [0.0]
    meter = UsageMeter(lambda: clock[0])
    for now in range(until + 1):
        clock[0] = float(now)
        for worker, own in enumerate(jobs):
            for job in own:
                if job[1] == now:
                    meter.end((worker, job))
        meter.set_workers(sum(came <= now < went for came, went in lives))
        if now == until:
            break
        for worker, own in enumerate(jobs):
            for job in own:
                if job[0] == now:
                    meter.begin((worker, job))
    levels = [(now, sum(came <= now < went for came, went in lives)) for now in range(until)]
    expected = measure_usage(levels, [job for own in jobs for job in own], 0, until)
    assert meter.read(0.0)[2:] == expected[2:]


def test_a_job_ends_when_the_worker_says_and_at_the_latest_when_the_pool_notices():
    now = [0.0]
    meter = UsageMeter(lambda: now[0])
    meter.set_workers(2)
    meter.begin("short")
    meter.begin("hang")
    now[0] = 10.0  # the driver was busy until now
    meter.end("short", 3.0)
    assert meter.read(0.0) == Usage(10.0, 2, 20.0, 13.0, 0.0), "what runs counts until now"
    now[0] = 12.0
    meter.end("hang", 100.0)
    meter.set_workers(1)
    now[0] = 20.0
    assert meter.read(0.0) == Usage(20.0, 2, 12 * 2 + 8, 15.0, 8.0)
    assert meter.read(12.0) == Usage(8.0, 1, 8.0, 0.0, 8.0)
    assert Usage().utilisation == 0.0


def test_orders_of_calls_that_would_give_wrong_figures_are_refused():
    meter = UsageMeter(lambda: 0.0)
    with pytest.raises(AssertionError, match="no worker is free"):
        meter.begin("a")
    meter.set_workers(1)
    meter.begin("a")
    with pytest.raises(AssertionError, match="has to end its job first"):
        meter.set_workers(0)
