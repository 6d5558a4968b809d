"""The latencies of operators at a target, as one sealed Parquet file, and back; and as files that runs share.

One row a part of models: its key and name, the machine that measured it, and milliseconds. What they were measured for
is in the file's metadata: sizes, depth, context, batch and number format.
"""

import math
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa

from star.cost.target import Target
from star.records import Latency, Measured
from star.storage.files import Torn
from star.storage.sealed_table import UNREADABLE, SealedTable, pack_table
from star.storage.shared_directory import SharedDirectory
from star.storage.store import canonical_text

FOLDER = "latencies"
SETTING = "setting"
COLUMNS = pa.schema(
    [
        ("key", pa.string()),
        ("name", pa.string()),
        ("machine", pa.string()),
        ("prefill_ms", pa.float64()),
        ("decode_ms", pa.float64()),
    ]
)


def pack_latencies(rows: Mapping[str, Measured], setting: Target) -> bytes:
    """Return the file of latencies by the key of the part."""
    table = [
        {"key": key, "name": one.name, "machine": one.machine}
        | {"prefill_ms": one.latency.prefill_ms, "decode_ms": one.latency.decode_ms}
        for key, one in sorted(rows.items())
    ]
    return pack_table(table, COLUMNS, {SETTING: canonical_text(setting)})


def unpack_latencies(data: bytes, setting: Target) -> dict[str, Measured]:
    """Return the latencies in `data` by the key of the part. Raise Torn if the file was not written so, or for another
    setting."""
    table = SealedTable(data)
    if table.facts.get(SETTING) != canonical_text(setting):
        raise Torn("it holds latencies of other sizes")
    try:
        rows = {row["key"]: _row(row) for row in table.rows(COLUMNS)}
    except UNREADABLE as error:
        raise Torn(f"it holds what nobody measured: {error!r}") from error
    return rows


def _row(row: Mapping[str, Any]) -> Measured:
    latency = Latency(prefill_ms=row["prefill_ms"], decode_ms=row["decode_ms"])
    if not all(isinstance(row[name], str) for name in ("key", "name", "machine")):
        raise ValueError("a missing name")
    if not all(math.isfinite(value) and value > 0 for value in (latency.prefill_ms, latency.decode_ms)):
        raise ValueError("values out of range")
    return Measured(row["name"], row["machine"], latency)


class LatencyStore(SharedDirectory):
    """The latencies in a store, in a file for each machine and each setting:

        latencies/KEY.parquet       KEY = sha256(machine, setting), in hexadecimal digits

    A file that is damaged, or not what its name says, is set aside and reported, and its operators are measured again.
    """

    def find(self, setting: Target, machine: str) -> dict[str, Measured]:
        """Return what was measured on a machine, by the key of the part."""
        path = self._path(setting, machine)
        data = self._read(path)
        if data is None:
            return {}
        try:
            rows = unpack_latencies(data, setting)
            if any(one.machine != machine for one in rows.values()):
                raise Torn("it holds latencies of another machine than its name says")
        except Torn as torn:
            self._tell(path, str(torn))
            self._set_aside(path)
            return {}
        return rows

    def keep(self, rows: Mapping[str, Measured], setting: Target, machine: str) -> None:
        """Store what was measured on a machine; a part that another run has stored by now keeps its latency."""
        self._write(self._path(setting, machine), pack_latencies({**rows, **self.find(setting, machine)}, setting))

    def _path(self, setting: Target, machine: str) -> Path:
        key = sha256(f"{machine}\n{canonical_text(setting)}".encode()).hexdigest()
        return self.path / FOLDER / f"{key}.parquet"
