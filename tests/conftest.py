"""Shared by all tests: one torch thread as the workers use, and every shape annotation checked at run time."""

import signal

import pytest

pytest.register_assert_rewrite("support")

from support.checked import check_annotations  # noqa: E402

check_annotations("star.model.ops", "star.model.operators", "star.model.language_model")

import hypothesis  # noqa: E402
import torch  # noqa: E402
from support.paths import TESTS  # noqa: E402

from star.cli import run  # noqa: E402

torch.set_num_threads(1)

# A shell starts background jobs with SIGINT ignored, and so would be every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A deadline would make a slow machine fail; derandomised so that a red test is red for everyone.
hypothesis.settings.register_profile("star", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("star")

# The files that take longest begin first, so that all processes of a parallel run end at about the same time. Those
# that wait for Ray most of the time take turns with those that compute.
LONGEST = (
    "run/test_kill.py",
    "model/test_decoding.py",
    "workers/test_workers.py",
    "model/test_model.py",
    "workers/test_cluster.py",
    "architecture/test_catalogue.py",
    "workers/test_pauses.py",
    "export/test_exported_use.py",
    "run/test_chaos.py",
    "cli/test_output.py",
    "workers/test_address.py",
    "workers/test_training_workers.py",
    "evaluation/test_evaluation.py",
    "run/test_evolve.py",
    "model/test_attention.py",
    "run/test_steady.py",
    "export/test_export.py",
    "storage/test_store.py",
    "search/test_search.py",
    "cli/test_resume.py",
    "cost/test_training_memory.py",
    "architecture/test_variants.py",
    "model/test_compositions.py",
    "run/test_damage.py",
    "run/test_schedules.py",
    "run/test_limits.py",
    "run/test_warm.py",
)


def pytest_collection_modifyitems(items):
    """Put the longest files first; all else stays in its order."""
    rank = {TESTS / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.fixture
def star(capsys):
    """Run a command in this process: exit code, standard output, standard error."""

    def command(*arguments):
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.fixture
def refused(star):
    """Run a command that is wrong: one line on standard error that holds these words, and exit code 2."""

    def command(arguments, *words):
        code, out, err = star(*arguments)
        assert code == 2 and out == ""
        assert err.startswith("star: error: ") and err.count("\n") == 1 and err.endswith("\n")
        for word in words:
            assert word in err

    return command


@pytest.fixture(params=["float64", "float32"])
def either_precision(request, monkeypatch):
    """In double precision, even what a reference would do in single, so that errors alone are left; and in single."""
    torch.manual_seed(0)
    if request.param == "float32":
        torch.set_default_dtype(torch.float32)
        yield
        return
    monkeypatch.setattr(torch, "float32", torch.float64)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    monkeypatch.undo()
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def double_precision():
    """Two forms that differ in the order of sums alone leave no room for a wrong formula in float64."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)
