"""Workers give what this process would give; a task that crashes, hangs or kills its worker ends as a status."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Thread

import numpy as np
import psutil
import pytest
from tiny import SETTINGS, make_corpus, make_task

from star.evaluation import evaluate
from star.genome import Space
from star.records import Evaluation, Status, Task
from star.spec import UserError
from star.workers import Evaluate, RayPool, SerialPool, ray_pool
from star.workers.guard import find_processes

TIMEOUT = 6.0
HOST = """
import ray, sys
from star.workers.session import connected
with connected("", 1, 0):
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.readline()
    print(ray.cluster_resources()["CPU"], ray.available_resources()["CPU"], flush=True)
"""
GUEST = """
import sys
from functools import partial
from pathlib import Path
from star.spec import UserError
from star.workers import RayPool
from test_workers import act, tasks_named
address, folder = sys.argv[1:]
with RayPool(partial(act, folder=Path(folder)), address=address) as pool:
    print(pool.num_workers, *sorted(e.hash for _, e, _ in pool.run(tasks_named("ok-1", "ok-2"))))
try:
    with RayPool(print, num_workers=2, address=address):
        pass
except UserError as error:
    print(error)
"""


def act(task: Task, folder: Path, train: Evaluate | None = None):
    """Does what the task's hash says, `train` if that is a true hash; leaves a file for each attempt."""
    attempt = attempts(folder, task.hash)
    (folder / f"{task.hash}.{attempt}.{os.getpid()}").touch()
    doing = task.hash.partition("-")[0]
    if doing == "segfault" or (doing == "segfaultonce" and attempt == 0):
        os.kill(os.getpid(), signal.SIGSEGV)
    if doing == "hang" or (doing == "hangonce" and attempt == 0):
        time.sleep(1000)
    if doing == "raise":
        raise ValueError("something went\nwrong")
    if doing == "nap":
        time.sleep(0.5)
    if task.genome:
        return train(task)
    return Evaluation(hash=task.hash, status=Status.OK, worker=str(os.getpid())), {"w": np.full(3, task.seed)}


def attempts(folder: Path, name: str) -> int:
    return len(list(folder.glob(f"{name}.*")))


def tasks_named(*names: str) -> list[Task]:
    return [Task(genome=(), hash=name, seed=seed) for seed, name in enumerate(names)]


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("attempts")


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    return partial(evaluate, settings=SETTINGS, corpus=make_corpus(tmp_path_factory.mktemp("corpus")))


@pytest.fixture(scope="module")
def pool(folder, train):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # so that workers find `act`
        with RayPool(partial(act, folder=folder, train=train), num_workers=2, timeout=TIMEOUT) as pool:
            yield pool
            assert find_processes(psutil.Process(), "ray")
            assert next(pool.run(tasks_named("hang-to-the-end", "ok-z")))[0].hash == "ok-z"
    assert not find_processes(psutil.Process(), "ray"), "a busy pool was left, and with it nothing"


def test_serial_is_a_plain_loop(folder):
    tasks = tasks_named("plain-1", "plain-2")
    with SerialPool(partial(act, folder=folder)) as pool:
        results = list(pool.run(tasks))
    assert [task for task, _, _ in results] == tasks
    assert [(one.hash, weights["w"][0]) for _, one, weights in results] == [("plain-1", 0), ("plain-2", 1)]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:port"])
def test_nobody_there(address):
    with pytest.raises(UserError, match=f"nothing answers at {address}: "), RayPool(print, address=address):
        pass


@pytest.mark.ray
def test_every_task_once_side_by_side_on_workers_that_stay(pool, folder):
    names = [f"nap-{n}" for n in range(8)]
    begun = time.monotonic()
    results = list(pool.run(tasks_named(*names)))
    assert time.monotonic() - begun < 8 * 0.5, "no faster than one after the other"
    assert sorted(evaluation.hash for _, evaluation, _ in results) == names
    assert all(np.array_equal(weights["w"], np.full(3, task.seed)) for task, _, weights in results)
    assert {attempts(folder, name) for name in names} == {1}
    again = list(pool.run(tasks_named("nap-8", "nap-9")))
    assert len({evaluation.worker for _, evaluation, _ in (*results, *again)}) == 2
    assert list(pool.run([])) == []


