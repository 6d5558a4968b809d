"""Processes that are really stopped and continued: time in which one did not run costs no healthy job."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
def test_a_worker_that_was_stopped_gets_the_time_back_and_one_that_stays_stopped_does_not(pool, folder):
    """Side by side: what the second one had is tried elsewhere."""
    while pool.num_workers < 2:
        collect(pool, jobs_named("nap-until-both"))
    with stopped(folder, "toil-a", PAUSE), stopped(folder, "toil-b", TIMEOUT + 1):
        results = collect(pool, jobs_named("toil-a", "toil-b"))
    evaluations = [results[name].evaluation for name in ("toil-a", "toil-b")]
    assert [(one.status, one.retries) for one in evaluations] == [(Status.OK, {}), (Status.OK, {"worker paused": 1})]
    assert [attempts(folder, name) for name in ("toil-a", "toil-b")] == [1, 2]


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


def drive_and_stop(folder: Path, with_worker: bool, pause: float) -> dict:
    """What a driver tells that is stopped in the middle of a job, alone or with its worker."""
    driver = call(drive, folder)
    worker = worker_at(folder, "toil-1")
    pids = [driver.pid, worker] if with_worker else [driver.pid]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(pause)
    for pid in reversed(pids):
        os.kill(pid, signal.SIGCONT)
    return result_of(driver)


@pytest.mark.ray
def test_a_driver_that_was_stopped_does_not_count_the_time(tmp_path):
    """Alone, and with its worker: side by side, because most of the time is spent waiting."""
    pause = TIMEOUT + 2
    folders = [tmp_path / "alone", tmp_path / "with its worker"]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor() as threads:
        tellings = [*threads.map(drive_and_stop, folders, (False, True), (pause, pause))]
    for folder, told in zip(folders, tellings, strict=True):
        assert (told["status"], told["retries"]) == (Status.OK, {})
        assert attempts(folder, "toil-1") == 1
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
