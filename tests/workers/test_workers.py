"""Workers give what this process would give; a job that crashes, hangs, eats the memory or kills its worker ends as a
status, with the reason and the number of tries, and spares all others."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from threading import Thread

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.jobs import CHUNK, MEMORY, act, attempts, check_planted, collect, jobs_named, wait_for
from support.paths import TESTS, importing

from star.errors import UserError
from star.records import Status
from star.workers import faults
from star.workers.actor import bounded
from star.workers.crash_log import Evidence
from star.workers.faults import CAUSES, Fault
from star.workers.guard import find_processes
from star.workers.placement import Placement
from star.workers.pool import SerialPool
from star.workers.ray_pool import RayPool

TIMEOUT = 10.0
TRIES = 2
HOST = """
import ray, sys
from star.workers.placement import Placement
from star.workers.session import connected
with connected(Placement(workers=1)):
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.readline()
    print(ray.cluster_resources()["CPU"], ray.available_resources()["CPU"], flush=True)
"""
GUEST = """
import sys
from functools import partial
from pathlib import Path
from star.workers import ray_pool
from star.workers.placement import Placement
from star.workers.ray_pool import RayPool
from support.jobs import act, collect, jobs_named
ray_pool.GATHER_SECONDS = 1.0  # in vain: there is no place for the second worker
address, folder = sys.argv[1:]
for workers in (0, 2):
    with RayPool(partial(act, folder=Path(folder)), Placement(workers=workers, address=address)) as pool:
        print(pool.num_workers, *sorted(collect(pool, jobs_named("ok-1", "ok-2"))))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("attempts")


@pytest.fixture(scope="module")
def pool(folder):
    placement = Placement(workers=2, timeout=TIMEOUT, tries=TRIES, worker_memory=MEMORY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(TESTS))  # so that workers find `act`
        with RayPool(partial(act, folder=folder), placement) as pool:
            yield pool
            assert find_processes(psutil.Process(), "ray")
            for job in jobs_named("hang-to-the-end", "ok-z"):
                pool.submit(job)
            assert pool.take().task.hash == "ok-z" and pool.pending == 1
    assert not find_processes(psutil.Process(), "ray"), "a busy pool was left, and with it nothing"


def test_serial_is_a_plain_loop(folder):
    jobs = jobs_named("plain-1", "plain-2")
    with SerialPool(partial(act, folder=folder)) as pool:
        results = collect(pool, jobs)
    assert [result.task for result in results.values()] == [job.task for job in jobs]
    assert [result.weights["w"][0] for result in results.values()] == [0, 1]


# Guard


