"""Workers that train give what this process gives; one that needs more memory than it has says so and lives on."""

from functools import partial

import numpy as np
import psutil
import pytest
from support.jobs import CHUNK, MEMORY, act, check_planted, collect, jobs_named
from support.paths import TESTS
from support.tiny import SETTINGS, make_corpus, make_task

from star.architecture.genome import Space
from star.evaluation.evaluate import evaluate
from star.records import Job, Status
from star.workers.placement import Placement
from star.workers.pool import SerialPool
from star.workers.ray_pool import RayPool

TIMEOUT = 10.0
# What is planted -> status, attempts, retries, a part of the reason.
PLANTED = {
    "eat-a": (Status.OUT_OF_MEMORY, 1, {}, "Unable to allocate 32.0 MiB"),
    "ok-a": (Status.OK, 1, {}, ""),
    "eattorch-a": (Status.OUT_OF_MEMORY, 1, {}, "can't allocate memory"),
    "ok-b": (Status.OK, 1, {}, ""),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("attempts")


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    return partial(evaluate, settings=SETTINGS, corpus=make_corpus(tmp_path_factory.mktemp("corpus")))


@pytest.fixture(scope="module")
def pool(folder, train):
    placement = Placement(workers=2, timeout=TIMEOUT, worker_memory=MEMORY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(TESTS))  # so that workers find `act`
        with RayPool(partial(act, folder=folder, train=train), placement) as pool:
            yield pool


@pytest.mark.ray
def test_jobs_that_take_all_memory_end_as_statuses_and_spare_the_others(pool, folder, capfd):
    before = {worker.pid for worker in pool.workers()}
    results = collect(pool, jobs_named(*PLANTED))
    check_planted(PLANTED, results, folder)
    chunks = int(results["eattorch-a"].evaluation.error.rpartition("after ")[2].split()[0])
    assert 0.5 < chunks * CHUNK / MEMORY < 1, "the interpreter and its libraries take their part"
    assert [*collect(pool, jobs_named("ok-d"))] == ["ok-d"], "the pool is as good as new"
    assert all(psutil.pid_exists(pid) for pid in before), "and its workers are the same"
    assert capfd.readouterr() == ("", ""), "standard output is for results"


@pytest.mark.ray
def test_the_same_bits_as_in_this_process(pool, train):
    rng = np.random.default_rng(0)
    jobs = [Job(task=make_task(Space(3).sample(rng))) for _ in range(5)]
    with SerialPool(train) as serial:
        expected = collect(serial, jobs)
    results = collect(pool, jobs)
    for hash, result in results.items():
        one, twin = result.evaluation, expected[hash].evaluation
        assert one.worker != twin.worker
        assert (one.status, one.objectives, one.loss_curve) == (Status.OK, twin.objectives, twin.loss_curve)
        assert result.weights.keys() == expected[hash].weights.keys()
        assert all(np.array_equal(result.weights[name], expected[hash].weights[name]) for name in result.weights)
