"""Tables of plain values, and the times of a process, as sealed JSON files, and back."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from star.records import Timing
from star.storage.files import BLANK_SEAL, Torn, check_seal, seal


def pack_document(values: Mapping[str, Any]) -> bytes:
    """Return the file of these values, which JSON can hold."""
    return seal(json.dumps({**values, "seal": BLANK_SEAL}, ensure_ascii=False).encode())


def unpack_document(data: bytes) -> dict[str, Any]:
    """Return the values in `data`. Raise Torn if they are not those that were written."""
    check_seal(data)
    try:
        values = json.loads(data)
        del values["seal"]
    except (ValueError, TypeError, KeyError) as error:
        raise Torn(f"it holds what no run writes: {error!r}") from error
    return dict(values)


def pack_timing(timing: Timing) -> bytes:
    """Return the file of a timing."""
    return pack_document({one.name: getattr(timing, one.name) for one in fields(Timing)})


def unpack_timing(data: bytes) -> Timing:
    """Return the timing in `data`. Raise Torn if it was not written so."""
    values = unpack_document(data)
    try:
        return Timing(**{one.name: one.type(values[one.name]) for one in fields(Timing)})
    except (ValueError, TypeError, KeyError) as error:
        raise Torn(f"it holds what no run writes: {error!r}") from error
