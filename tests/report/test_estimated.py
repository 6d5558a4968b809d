"""A report of estimates shows one kind of number: whatever was trained to the end has the estimate of the last fit."""

from dataclasses import replace

import pytest
from support.runs import Driver
from support.tiny import CONFIG, invent, write_text

from star.evaluation.objectives import QUALITY
from star.records import Status
from star.report.history import read_history
from star.report.page import write_report


def test_proxies_have_the_estimates_of_the_last_fit(tmp_path):
    config = replace(CONFIG, corpus=(write_text(tmp_path),), tokens=320, population=6, offspring=12, generations=4)
    config = replace(config, ranking="estimate", longer_share=0.9, screening=2, verify_tokens=0)
    run = Driver(invent).run_in(tmp_path / "run", config)
    found, last = read_history(run), run.latest_generation()
    assert last.estimated and found.objectives[0].title == f"Bits per byte estimated for {last.estimated:,} tokens"
    known = {one.hash: one for one in found.trained}
    for one in (*last.individuals, *last.front):
        if one.status is Status.OK:
            assert known[one.hash].objectives == pytest.approx(one.objectives | known[one.hash].objectives)
            assert known[one.hash].objectives[QUALITY] == one.objectives[QUALITY]
    measured = run.evaluations()
    assert found.others, "some are neither on the front nor in the population"
    assert any(one.objectives[QUALITY] != measured[one.hash].objectives[QUALITY] for one in found.others)
    page, _ = write_report(run, tmp_path)
    assert f"estimated for {last.estimated:,} tokens" in page.read_text()
