"""Directories of runs: free ones are found by any number of processes at once, and strange names are told of."""

import multiprocessing
import os
from pathlib import Path

import pytest

from star.errors import UserError
from star.storage.places import claimed_directory, refuse_occupied, refuse_undecodable


def claim(wanted: Path, start, queue) -> None:
    start.wait()
    with claimed_directory(wanted) as path:
        (path / "run.toml").write_text("")
        queue.put(path.name)


def test_processes_that_want_one_name_at_once_get_one_each(tmp_path):
    context = multiprocessing.get_context("fork")
    start, queue = context.Event(), context.Queue()
    jobs = [context.Process(target=claim, args=(tmp_path / "runs" / "now", start, queue)) for _ in range(12)]
    for job in jobs:
        job.start()
    start.set()
    names = [queue.get(timeout=60) for _ in jobs]
    for job in jobs:
        job.join()
    assert sorted(names) == sorted(["now", *(f"now-{number}" for number in range(2, 13))])
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == sorted(names)


def test_what_was_not_used_is_given_back(tmp_path):
    wanted = tmp_path / "runs" / "now"
    with pytest.raises(UserError), claimed_directory(wanted) as path:
        assert path == wanted and path.is_dir()
        raise UserError("cannot begin")
    assert list(tmp_path.iterdir()) == []
    with claimed_directory(wanted) as path:
        (path / "run.toml").write_text("")
    with claimed_directory(wanted) as second:
        assert second.name == "now-2"
    assert [path.name for path in wanted.parent.iterdir()] == ["now"]


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with (
        pytest.raises(UserError, match="cannot make the directory .*now"),
        claimed_directory(tmp_path / "runs" / "now"),
    ):
        pass


def test_a_path_that_is_not_utf8_is_refused_in_one_sentence(tmp_path):
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/r\xff")
    for refuse in (refuse_undecodable, lambda path: refuse_occupied(Path(path))):
        with pytest.raises(UserError, match=r"r\\xff' is not UTF-8: rename it"):
            refuse(strange)
    refuse_undecodable("/tmp/\u4f60\u597d")
