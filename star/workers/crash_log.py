"""The log that a worker leaves on its machine, read if it is found dead or late.

Only the standard library and psutil are imported here: `inspect_worker` runs in processes that need nothing else.
"""

import faulthandler
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from star.workers.active_clock import TICK_SECONDS, ActiveClock, active_clock

_PAUSED = "paused "


class CrashLog:
    """A file that is empty between jobs. During a job it holds the job's hash, how long the process was paused since
    the job began, if it was, and, if a signal ended the process, the trace that `faulthandler` wrote.

    So whoever finds a worker dead learns whether a job had begun, and whether the worker crashed or was killed; Ray
    cannot tell.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._lock = threading.Lock()
        self._noted: float | None = None  # seconds of all pauses by now, as far as written; None between jobs
        self._before = 0.0  # seconds of all pauses when the job began
        faulthandler.enable(self._file, all_threads=False)
        self._stack = ExitStack()  # never closed: the clock ticks until the process ends
        self._clock = self._stack.enter_context(active_clock(self._tick))

    @contextmanager
    def job(self, hash: str) -> Iterator[None]:
        """Hold the hash of a job while it runs. Whatever ends the process leaves it there, an Exception does not."""
        with self._lock:
            self._file.write(f"{hash}\n".encode())
            self._before = self._noted = self._clock.paused()
        try:
            yield
        except Exception:
            self._clear()
            raise
        self._clear()

    def _clear(self) -> None:
        with self._lock:
            self._noted = None
            self._file.truncate(0)

    def _tick(self, clock: ActiveClock) -> None:
        with self._lock:
            paused = clock.paused()
            if self._noted is not None and paused > self._noted:
                self._noted = paused
                self._file.write(f"{_PAUSED}{paused - self._before}\n".encode())


class Evidence(NamedTuple):
    """The state of a worker, as found on its machine."""

    log: str  # the text of its crash log
    is_stopped: bool = False  # whether the process is paused now

    @property
    def paused(self) -> float:
        """Return the seconds in which the worker was paused since its job began."""
        pauses = [line for line in self.log.splitlines() if line.startswith(_PAUSED)]
        return float(pauses[-1].removeprefix(_PAUSED)) if pauses else 0.0

    @property
    def trace(self) -> str:
        """Return the trace of a crash; empty if there is none."""
        _, _, rest = self.log.partition("\n")
        return "".join(line for line in rest.splitlines(keepends=True) if not line.startswith(_PAUSED))


def inspect_worker(path: str, pid: int, is_alive: bool) -> Evidence:
    """Read the crash log of a worker on this machine and look whether its process, if alive, is paused."""
    if is_alive:
        if psutil.pid_exists(pid) and psutil.Process(pid).status() == psutil.STATUS_STOPPED:
            return Evidence(Path(path).read_text(errors="replace"), is_stopped=True)
        time.sleep(2 * TICK_SECONDS)  # one that has just been continued writes how long it was paused
    return Evidence(Path(path).read_text(errors="replace"))
