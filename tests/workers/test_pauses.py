"""Processes that are really stopped and continued: time in which one did not run costs no healthy job."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread

import pytest
from support.cluster import call, result_of
from support.jobs import act, attempts, collect, jobs_named, wait_for
from support.paths import importing

from star.records import Status
from star.workers.crash_log import CrashLog, Evidence, inspect_worker
from star.workers.placement import Placement
from star.workers.ray_pool import RayPool

TIMEOUT = 8.0  # twice what a job takes that toils
PAUSE = 7.0  # with the four seconds of toil longer than the timeout


def worker_at(folder: Path, name: str) -> int:
    """The process that has begun a job."""
    assert wait_for(lambda: attempts(folder, name))
    time.sleep(1.0)  # so that it is in the middle of it
    return int(next(folder.glob(f"{name}.*")).name.split(".")[2])


@contextmanager
def stopped(folder: Path, name: str, seconds: float) -> Iterator[None]:
    """Stop the worker that begins this job, for so long."""

    def stop():
        pid = worker_at(folder, name)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        if seconds < TIMEOUT:
            os.kill(pid, signal.SIGCONT)

    thread = Thread(target=stop)
    thread.start()
    yield
    thread.join()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("attempts")


@pytest.fixture(scope="module")
def pool(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", importing()["PYTHONPATH"])
        with RayPool(partial(act, folder=folder), Placement(workers=2, timeout=TIMEOUT)) as pool:
            yield pool


@pytest.mark.ray
def test_a_worker_that_was_stopped_gets_the_time_back(pool, folder):
    with stopped(folder, "toil-a", PAUSE):
        (result,) = collect(pool, jobs_named("toil-a")).values()
    assert (result.evaluation.status, result.evaluation.retries) == (Status.OK, {})
    assert attempts(folder, "toil-a") == 1


@pytest.mark.ray
def test_what_a_worker_had_that_stays_stopped_is_tried_elsewhere(pool, folder):
    with stopped(folder, "toil-b", TIMEOUT + 1):
        (result,) = collect(pool, jobs_named("toil-b")).values()
    assert (result.evaluation.status, result.evaluation.retries) == (Status.OK, {"worker paused": 1})
    assert attempts(folder, "toil-b") == 2


@pytest.mark.ray
def test_a_worker_that_hangs_is_occupied_until_it_is_ended(pool):
    """While it hangs, the other one is at jobs half of the time."""
    while pool.num_workers < 2:
        collect(pool, jobs_named("nap-until-both"))
    since = pool.usage.now()
    results = collect(pool, jobs_named("hang-c", *(f"nap-{n}" for n in range(8))))
    usage = pool.usage.read(since)
    hang = results["hang-c"].evaluation
    assert hang.status is Status.TIMEOUT and hang.seconds >= TIMEOUT
    assert TIMEOUT + 8 * 0.5 <= usage.busy_seconds <= usage.worker_seconds
    assert usage.idle_seconds < 2.0 and usage.workers == 2, "one at least was occupied all the time"


def drive(folder: str) -> dict:
    """One job, in a process that is stopped meanwhile."""
    placement = Placement(workers=1, timeout=TIMEOUT)
    with RayPool(partial(act, folder=Path(folder)), placement) as pool:
        since = pool.usage.now()
        (result,) = collect(pool, jobs_named("toil-1")).values()
        evaluation, usage = result.evaluation, pool.usage.read(since)
    return {"status": evaluation.status, "retries": evaluation.retries, "busy": usage.utilisation} | usage._asdict()


@pytest.mark.ray
@pytest.mark.parametrize("with_worker", [True, False], ids=["and its worker", "alone"])
def test_a_driver_that_was_stopped_does_not_count_the_time(tmp_path, with_worker):
    driver = call(drive, tmp_path)
    pids = [driver.pid] + [worker_at(tmp_path, "toil-1")] * with_worker
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    pause = TIMEOUT + 2
    time.sleep(pause)
    for pid in reversed(pids):
        os.kill(pid, signal.SIGCONT)
    told = result_of(driver)
    assert (told["status"], told["retries"]) == (Status.OK, {})
    assert attempts(tmp_path, "toil-1") == 1
    assert told["seconds"] < pause, "nobody waited so long while the driver ran"
    assert 0.5 < told["busy"] <= 1


# The crash log


def test_a_crash_log_holds_a_job_until_it_ends(tmp_path):
    path = tmp_path / "logs" / "one.crash"
    log = CrashLog(path)
    with log.job("abc"):
        assert inspect_worker(str(path), os.getpid(), is_alive=True) == Evidence("abc\n")
    assert path.read_text() == ""
    with pytest.raises(ValueError), log.job("abc"):
        raise ValueError
    assert path.read_text() == "", "the process lives on"
    with pytest.raises(SystemExit), log.job("def"):
        raise SystemExit
    assert path.read_text() == "def\n", "it does not"


def test_an_inspection_tells_a_process_that_is_stopped(tmp_path):
    path = tmp_path / "log"
    path.write_text("abc\n")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        process.send_signal(signal.SIGSTOP)
        assert wait_for(lambda: inspect_worker(str(path), process.pid, is_alive=True).is_stopped)
        process.send_signal(signal.SIGCONT)
        assert not inspect_worker(str(path), process.pid, is_alive=True).is_stopped
        process.communicate(b"\n")
    assert inspect_worker(str(path), process.pid, is_alive=False) == Evidence("abc\n")
