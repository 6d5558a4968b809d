"""What the system says of this process: the cores that it may use, and its memory."""

import os
from pathlib import Path

_STATUS = Path("/proc/self/status")


def count_cores() -> int:
    """The cores that this process may use, where the system can tell; all that there are elsewhere."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_memory(*names: str) -> list[int]:
    """Bytes that Linux states of this process under these names of /proc/self/status; empty on other systems."""
    if not _STATUS.exists():
        return []
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return [1024 * int(lines[name].split()[0]) for name in names]
