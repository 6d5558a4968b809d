"""A clock that stands still while its process is paused."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

TICK_SECONDS = 0.5  # between two readings of a ticking clock
PAUSE_SECONDS = 2.0  # the shortest time between two readings that can be a pause


class ActiveClock:
    """Count the seconds in which this process ran.

    A process is paused by SIGSTOP, Ctrl-Z, a frozen container or a suspended virtual machine; it cannot notice that
    while it lasts. So somebody has to read the clock every TICK_SECONDS, as `active_clock` does. A much longer time
    between two readings, in which the process used next to no processor time, was a pause; one in which it computed
    was not, although the reading thread had to wait. A machine that sleeps is no pause: `time.monotonic` stands still.

    Args:
        now: seconds of a monotonic clock.
        cpu: seconds of processor time of this process.
    """

    def __init__(self, now: Callable[[], float], cpu: Callable[[], float]) -> None:
        self._now, self._cpu = now, cpu
        self._lock = threading.Lock()
        self._last = now(), cpu()
        self._paused = 0.0

    def __call__(self) -> float:
        """Return the seconds, counted from an unknown moment, without the pauses."""
        return self._read()[0]

    def paused(self) -> float:
        """Return the seconds of all pauses so far."""
        return self._read()[1]

    def _read(self) -> tuple[float, float]:
        with self._lock:
            now, cpu = self._now(), self._cpu()
            passed, used = now - self._last[0], cpu - self._last[1]
            if passed > PAUSE_SECONDS and used < passed / 2:
                self._paused += passed
            self._last = now, cpu
            return now - self._paused, self._paused


@contextmanager
def active_clock(on_tick: Callable[[ActiveClock], None] = ActiveClock.paused) -> Iterator[ActiveClock]:
    """Keep a clock that a thread reads every TICK_SECONDS, by `on_tick`, until the context is left."""
    clock, ended = ActiveClock(time.monotonic, time.process_time), threading.Event()

    def tick() -> None:
        while not ended.wait(TICK_SECONDS):
            with suppress(MemoryError):  # of a job that uses up what its worker has
                on_tick(clock)

    thread = threading.Thread(target=tick, name="star-clock", daemon=True)
    thread.start()
    try:
        yield clock
    finally:
        ended.set()
        thread.join()
