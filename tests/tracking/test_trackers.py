"""Trackers hold what they were given, go on where another process stopped, and never stop what they show."""

import sys
from types import SimpleNamespace

import pytest
from support.tracked import READERS

from star.errors import UserError
from star.tracking import trackers as module
from star.tracking.tracker import TRACKERS, Kind
from star.tracking.trackers import FOLDER, Trackers, check_trackers

CONFIG = {"population": 64, "objectives": ("quality", "params"), "tokens": None, "scale_toml": "x" * 9000}


@pytest.fixture
def kinds(monkeypatch):
    """The table of trackers, to which a test may add."""
    table = dict(module.KINDS)
    monkeypatch.setattr(module, "KINDS", table)
    return table


@pytest.mark.parametrize("name", TRACKERS)
def test_a_second_process_goes_on_with_the_record_of_the_first(name, tmp_path):
    notes = []
    for steps in ((0, 1), (1, 2)):  # a step that was passed on, but not known to be, is passed on again
        trackers = Trackers((name,), tmp_path / "run", CONFIG, notes.append)
        for step in steps:
            trackers.log(step, {"hypervolume": step / 4, "front_best/params": 1000.0 + step})
        trackers.close()
    assert not notes
    wanted = {"hypervolume": {0: 0.0, 1: 0.25, 2: 0.5}, "front_best/params": {0: 1000.0, 1: 1001.0, 2: 1002.0}}
    assert READERS[name](tmp_path / "run" / FOLDER / name) == wanted


def test_nothing_is_made_before_the_first_scalars(tmp_path):
    Trackers(TRACKERS, tmp_path / "run", CONFIG, pytest.fail).close()
    assert not (tmp_path / "run").exists()


class Failing:
    """Fails at the second step."""

    def __init__(self, place):
        self.place = place

    def log(self, step, scalars):
        if step:
            raise OSError("no space\nleft")

    def close(self):
        raise AssertionError("it was given up")


def test_a_tracker_that_fails_is_left_out_and_the_others_go_on(tmp_path, kinds, monkeypatch):
    logged, notes = [], []
    working = SimpleNamespace(log=lambda step, scalars: logged.append(step), close=lambda: logged.append("closed"))
    for name, make in (("failing", Failing), ("working", lambda place: working)):
        kinds[name] = Kind(package="os", module=f"invented_{name}")
        monkeypatch.setitem(sys.modules, f"invented_{name}", SimpleNamespace(make=make))
    kinds["missing"] = Kind(package="os", module="invented_missing")
    trackers = Trackers(("failing", "missing", "working"), tmp_path, {}, notes.append)
    for step in range(3):
        trackers.log(step, {"a": 1.0})
    trackers.close()
    assert logged == [0, 1, 2, "closed"]
    assert notes == [
        "the tracker missing failed and gets nothing more: No module named 'invented_missing'",
        "the tracker failing failed and gets nothing more: no space left",
    ]


def test_a_tracker_that_is_not_installed_is_refused(kinds):
    check_trackers(TRACKERS)
    kinds["wandb"] = Kind(package="no_such_package", module="")
    with pytest.raises(UserError, match=r"wandb is not installed: pip install 'star\[wandb\]'"):
        check_trackers(("tensorboard", "wandb"))
