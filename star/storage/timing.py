"""Where the time of a process went, as a sealed JSON file, and back."""

import json
from dataclasses import fields

from star.records import Timing
from star.storage.files import BLANK_SEAL, Torn, is_sealed, seal


def pack_timing(timing: Timing) -> bytes:
    """The file of a timing."""
    values = {one.name: getattr(timing, one.name) for one in fields(Timing)}
    return seal(json.dumps(values | {"seal": BLANK_SEAL}).encode())


def unpack_timing(data: bytes) -> Timing:
    """The timing in `data`. Torn if it was not written so."""
    if not is_sealed(data):
        raise Torn("its checksum does not match")
    try:
        values = json.loads(data)
        return Timing(**{one.name: one.type(values[one.name]) for one in fields(Timing)})
    except (ValueError, TypeError, KeyError) as error:
        raise Torn(f"it holds what no run writes: {error!r}") from error