def test_a_child_that_nobody_waited_for_hides_no_other():
    """Its command line cannot be read any more; whatever stands behind it in the list still has to be found."""
    driver = psutil.Process()
    begun = [subprocess.Popen([sys.executable, "-c", "pass"])]
    begun += [subprocess.Popen([sys.executable, "-c", "input() # marked"], stdin=subprocess.PIPE) for _ in range(2)]
    try:
        while psutil.Process(begun[0].pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert {one.pid for one in find_processes(driver, "# marked")} == {one.pid for one in begun[1:]}
    finally:
        for one in begun:
            one.kill()
            one.communicate()


# Room


def test_room_of_machines():
    machine = {"CPU": 16.0, "GPU": 3.0, "memory": 100e9}
    for placement, room in (
        (Placement(), 16),
        (Placement(gpus_per_worker=1), 3),
        (Placement(gpus_per_worker=0.25), 12),
        (Placement(gpus_per_worker=0.1), 16),
        (Placement(gpus_per_worker=0.4), 6),  # two on each GPU: none has a fifth of it on another
        (Placement(gpus_per_worker=1 / 3), 9),
        (Placement(gpus_per_worker=2), 1),
        (Placement(worker_memory=30e9), 3),
        (Placement(worker_memory=200e9), 0),
    ):
        assert placement.room(machine) == room, placement
    assert Placement(gpus_per_worker=0.25).room({"CPU": 16.0}) == 0
    assert Placement().memory(machine) == 100e9 / 16 and Placement(gpus_per_worker=0.25).memory(machine) == 100e9 / 12
    assert Placement(worker_memory=7.0).memory(machine) == 7.0


# Faults, as a table


@given(st.lists(st.sampled_from(sorted(CAUSES)), min_size=150, max_size=150), st.integers(1, 5))
def test_every_job_is_given_up_at_last(causes, tries):
    """Whatever happens in whatever order: tries are bounded, those that blame the job by `tries`."""
    retries = {}
    for cause in causes:
        if faults.is_hopeless(Fault(cause), retries, tries):
            break
        retries[cause] = retries.get(cause, 0) + 1
    else:
        raise AssertionError("never given up")
    made = causes[: sum(retries.values()) + 1]
    blamed = sum(CAUSES[one].blames for one in made)
    assert blamed <= tries and len(made) <= tries + 3 * faults.MACHINE_TRIES
    assert all(made.count(name) <= cause.tries for name, cause in CAUSES.items())


def test_machines_are_not_held_against_a_job():
    assert not faults.is_hopeless(Fault("worker killed"), {"node lost": 9, "worker lost": 9, "worker crashed": 1}, 3)
    assert faults.is_hopeless(Fault("worker killed"), {"worker killed": 1, "worker crashed": 1}, 3)
    assert faults.is_hopeless(Fault("worker killed"), {}, 1)
    assert not faults.is_hopeless(Fault("node lost"), {}, 1)


def test_what_errors_of_ray_mean():
    assert faults.diagnose_error(faults.ObjectLostError("00" * 28, None, "")).cause == "node lost"
    assert faults.diagnose_error(faults.RayError("in other words")) == Fault("no result", "RayError: in other words")
    assert faults.diagnose_error(faults.RayActorError()) is None, "its crash log tells"


def test_why_a_job_is_late():
    hang = Fault("hang", "stopped after 5 seconds")
    assert faults.diagnose_delay(Evidence("hash\n"), 5.0, 0.0) == hang
    assert faults.diagnose_delay(None, 5.0, 0.0).cause == "node lost"
    assert faults.diagnose_delay(Evidence("hash\n", is_stopped=True), 5.0, 0.0).cause == "worker paused"
    paused = Evidence("hash\npaused 3.5\npaused 7.25\n")
    assert (paused.paused, paused.trace) == (7.25, "")
    assert faults.diagnose_delay(paused, 5.0, 3.5) is None, "it gets more time"
    assert faults.diagnose_delay(paused, 5.0, 7.25) == hang, "which it has had"


MEMORY_MESSAGE = """Ray killed 2 worker(s)
Selected to kill: (pid=11400, actual memory used=0.06GB, worker ID=80e4)
Selected to kill: (pid=11399, actual memory used=0.65GB, worker ID=dc36)"""


def test_why_a_worker_died():
    died, memory = faults.RayActorError(), faults.OutOfMemoryError(MEMORY_MESSAGE)
    trace = 'Fatal Python error: Segmentation fault\n\nStack:\n  File "/a/scan.py", line 12 in step\n  File "b"'

    def cause(error, pid, log):
        return faults.diagnose_death(error, pid, None if log is None else Evidence(log)).cause

    assert cause(died, 1, "") == "worker lost", "it had not begun"
    assert cause(died, 1, "hash\n") == cause(died, 1, "hash\npaused 3.0\n") == "worker killed"
    crashed = Fault("worker crashed", "Segmentation fault in step, scan.py:12")
    for log in (f"hash\n{trace}", f"hash\npaused 3.0\n{trace}"):
        assert faults.diagnose_death(died, 1, Evidence(log)) == crashed
    assert cause(died, 1, None) == "node lost"
    assert cause(memory, 11399, "hash\n") == "out of memory"
    assert cause(memory, 11400, "hash\n") == "worker lost", "Ray ends several at once"
    assert cause(memory, 11399, "") == "worker lost", "an idle one"
    assert cause(memory, 11399, None) == "out of memory"
    assert cause(faults.OutOfMemoryError("in other words"), 5, "hash\n") == "out of memory"


# The bound on memory


def test_memory_is_bounded_and_threads_are_not_harmed():
    """In a process of its own, so that this one's memory stays whole."""
    code = """
import resource, torch
from star.workers.actor import bounded
with bounded(1 << 30):
    torch.set_num_threads(4)
    x = torch.ones(1000, 1000)
    assert (x @ x)[0, 0] == 1000
    try:
        torch.ones(300 << 20)
    except RuntimeError as error:
        print("memory" in str(error))
    try:
        bytearray(2 << 30)
    except MemoryError:
        print("MemoryError")
    assert torch.ones(100 << 20).sum() == 100 << 20
assert resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY
print(len(bytearray(2 << 30)) >> 30)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "MemoryError", "2"], done.stderr


def test_no_bound_for_no_memory():
    with bounded(0):
        assert len(bytearray(CHUNK)) == CHUNK


# With Ray


@pytest.mark.ray
def test_every_job_once_side_by_side_on_workers_that_stay(pool, folder):
    assert pool.num_workers == 2
    names = [f"nap-{n}" for n in range(8)]
    begun = time.monotonic()
    results = collect(pool, jobs_named(*names))
    assert time.monotonic() - begun < 8 * 0.5, "no faster than one after the other"
    assert all(np.array_equal(result.weights["w"], np.full(3, result.task.seed)) for result in results.values())
    assert {attempts(folder, name) for name in names} == {1}
    again = collect(pool, jobs_named("nap-8", "nap-9"))
    assert len({result.evaluation.worker for result in (*results.values(), *again.values())}) == 2
    assert all(result.evaluation.retries == {} for result in results.values())


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
    order = list(collect(pool, jobs_named(*names)))
    assert all(abs(order.index(name) - n) <= 1 for n, name in enumerate(names)), order


# What is planted -> status, attempts, retries, a part of the reason.
PLANTED = {
    "segfault-a": (Status.CRASHED, 2, {"worker crashed": 1}, "its worker crashed: Segmentation fault in act, jobs.py:"),
    "exit-a": (Status.CRASHED, 2, {"worker crashed": 1}, "exit code 3"),
    "kill-a": (Status.CRASHED, 2, {"worker killed": 1}, "its worker was killed: it left no trace of a crash; given up"),
    "hang-a": (Status.TIMEOUT, 1, {}, "it took too long: stopped after 10 seconds"),
    "raise-a": (Status.FAILED, 1, {}, "the worker raised an error: ValueError: something went wrong"),
    "nan-a": (Status.DIVERGED, 1, {}, "validation loss is nan"),
    "ok-a": (Status.OK, 1, {}, ""),
    "deviceonce-a": (Status.OK, 2, {"device error": 1}, ""),
    "ok-b": (Status.OK, 1, {}, ""),
}


@pytest.mark.ray
def test_bad_jobs_end_as_statuses_and_spare_the_others(pool, folder, capfd):
    results = collect(pool, jobs_named(*PLANTED))
    check_planted(PLANTED, results, folder)
    assert TIMEOUT <= results["hang-a"].evaluation.seconds < TIMEOUT + 10, "and its worker was inspected"
    assert [*collect(pool, jobs_named("ok-d"))] == ["ok-d"], "the pool is as good as new"
    assert capfd.readouterr() == ("", ""), "standard output is for results"


@pytest.mark.ray
def test_a_healthy_job_whose_worker_is_killed_gives_exactly_one_result(pool, folder):
    def kill_worker():
        wait_for(lambda: attempts(folder, "hangonce-b"))
        os.kill(int(next(folder.glob("hangonce-b.*")).name.split(".")[2]), signal.SIGKILL)

    killer = Thread(target=kill_worker)
    killer.start()
    results = collect(pool, jobs_named("hangonce-b", "ok-e"))
    killer.join()
    assert {result.evaluation.status for result in results.values()} == {Status.OK}
    assert results["hangonce-b"].evaluation.retries == {"worker killed": 1}
    assert attempts(folder, "hangonce-b") == 2


@pytest.mark.ray
def test_a_worker_killed_between_jobs_is_not_held_against_the_next(pool, folder):
    (first,) = collect(pool, jobs_named("ok-g")).values()
    victim = psutil.Process(int(first.evaluation.worker))
    victim.kill()
    psutil.wait_procs([victim], timeout=10)
    results = collect(pool, jobs_named("ok-h", "nap-h"))
    assert {attempts(folder, name) for name in results} == {1}
    assert {result.evaluation.status for result in results.values()} == {Status.OK}
    assert sorted(str(result.evaluation.retries) for result in results.values()) == ["{'worker lost': 1}", "{}"]


@pytest.mark.ray
def test_one_connection_to_ray_in_a_process(pool):
    with pytest.raises(UserError, match="connected to Ray already"), RayPool(print, Placement()):
        pass
    assert [*collect(pool, jobs_named("ok-f"))] == ["ok-f"], "the first one is unharmed"


@pytest.mark.ray
def test_a_cluster_is_joined_and_left_running(folder):
    """With more workers than it has cores, those without a place wait for one, and hold nobody up."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = importing() | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "5" * 64}
    with subprocess.Popen([sys.executable, "-c", HOST], **pipes, env=environment) as host:
        address = host.stdout.readline().strip()
        command = [sys.executable, "-c", GUEST, address, str(folder)]
        joined = subprocess.run(command, capture_output=True, text=True, env=environment)
        rest, _ = host.communicate("\n")
    assert joined.stdout.splitlines() == ["1 ok-1 ok-2", "1 ok-1 ok-2"], joined
    assert rest.split() == ["1.0", "1.0"], "the cluster lives on, and nothing of the guest is left on it"
