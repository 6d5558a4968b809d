"""Pack the times of a process as a sealed JSON file, and unpack them."""

from dataclasses import fields

from star.records import Timing
from star.storage.documents import pack_document, unpack_document
from star.storage.files import Torn


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
