"""Fingerprint what decides the bits of a training besides genome, seed, settings and text: device,
libraries and code.
"""

import json
import platform
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import torch

import star
from star.cost.process import processor_name
from star.training.latency import Machine

LIBRARIES = ("torch", "numpy")
ABOVE = (
    "cli",
    "export",
    "report",
    "run",
    "search",
    "storage",
    "trainer",
    "workers",
)  # packages that no proxy depends on


def provenance(device: str) -> str:
    """Return the fingerprint of a training on a device of torch in this process, as one text; empty if there is no such
    device.

    Two processes with one text give one training the same bits.
    """
    found = _provenance(device)
    return json.dumps(found, sort_keys=True) if found["device"] else ""


def describe_machine(machine: Machine) -> str:
    """Return all that latencies of one model at one target depend on, as one text: processor, threads, number format,
    and what a fingerprint has besides.
    """
    dtype = str(machine.dtype).removeprefix("torch.")
    found = {"kind": machine.device, "processor": processor_name(), "threads": machine.threads, "dtype": dtype}
    return json.dumps(_provenance(machine.device) | found, sort_keys=True)


def name_machine(text: str) -> str:
    """Return the name of what `describe_machine` describes: processor or GPU, threads and number format."""
    found = json.loads(text)
    name = found["device"] if found["kind"] == "cuda" else found["processor"]
    return f"{name}, {found['threads']} thread{'s' if found['threads'] > 1 else ''}, {found['dtype']}"


def _provenance(device: str) -> dict[str, str]:
    libraries = {name: version(name) for name in LIBRARIES}
    return {"code": _code_digest(), "device": _describe(device)} | libraries


def _describe(device: str) -> str:
    if device == "cpu":
        return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return torch.cuda.get_device_name(device) if torch.cuda.is_available() else ""


@cache
def _code_digest() -> str:
    """Return the sha256 of the source of all packages that a training could depend on, so that after a change of an
    operator stored results of the old one are not used.
    """
    root = Path(star.__file__).parent
    digest = sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if name.parts[0] not in ABOVE:
            digest.update(f"{name.as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()
