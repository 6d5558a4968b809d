"""Amounts as people write them: 8B parameters, 2GB, 64MiB, 1.5T FLOPs, or a plain number."""

import math
import re

from star.spec import UserError

COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12}  # B is a billion, as in 8B
BYTES = {"": 1, "b": 1} | {
    f"{prefix}{unit}": base**power
    for unit, base in (("b", 1000), ("ib", 1024))
    for power, prefix in enumerate("kmgt", start=1)
}
_AMOUNT = re.compile(r"([0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?) ?([a-z]*)", re.ASCII)


def read_amount(name: str, text: str, of_bytes: bool) -> float:
    """The number that a text says. kB, MB, GB, TB are powers of 1000, KiB, MiB, GiB, TiB of 1024; large and small
    letters are alike. UserError, which calls the amount `name`, if it is no number above 0.
    """
    match = _AMOUNT.fullmatch(text.strip().lower())
    suffixes = BYTES if of_bytes else COUNTS
    if match and match[2] in suffixes:
        value = float(match[1]) * suffixes[match[2]]
        if 0 < value < math.inf:
            return value
    example = "2GB, 512MiB or 2e9" if of_bytes else "1.5T, 8B, 350M or 2e9"
    raise UserError(f"{name} must be an amount above 0, such as {example}, not {text[:40]!r}")
