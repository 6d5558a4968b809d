"""A table of plain values and facts about the whole of it, as one sealed Parquet file, and back."""

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from star.storage.files import BLANK_SEAL, Torn, check_seal, seal

UNREADABLE = (pa.ArrowException, OSError, ValueError, TypeError, KeyError, AttributeError)


def pack_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema, facts: Mapping[str, Any]) -> bytes:
    """Return the file of these rows and of facts that JSON can hold; equal tables give equal bytes."""
    buffer = BytesIO()
    with pq.ParquetWriter(buffer, schema, compression="zstd", write_statistics=False, store_schema=False) as writer:
        writer.write_table(pa.Table.from_pylist(list(rows), schema=schema))
        texts = {key: json.dumps(value, sort_keys=True) for key, value in facts.items()}
        writer.add_key_value_metadata(texts | {"seal": BLANK_SEAL})
    return seal(buffer.getvalue())


class SealedTable:
    """The file of a table, whose facts are read at once and its rows when they are asked for. Raises Torn if the file
    was not written so."""

    def __init__(self, data: bytes) -> None:
        check_seal(data)
        try:
            self._file = pq.ParquetFile(pa.BufferReader(data))
            texts = {key.decode(): value for key, value in self._file.metadata.metadata.items()}
            self.facts = {key: json.loads(texts[key]) for key in texts.keys() - {"seal"}}
        except UNREADABLE as error:
            raise Torn(f"it cannot be read: {error!r}") from error

    def rows(self, schema: pa.Schema) -> list[dict[str, Any]]:
        """Return the rows. Raise ValueError if they have other columns."""
        table = self._file.read(use_threads=False)
        if not table.schema.equals(schema):
            raise ValueError(f"columns {table.schema.names}")
        return table.to_pylist()
