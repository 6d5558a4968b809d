"""The page of latencies: errors that can be done by hand, and rows that are measured once unless disturbed."""

import sys

import pytest
from support.latency import Invented
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "experiments" / "benchmarks"))  # as Python does for scripts that stand there

import latency_table  # noqa: E402

from star.cost.latency import LatencyTable  # noqa: E402
from star.records import Latency, Measured  # noqa: E402


@pytest.fixture
def page(monkeypatch, tmp_path):
    """Run the script, and return the page."""

    def run(*options):
        out = tmp_path / "page.md"
        record = tmp_path / "record.parquet"
        arguments = ["latency_table.py", "--scale", "nano", "--genomes", "4", "--record", record, "--out", out]
        monkeypatch.setattr(sys, "argv", [str(one) for one in (*arguments, *options)])
        latency_table.main()
        return out.read_text()

    return run


def test_errors_and_what_is_measured_again(page, monkeypatch):
    parts, whole = Invented(), []
    drawn = [genome for deck in ("paper", "extended") for genome in latency_table.draw(deck, 8, 4)]

    def measure_whole(slots, target, machine):
        """More than the sum for a prompt, as much for a token."""
        whole.append(next(genome for genome in drawn if target.slots(genome) == slots))
        table = LatencyTable(target, target.num_slots)
        for part in table.missing([whole[-1]]):
            table.rows[part.key] = Measured(part.name, "", Invented()(part, target, machine))
        total = table.total(whole[-1])
        is_disturbed = len(whole) == 1
        factor = 1.2 if parts.asked else 1.3  # before and after its parts
        return Latency(prefill_ms=factor * total.prefill_ms, decode_ms=total.decode_ms, is_disturbed=is_disturbed)

    monkeypatch.setattr(latency_table, "measure_part", parts)
    monkeypatch.setattr(latency_table, "measure_model", measure_whole)
    text = page()
    assert "| paper, prefill | 4 | -20.0% | 20.0% | 20.0% | 20.0% | 0 | 7.7% | 1.00 " in text
    assert "| paper, decode | 4 | +0.0% | 0.0% | 0.0% | 0.0% | 4 | 0.0% | 1.00 " in text
    assert len(set(parts.asked)) == len(parts.asked) and len(whole) == 16
    assert f" 1 of {len(parts.asked) + 16} measurements were disturbed" in text
    again = page()
    assert len(whole) == 17 and whole[16] == whole[0] and len(set(parts.asked)) == len(parts.asked)
    assert " 0 of " in again
    assert page("--report").splitlines()[3:] == again.splitlines()[3:] and len(whole) == 17