@pytest.mark.ray
def test_nothing_is_open_to_other_machines(pool):
    listening = {
        connection.laddr.ip.removeprefix("::ffff:")
        for process in find_processes(psutil.Process(), "ray")
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


@pytest.mark.ray
def test_begun_in_the_order_given(pool):
    names = [f"nap-order{n}" for n in range(6)]
    order = [task.hash for task, _, _ in pool.run(tasks_named(*names))]
    assert all(abs(order.index(name) - n) <= 1 for n, name in enumerate(names)), order


@pytest.mark.ray
def test_bad_tasks_end_as_statuses_and_spare_the_others(pool, folder, capfd):
    names = ["segfault-a", "ok-a", "segfaultonce-a", "raise-a", "hang-a", "ok-b", "ok-c"]
    results = {task.hash: (evaluation, weights) for task, evaluation, weights in pool.run(tasks_named(*names))}
    assert {name: result[0].status for name, result in results.items()} == {
        "segfault-a": Status.CRASHED,
        "ok-a": Status.OK,
        "segfaultonce-a": Status.OK,
        "raise-a": Status.FAILED,
        "hang-a": Status.TIMEOUT,
        "ok-b": Status.OK,
        "ok-c": Status.OK,
    }
    assert attempts(folder, "segfault-a") == 2 and attempts(folder, "segfaultonce-a") == 2
    assert attempts(folder, "hang-a") == 1 and attempts(folder, "raise-a") == 1
    crash, hang = results["segfault-a"][0], results["hang-a"][0]
    assert "died 2 times" in crash.error and results["segfault-a"][1] == {}
    assert hang.error == "stopped after 6 seconds" and TIMEOUT <= hang.seconds < TIMEOUT + 3
    assert "something went wrong" in results["raise-a"][0].error
    assert all("\n" not in evaluation.error for evaluation, _ in results.values())
    assert [task.hash for task, _, _ in pool.run(tasks_named("ok-d"))] == ["ok-d"], "the pool is as good as new"
    assert capfd.readouterr() == ("", ""), "standard output is for results"


@pytest.mark.ray
def test_a_healthy_task_whose_worker_is_killed_gives_exactly_one_result(pool, folder):
    def kill_worker():
        wait_for(lambda: attempts(folder, "hangonce-b"))
        os.kill(int(next(folder.glob("hangonce-b.*")).name.split(".")[2]), signal.SIGKILL)

    killer = Thread(target=kill_worker)
    killer.start()
    results = list(pool.run(tasks_named("hangonce-b", "ok-e")))
    killer.join()
    statuses = sorted((task.hash, evaluation.status) for task, evaluation, _ in results)
    assert statuses == [("hangonce-b", Status.OK), ("ok-e", Status.OK)]
    assert attempts(folder, "hangonce-b") == 2


@pytest.mark.ray
def test_one_connection_to_ray_in_a_process(pool):
    with pytest.raises(UserError, match="connected to Ray already"), RayPool(print):
        pass
    assert [task.hash for task, _, _ in pool.run(tasks_named("ok-f"))] == ["ok-f"], "the first one is unharmed"


@pytest.mark.ray
def test_the_same_bits_as_in_this_process(pool, train):
    rng = np.random.default_rng(0)
    tasks = [make_task(Space(3).sample(rng)) for _ in range(5)]
    with SerialPool(train) as serial:
        expected = {task.hash: (evaluation, weights) for task, evaluation, weights in serial.run(tasks)}
    results = {task.hash: (evaluation, weights) for task, evaluation, weights in pool.run(tasks)}
    assert results.keys() == expected.keys() and len(results) == 5
    for hash, (evaluation, weights) in results.items():
        twin, twin_weights = expected[hash]
        assert evaluation.worker != twin.worker
        assert (evaluation.status, evaluation.objectives) == (Status.OK, twin.objectives)
        assert evaluation.loss_curve == twin.loss_curve
        assert weights.keys() == twin_weights.keys()
        assert all(np.array_equal(weights[name], twin_weights[name]) for name in weights)


@pytest.mark.ray
def test_a_cluster_is_joined_and_left_running(folder):
    path = str(Path(__file__).parent)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOST], **pipes, env=os.environ | {"PYTHONPATH": path}) as host:
        address = host.stdout.readline().strip()
        joined = subprocess.run(
            [sys.executable, "-c", GUEST, address, str(folder)],
            capture_output=True,
            text=True,
            cwd=path,
        )
        rest, _ = host.communicate("\n")
    assert joined.stdout.splitlines() == ["1 ok-1 ok-2", "the Ray cluster has 1 cores, too few for 2 workers"], joined
    assert rest.split() == ["1.0", "1.0"], "the cluster lives on, and nothing of the guest is left on it"


def test_memory_is_told_from_other_deaths():
    task = Task(genome=(), hash="a", seed=0)
    job = ray_pool._Job(worker=None, task=task, attempt=1, begun=0.0, limit=1.0)
    assert ray_pool._judge(ray_pool.OutOfMemoryError("too much"), job)[0] is Status.OUT_OF_MEMORY
