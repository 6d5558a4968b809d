"""star inspect --latency: each slot, the whole, and nothing twice."""

import json
from math import fsum

import pytest
from support.latency import Invented, refuse

from star.architecture import catalogue
from star.run import measurer
from star.run.plan import plan_run
from star.run.settings import Settings

TEXT = "11114-11114-91111"


@pytest.fixture(autouse=True)
def measure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    invented = Invented()
    monkeypatch.setattr(measurer, "measure_part", invented)
    return invented


def test_slots_add_up_to_the_whole(star, measure):
    code, out, err = star("inspect", TEXT, "--latency", "--context", 64, "--batch", 2, "--json")
    found = json.loads(out)
    assert code == 0 and err.startswith("note: measuring the latency of 4 parts of models on ")
    for name in ("prefill_ms", "decode_ms"):
        slots = [layer[name] for layer in found["layers"]]
        assert len(slots) == 3 and slots[1] == pytest.approx(0.81 * slots[0]), "it takes two features"
        assert found["latency"][name] == fsum([*slots, found["latency"][f"frame_{name}"]])
    assert found["latency"]["machine"] in err
    plain = json.loads(star("inspect", TEXT, "--context", 64, "--batch", 2, "--json")[1])
    assert "latency" not in plain and all("prefill_ms" not in layer for layer in plain["layers"])


def test_a_table_shows_them(star):
    code, out, err = star("inspect", TEXT, "--latency")
    figures = json.loads(star("inspect", TEXT, "--latency", "--json")[1])
    head = next(line for line in out.splitlines() if line.startswith("slot"))
    assert code == 0 and not err.count("\n") > 1 and head.split()[-4:] == ["ms", "prefill", "ms/token", "shared"]
    rows = [line.split() for line in out.splitlines() if line.strip()[:1].isdigit()][:3]
    for row, layer in zip(rows, figures["layers"], strict=True):
        assert f"{layer['prefill_ms']:.4g}" in row and f"{layer['decode_ms']:.4g}" in row
    assert f"{figures['latency']['decode_ms']:.4g} ms to decode the last of them on " in out


def test_a_second_time_nothing_is_measured(star, measure, monkeypatch):
    first = star("inspect", TEXT, "--latency", "--json")[1]
    monkeypatch.setattr(measurer, "measure_part", refuse)
    assert star("inspect", TEXT, "--latency", "--json") == (0, first, "")


def test_a_run_and_a_person_share_what_is_measured(star, measure, monkeypatch):
    """At the same sizes, whoever asked first."""
    star("inspect", "lfm2-like", "--scale", "125m", "--latency")
    count = len(measure.asked)
    star("inspect", "lfm2-like", "--scale", "125m", "--context", "4095", "--latency")
    assert len(measure.asked) == 2 * count
    table = plan_run(Settings(objectives=("quality", "latency"), target="125m")).latency_table()
    monkeypatch.setattr(measurer, "measure_part", refuse)
    measurer.Measurer(table, "cpu", ".star", pytest.fail).complete([catalogue.load("lfm2-like").at(8)])
    assert len(table.rows) == count


def test_refusals(refused):
    refused(["inspect", TEXT, "--latency", "--device", "gpu"], "unknown device 'gpu'; did you mean 'cpu'?")
    refused(["inspect", "gpt-2-124m", "--latency", "--context", 2000], "learned positions end at 1,024")
