"""The system's facts about this process and the processor: cores, memory, name and instructions."""

import os
import platform
import resource
from functools import cache
from pathlib import Path

_STATUS, _MEMORY, _PROCESSOR = (Path("/proc") / name for name in ("self/status", "meminfo", "cpuinfo"))
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # instructions of x86 and ARM


def count_cores() -> int:
    """Return how many cores this process may use, or how many there are if the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count_preemptions() -> int:
    """Return how often the system has taken a core away from this process for another one."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


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
