"""What the system says of a process is what the process did."""

import os
import sys

import numpy as np
import pytest

from star.cost.process import count_cores, read_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")


def test_memory_that_is_taken_is_stated():
    before = read_memory("VmData", "RssAnon")
    taken = np.ones(1 << 28, dtype=np.uint8)
    for more, least in zip(read_memory("VmData", "RssAnon"), before, strict=True):
        assert 0.95 * taken.nbytes < more - least < 1.2 * taken.nbytes


def test_cores_are_those_that_the_process_may_use():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert count_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert count_cores() == len(allowed)
