"""Named arrays, trained weights or the state of a training that paused, as one sealed safetensors file, and back."""

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from star.records import Arrays
from star.storage.files import BLANK_SEAL, Torn, check_seal, seal


def pack_arrays(arrays: Arrays) -> bytes:
    """Return the file of these arrays."""
    in_order = {name: np.asarray(array, order="C") for name, array in arrays.items()}  # else saved transposed
    return seal(safetensors.numpy.save(in_order, metadata={"seal": BLANK_SEAL}))


def unpack_arrays(data: bytes) -> Arrays:
    """Return the arrays in `data`. Raise Torn if they are not those that were written."""
    check_seal(data)
    try:
        return safetensors.numpy.load(data)
    except SafetensorError as error:
        raise Torn(f"it cannot be read: {error}") from error
