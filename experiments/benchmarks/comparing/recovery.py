"""The time that a killed search needs to continue, and the evaluations that it repeats."""

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from comparing.event_log import BEGUN, ENDED, EventLog, Line

FOLDER = Path(__file__).parents[1]
PATIENCE = 120.0  # seconds after which a driver counts as stuck


@dataclass(frozen=True, slots=True)
class Recovery:
    """One kill. `seconds` are those from the new process to its first evaluation of something that had not ended;
    `under_way` were begun and not ended when the driver died, `lost` of them were never begun again; `repeated` had
    ended and were evaluated again; `alike` is whether in the end the same genomes were evaluated as without a kill."""

    seconds: float
    under_way: int
    lost: int
    repeated: int
    alike: bool


class Driver:
    """A process `python -m MODULE FOLDER TRIALS ...` with its children."""

    def __init__(self, command: tuple[str, ...], folder: Path, trials: int) -> None:
        module, *options = command
        line = [sys.executable, "-m", f"comparing.{module}", str(folder), str(trials), *options]
        self.began = time.time()
        self._process = subprocess.Popen(
            line, cwd=FOLDER, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def kill(self) -> None:
        """Kill the driver with SIGKILL, then its children."""
        family = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        self._process.communicate()
        for one in family:
            if one.is_running():
                one.kill()
        psutil.wait_procs(family, timeout=10)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> None:
        """Wait until the driver ends. Raise RuntimeError with its output if it failed."""
        _, said = self._process.communicate(timeout=PATIENCE + 300)
        if self._process.returncode:
            raise RuntimeError(said[-2000:])


def kill_and_resume(command: tuple[str, ...], trials: int, after: int, whole: set[str]) -> Recovery:
    """Kill a driver during an evaluation, once `after` evaluations have ended, and let another finish. `whole` holds
    the genomes that an uninterrupted driver evaluates."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = EventLog(folder)
        driver = Driver(command, folder, trials)
        while not _is_time(log.lines(), after):
            if not driver.is_running():
                driver.wait()
                raise RuntimeError(f"{command} ended before it could be killed")
            time.sleep(0.005)
        driver.kill()
        before = log.lines()
        second = Driver(command, folder, trials)
        second.wait()
        later = log.lines()[len(before) :]
    ended = {line.genome for line in before if line.event == ENDED}
    open_ = {line.genome for line in before} - ended
    begun = [line for line in later if line.event == BEGUN]
    return Recovery(
        seconds=next(line.time for line in begun if line.genome not in ended) - second.began,
        under_way=len(open_),
        lost=len(open_ - {line.genome for line in begun}),
        repeated=sum(line.genome in ended for line in begun),
        alike=ended | {line.genome for line in later if line.event == ENDED} == whole,
    )


def _is_time(lines: list[Line], after: int) -> bool:
    return bool(lines) and lines[-1].event == BEGUN and sum(line.event == ENDED for line in lines) >= after


def evaluated(command: tuple[str, ...], trials: int) -> set[str]:
    """Return the genomes that an uninterrupted driver evaluates."""
    with tempfile.TemporaryDirectory() as name:
        Driver(command, Path(name), trials).wait()
        return {line.genome for line in EventLog(Path(name)).lines() if line.event == ENDED}
