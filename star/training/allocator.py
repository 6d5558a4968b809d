"""The allocator: errors that say that memory is short, and freed memory that is kept for the next allocations."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
_LARGEST = 32 << 20  # bytes of an allocation that glibc takes from its heap at most
_KEPT = 1 << 30  # bytes at the top of the heap that are not returned to the system
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory is short. The allocator of torch raises a plain RuntimeError on the
    CPU.
    """
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _NO_MEMORY)


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Keep what is freed in this process for its next allocations, and return it to the system at the end.

    Every training step allocates the same tensors again. By default glibc returns the large ones at once, and the
    system has to clear their pages at the next step. Without glibc nothing changes.
    """
    library = ctypes.CDLL(None)
    is_glibc = hasattr(library, "mallopt") and hasattr(library, "malloc_trim")
    if is_glibc:
        library.mallopt(_MMAP_THRESHOLD, _LARGEST)
        library.mallopt(_TRIM_THRESHOLD, _KEPT)
    try:
        yield
    finally:
        if is_glibc:
            library.malloc_trim(0)
