"""A compiled model computes what the model does."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lfm2-like", "transformer-pp", "mamba", "striped-mamba"])
def test_losses_gradients_and_texts_are_the_same(name):
    command = [sys.executable, "-m", "support.compiled", name]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loss, gradient, text = done.stdout.split()
    assert float(loss) < 1e-12 and text == "True"
    assert float(gradient) < 1e-6, "but for rounding: angles of rotations are in single precision"
