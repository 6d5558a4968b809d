"""The system's facts about this process and the processor: cores, memory, name and instructions."""

import os
import platform
import time
from functools import cache
from pathlib import Path

_STATUS, _MEMORY, _PROCESSOR, _USE = (Path("/proc") / name for name in ("self/status", "meminfo", "cpuinfo", "stat"))
_TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds
_BUSY = (0, 1, 2, 5, 6, 7)  # user, nice, system, interrupts, and what a host took away: of the columns of /proc/stat
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # instructions of x86 and ARM


def count_cores() -> int:
    """Return how many cores this process may use, or how many there are if the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class OtherUse:
    """The use of this process's cores by all others, from the making on."""

    def __init__(self) -> None:
        self._started, self._own, self._all = time.perf_counter(), time.process_time(), _read_busy_seconds()

    def share(self) -> float:
        """Return the share of the time of these cores that others took; 0 if the system does not tell. It counts in
        ticks, and a tick of each core is left out, so that one alone says nothing about a short time.
        """
        own, cores = time.process_time() - self._own, count_cores()
        others = _read_busy_seconds() - self._all - own - cores * _TICK
        return max(0.0, others / (cores * (time.perf_counter() - self._started)))


def _read_busy_seconds() -> float:
    """Return for how long the cores of this process have been busy, added up."""
    if not _USE.exists():
        return 0.0
    rows = [line.split() for line in _USE.read_text().splitlines()]
    own = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    ticks = sum(int(row[1 + column]) for row in rows if row[0] in own for column in _BUSY)
    return ticks * _TICK


def read_memory(*names: str) -> list[int]:
    """Return the bytes under these names in /proc/self/status of Linux; nothing on other systems."""
    return _read_bytes(_STATUS, *names)


def read_free_memory() -> float:
    """Return the bytes that processes can still take without swapping; infinite if the system does not tell."""
    return float(next(iter(_read_bytes(_MEMORY, "MemAvailable")), "inf"))


def processor_name() -> str:
    """Return the name of the processor, as the system has it."""
    return _read_processor("model name") or platform.processor() or platform.machine()


def multiplies_bfloat16() -> bool:
    """Return whether the processor has instructions for products of bfloat16; False if the system does not tell."""
    return bool(_BFLOAT16 & {*_read_processor("flags").split(), *_read_processor("Features").split()})


def _read_bytes(path: Path, *names: str) -> list[int]:
    if not path.exists():
        return []
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines())
    return [1024 * int(lines[name].split()[0]) for name in names]


@cache
def _read_processor(name: str) -> str:
    lines = _PROCESSOR.read_text(encoding="utf-8").splitlines() if _PROCESSOR.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), "")
