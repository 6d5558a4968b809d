"""A table of plain values as one sealed JSON file, and back."""

import json
from collections.abc import Mapping
from typing import Any

from star.storage.files import BLANK_SEAL, Torn, is_sealed, seal


def pack_document(values: Mapping[str, Any]) -> bytes:
    """Return the file of these values, which JSON can hold."""
    return seal(json.dumps({**values, "seal": BLANK_SEAL}, ensure_ascii=False).encode())


def unpack_document(data: bytes) -> dict[str, Any]:
    """Return the values in `data`. Raise Torn if they are not those that were written."""
    if not is_sealed(data):
        raise Torn("its checksum does not match")
    try:
        values = json.loads(data)
        del values["seal"]
    except (ValueError, TypeError, KeyError) as error:
        raise Torn(f"it holds what no run writes: {error!r}") from error
    return dict(values)
