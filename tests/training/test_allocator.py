"""Memory that a training frees, against page faults counted by the system."""

import resource

import pytest
import torch

from star.cost.process import read_memory
from star.training.allocator import keep_freed_memory

PAGE = resource.getpagesize()
NUMBERS = 1 << 21  # float32: 8 MiB, which glibc returns to the system at once unless told otherwise


def count_faults(rounds: int) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        torch.zeros(NUMBERS).add_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not read_memory("RssAnon"), reason="counts pages as Linux does")
def test_most_allocations_cost_no_page_faults_and_the_memory_is_returned_at_the_end():
    with keep_freed_memory():
        count_faults(2)
        assert count_faults(10) < 5 * NUMBERS * 4 / PAGE, "by default each has a fault for every page"
        parts = [torch.ones(NUMBERS) for _ in range(8)]
        del parts
        (kept,) = read_memory("RssAnon")
    (returned,) = read_memory("RssAnon")
    assert kept - returned > 4 * NUMBERS * 4


def test_an_error_inside_passes():
    with pytest.raises(ZeroDivisionError), keep_freed_memory():
        1 / 0  # noqa: B018
