"""What the system says of a process is what the process did."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from star.cost.process import OtherUse, count_cores, read_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")


def test_memory_that_is_taken_is_stated():
    before = read_memory("VmData", "RssAnon")
    taken = np.ones(1 << 28, dtype=np.uint8)
    for more, least in zip(read_memory("VmData", "RssAnon"), before, strict=True):
        assert 0.95 * taken.nbytes < more - least < 1.2 * taken.nbytes


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_what_other_processes_take_of_the_cores_is_theirs():
    """A process of this test on one core; what else runs here only adds to it, what this process does never."""
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            use = OtherUse()
            time.sleep(0.5)
            assert use.share() > 0.7
            use = OtherUse()
            spin(1.0)
            assert 0.2 < use.share() < 0.95, "each has a part of the core"
        finally:
            other.kill()
            other.wait()
        use, own = OtherUse(), time.process_time()
        spin(1.0)
        assert use.share() <= 1 - (time.process_time() - own) + 0.05
    finally:
        os.sched_setaffinity(0, allowed)


def test_cores_are_those_that_the_process_may_use():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert count_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert count_cores() == len(allowed)
