"""A whole race on a cluster where workers are killed, a machine goes and another comes, and some genomes hang, crash,
diverge or take all memory, ends with the very generations of a run in which nothing of that happened."""

import os
import random
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from support.cluster import NODE, call, make_cluster, result_of
from support.runs import Driver
from support.tiny import CONFIG, longer_outcomes, write_text

from star.evaluation import evaluate as evaluation
from star.records import Evaluation, Job, Result, Status
from star.run.progress import Progress
from star.storage.run_directory import RunDirectory

KINDS = {0: Status.DIVERGED, 1: Status.TIMEOUT, 2: Status.CRASHED, 3: Status.OUT_OF_MEMORY}
REASONS = {
    Status.DIVERGED: "Diverged: ",
    Status.TIMEOUT: "it took too long: stopped after 12 seconds",
    Status.CRASHED: "its worker crashed: Segmentation fault",
    Status.OUT_OF_MEMORY: "MemoryError: Unable to allocate",
}
RACE = replace(CONFIG, tokens=320, rungs=3, population=12, offspring=6, generations=1, seed=87)
RACE = replace(RACE, ranking="estimate", longer_share=0.6, verify_tokens=0)  # some are trained longer on the way
KILLS = 4
SHARE = 14
build = evaluation._build


def fate_of(job: Job) -> Status:
    """What is planted in a genome, by its hash."""
    return KINDS.get(int(job.task.hash, 16) % SHARE, Status.OK)


def sabotage(job: Job, settings):
    """In place of building the model: what goes wrong goes wrong in the middle of an evaluation."""
    match fate_of(job):
        case Status.TIMEOUT:
            time.sleep(1_000)
        case Status.CRASHED:
            os.kill(os.getpid(), signal.SIGSEGV)
        case Status.OUT_OF_MEMORY:
            eaten = []
            while True:
                eaten.append(np.empty(64 << 20, dtype=np.uint8))  # reserved, not touched: at once on any machine
    time.sleep(0.5)  # so that there is something to kill
    return build(job, settings)


def plague(job: Job, settings, corpus) -> Result:
    """A true evaluation of a genome that may be a bad one."""
    evaluation._build = sabotage
    busy = Path(corpus.name).with_name(f"busy-{job.task.hash}-{os.getpid()}")
    if fate_of(job) is Status.OK:
        busy.touch()
    result = evaluation.evaluate(job, spoil(job, settings), corpus)
    busy.unlink(missing_ok=True)
    return result


def foretell(job: Job, settings, corpus) -> Result:
    """The same where nothing happens: bad ones are known by their names."""
    fate = fate_of(job)
    if fate in (Status.OK, Status.DIVERGED):
        return evaluation.evaluate(job, spoil(job, settings), corpus)
    return Result(task=job.task, evaluation=Evaluation(hash=job.task.hash, status=fate))


def spoil(job: Job, settings):
    """Settings under which it diverges, if that is planted: a race that stops it before has done so in both runs."""
    if fate_of(job) is not Status.DIVERGED:
        return settings
    recipe = replace(settings.scale.recipe, learning_rate=1e30, optimizer="adamw")
    return replace(settings, scale=replace(settings.scale, recipe=recipe))


class Havoc(Progress):
    """Tears one machine away and adds another while the run goes on, and kills workers on the way."""

    def __init__(self, cluster, victim, folder: Path) -> None:
        self.done: Counter[str] = Counter()
        self._cluster, self._victim, self._folder = cluster, victim, folder
        self._ended = Event()
        self._killer = Thread(target=self._kill)

    def workers_ready(self, num_workers, startup_seconds):
        self._killer.start()

    def evaluated(self, evaluation):
        self.done["evaluated"] += 1
        if self.done["evaluated"] == 3:
            self._cluster.remove_node(self._victim, allow_graceful=False)
            self.done["removed"] += 1
        if self.done["evaluated"] == 6:
            self._cluster.add_node(**NODE | {"num_cpus": 2})
            self.done["added"] += 1

    def _kill(self) -> None:
        """One after the other of those that are at a healthy genome, each genome once: thrice would be its fault."""
        rng, spared = random.Random(0), set()
        while self.done["killed"] < KILLS and not self._ended.wait(1.0):
            busy = [path.name.split("-")[1:] for path in self._folder.glob("busy-*")]
            if victims := sorted((hash, int(pid)) for hash, pid in busy if hash not in spared):
                hash, pid = rng.choice(victims)
                spared.add(hash)
                if psutil.pid_exists(pid):
                    psutil.Process(pid).kill()
                    self.done["killed"] += 1

    def end(self) -> dict[str, int]:
        self._ended.set()
        self._killer.join()
        return dict(self.done)


def drive_through_chaos(folder: str) -> dict:
    """The run, in a cluster of three machines to begin with; gives what was done to it."""
    folder = Path(folder)
    cluster, (victim, _) = make_cluster({}, {}, {})
    havoc = Havoc(cluster, victim, folder)
    config = replace(RACE, serial=False, address=cluster.address, timeout=12.0, tries=3, worker_memory=2e9)
    Driver(plague).run_in(folder / "chaos", replace(config, corpus=(write_text(folder),)), havoc)
    return havoc.end()


@pytest.mark.ray
def test_nothing_of_what_happens_shows_in_the_end(tmp_path):
    harm = result_of(call(drive_through_chaos, tmp_path))
    assert harm["removed"] == harm["added"] == 1 and harm["killed"] == KILLS, harm
    chaos = RunDirectory(tmp_path / "chaos")
    calm = Driver(foretell).run_in(tmp_path / "calm", replace(RACE, corpus=(str(tmp_path / "text.txt"),)))

    generations = [
        [(path / f"{number:04d}.parquet").read_bytes() for number in range(2)]
        for path in (chaos.path / "generations", calm.path / "generations")
    ]
    assert generations[0] == generations[1] and longer_outcomes(chaos) == longer_outcomes(calm) != {}
    rows = [one for path in (chaos.path / "evaluations").iterdir() for one in rows_of(path)]
    assert len(rows) == len(set(rows)) == chaos.latest_generation().evaluations, "one row for each"
    evaluations = chaos.evaluations()
    planted = {status: [] for status in REASONS}
    for hash, one in evaluations.items():
        fate = KINDS.get(int(hash, 16) % SHARE)
        if one.status is fate:
            planted[fate].append(one)
        else:
            assert fate in (None, Status.DIVERGED) and one.status in (Status.OK, Status.STOPPED), (hash, one)
    assert all(planted.values()), "one of each kind at least"
    assert all(REASONS[status] in one.error for status, found in planted.items() for one in found)
    assert all(one.retries.get("worker crashed", 0) >= 1 for one in planted[Status.CRASHED])
    retried = Counter(cause for one in evaluations.values() for cause in one.retries)
    assert retried["worker killed"] or retried["worker lost"]


def rows_of(path: Path) -> list[str]:
    return pq.read_table(path, columns=["hash"])["hash"].to_pylist()
