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
    name = _describe(device)
    libraries = {name: version(name) for name in LIBRARIES}
    return json.dumps({"code": _code_digest(), "device": name} | libraries, sort_keys=True) if name else ""


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
