"""What was measured comes back as it was, and nothing else is taken for it."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tiny import TINY

from star.architecture.spec import BackboneConfig
from star.cost.target import Target
from star.records import Latency, Measured
from star.storage.files import Torn
from star.storage.latencies import COLUMNS, SETTING, LatencyStore, pack_latencies, unpack_latencies
from star.storage.run_directory import RunDirectory
from star.storage.sealed_table import pack_table
from star.storage.store import canonical_text

SETTING_HERE = Target(dims=TINY.dims, num_slots=3, context=16, dtype_bytes=2)
OTHERS = {
    "context": replace(SETTING_HERE, context=17),
    "batch": replace(SETTING_HERE, batch=2),
    "depth": replace(SETTING_HERE, num_slots=4),
    "numbers": replace(SETTING_HERE, dtype_bytes=4),
    "width": replace(SETTING_HERE, dims=replace(TINY.dims, d_model=32)),
    "style": replace(SETTING_HERE, dims=replace(TINY.dims, style=BackboneConfig(shift=4))),
}
POSITIVE = st.floats(0, exclude_min=True, allow_infinity=False)
ROWS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.builds(
        Measured,
        st.text(st.characters(codec="utf-8"), max_size=9),
        st.text(st.characters(codec="utf-8"), max_size=9),
        st.builds(Latency, prefill_ms=POSITIVE, decode_ms=POSITIVE),
    ),
)


def measured(value: float = 1.0, machine: str = "here") -> Measured:
    return Measured("SA-1", machine, Latency(prefill_ms=value, decode_ms=value / 2))


@given(ROWS)
def test_what_is_written_is_read(rows):
    data = pack_latencies(rows, SETTING_HERE)
    assert unpack_latencies(data, SETTING_HERE) == rows
    assert pack_latencies(dict(reversed(rows.items())), SETTING_HERE) == data


@pytest.mark.parametrize("other", OTHERS)
def test_latencies_at_other_sizes_are_not_these(other):
    with pytest.raises(Torn, match="other sizes"):
        unpack_latencies(pack_latencies({"a": measured()}, OTHERS[other]), SETTING_HERE)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), None])
def test_values_that_nobody_measured_are_refused(value):
    row = {"key": "a", "name": "SA-1", "machine": "here", "prefill_ms": value, "decode_ms": 1.0}
    for rows in ([row], [row | {"prefill_ms": 1.0, "decode_ms": value}], [row | {"prefill_ms": 1.0, "key": None}]):
        data = pack_table(rows, COLUMNS, {SETTING: canonical_text(SETTING_HERE)})
        with pytest.raises(Torn, match="nobody measured"):
            unpack_latencies(data, SETTING_HERE)
    for data in (pack_table([], COLUMNS.remove(0), {SETTING: canonical_text(SETTING_HERE)}), b"", b"PAR1"):
        with pytest.raises(Torn):
            unpack_latencies(data, SETTING_HERE)


def test_a_store_keeps_machines_and_settings_apart(tmp_path):
    notes = []
    store = LatencyStore(tmp_path / "store", notes.append)
    assert store.find(SETTING_HERE, "here") == {} and not store.path.exists()
    store.keep({"a": measured(1)}, SETTING_HERE, "here")
    store.keep({"a": measured(2, "there")}, SETTING_HERE, "there")
    store.keep({"a": measured(3)}, OTHERS["batch"], "here")
    store.keep({"a": measured(4), "b": measured(5)}, SETTING_HERE, "here")
    found = LatencyStore(store.path, notes.append).find(SETTING_HERE, "here")
    assert found == {"a": measured(1), "b": measured(5)}, "the first measurement stays"
    assert store.find(SETTING_HERE, "there")["a"].latency.prefill_ms == 2
    assert all(store.find(other, "here") == {} for name, other in OTHERS.items() if name != "batch")
    assert not notes


@pytest.mark.parametrize("damage", ["cut", "flipped", "other sizes", "other machine"])
def test_a_file_that_cannot_be_used_is_set_aside(tmp_path, damage):
    notes = []
    store = LatencyStore(tmp_path / "store", notes.append)
    store.keep({"a": measured()}, SETTING_HERE, "here")
    (path,) = (store.path / "latencies").iterdir()
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[:-7])
    elif damage == "flipped":
        bit = random.Random(0).randrange(8 * len(data))
        path.write_bytes(data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :])
    elif damage == "other sizes":
        path.write_bytes(pack_latencies({"a": measured()}, OTHERS["style"]))
    else:
        path.write_bytes(pack_latencies({"a": measured(machine="there")}, SETTING_HERE))
    assert store.find(SETTING_HERE, "here") == {}
    assert path.with_name(f"{path.name}.torn").exists() and not path.exists()
    assert len(notes) == 1 and "cannot be used" in notes[0]
    store.keep({"a": measured(2)}, SETTING_HERE, "here")
    assert store.find(SETTING_HERE, "here") == {"a": measured(2)} and len(notes) == 1


def test_a_store_that_cannot_be_written_is_none(tmp_path):
    (tmp_path / "store").write_text("a file")
    notes = []
    store = LatencyStore(tmp_path / "store", notes.append)
    for _ in range(2):
        store.keep({"a": measured()}, SETTING_HERE, "here")
    assert store.find(SETTING_HERE, "here") == {}
    assert len(notes) == 1 and "cannot write the store" in notes[0]


def test_a_run_keeps_its_own(tmp_path):
    with RunDirectory(tmp_path / "run").create("") as run:
        assert run.latencies(SETTING_HERE) is None and not run.has_lost_latencies()
        run.write_latencies({"a": measured()}, SETTING_HERE)
        assert run.latencies(SETTING_HERE) == {"a": measured()}
        assert run.latencies(OTHERS["context"]) is None and run.has_lost_latencies()
        assert "latencies.parquet is torn: it holds latencies of other sizes" in run.warnings[0]
        run.write_latencies({"a": measured()}, SETTING_HERE)
        assert not run.has_lost_latencies()
