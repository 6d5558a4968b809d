"""A training that is killed at any moment ends, bit by bit, as one that nobody touched."""

import multiprocessing
import random
from dataclasses import replace
from multiprocessing import forkserver

import pytest
from support.paths import TESTS
from support.tiny import write_text
from support.trained import SMALL, drive_training, result_of

KILLS = 20
MEAN_SECONDS = 0.3


@pytest.fixture(scope="module")
def processes():
    """Forks of a process that has imported everything: a training that starts in no time, to kill at any moment."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.trained", "torch._dynamo"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(TESTS))
        forkserver.ensure_running()
    return context


def test_killed_twenty_times_it_ends_with_the_same_bits(tmp_path, processes):
    settings = replace(SMALL, corpus=(write_text(tmp_path),), tokens=3200.0, checkpoint_tokens=64.0)
    drive_training(tmp_path / "whole", settings)
    expected, rng = result_of(tmp_path / "whole"), random.Random(0)
    kills = trainings = 0
    while kills < KILLS:
        path = tmp_path / f"training{trainings}"
        trainings += 1
        while True:
            process = processes.Process(target=drive_training, args=(path, settings))
            process.start()
            process.join(rng.expovariate(1 / MEAN_SECONDS))
            if process.exitcode is not None:
                break
            process.kill()
            process.join()
            kills += 1
        assert process.exitcode == 0
        assert result_of(path) == expected
