"""A clock without the pauses of its process: by an injected clock, and by a process that is really stopped."""

import signal
import subprocess
import sys
import time

from support.paths import importing

from star.workers.active_clock import TICK_SECONDS, ActiveClock

TICKING = """
import sys, time
from star.workers.active_clock import active_clock
with active_clock() as clock:
    begun, active = time.monotonic(), clock()
    print("ready", flush=True)
    sys.stdin.readline()
    print(time.monotonic() - begun, clock() - active, clock.paused(), flush=True)
"""


def make(ticks):
    """Read a clock after each (seconds that passed, seconds of processor time)."""
    now, cpu = [100.0], [5.0]
    clock = ActiveClock(lambda: now[0], lambda: cpu[0])
    begun, readings = clock(), []
    for passed, used in ticks:
        now[0] += passed
        cpu[0] += used
        readings.append((clock() - begun, clock.paused()))
    return readings


def test_a_long_time_without_processor_time_is_a_pause():
    assert make([(0.5, 0.5), (0.5, 0.0), (3600.0, 0.4), (0.5, 0.1)]) == [
        (0.5, 0.0),
        (1.0, 0.0),
        (1.0, 3600.0),
        (1.5, 3600.0),
    ]


def test_a_long_computation_that_holds_the_interpreter_is_no_pause():
    assert make([(30.0, 29.0), (10.0, 40.0)]) == [(30.0, 0.0), (40.0, 0.0)]


def test_ticks_that_come_a_little_late_are_no_pauses():
    assert make([(1.5, 0.0)] * 100)[-1] == (150.0, 0.0)


def test_a_process_that_is_stopped_does_not_count_the_time():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", TICKING], env=importing(), **pipes) as process:
        process.stdout.readline()
        time.sleep(2 * TICK_SECONDS)
        process.send_signal(signal.SIGSTOP)
        time.sleep(4.0)
        process.send_signal(signal.SIGCONT)
        out, _ = process.communicate("\n")
    passed, active, paused = map(float, out.split())
    assert 4.0 <= paused <= 4.0 + 2 * TICK_SECONDS
    assert abs(passed - active - paused) < 0.1
