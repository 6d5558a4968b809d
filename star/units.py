"""Read and write amounts as people do: 8B parameters, 2GB, 64MiB, 1.5T FLOPs, or a plain number."""

import math
import re

from star.errors import UserError

COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9, "t": 10**12}  # B is a billion, as in 8B
BYTES = {"": 1, "b": 1} | {
    f"{prefix}{unit}": base**power
    for unit, base in (("", 1000), ("b", 1000), ("ib", 1024))
    for power, prefix in enumerate("kmgt", start=1)
}
WORDS = {"bytes": (" B", " kB", " MB", " GB", " TB"), "params": ("", "k", "M", "B", "T")}
PREFIXES = ("", "k", "M", "G", "T")
_NUMBER = r"([0-9]{1,12}(?:\.[0-9]{1,12})?)"
_DURATION = re.compile(rf"(?:{_NUMBER} ?h ?)?(?:{_NUMBER} ?m(?:in)? ?)?(?:{_NUMBER} ?s?)?", re.ASCII)
_AMOUNT = re.compile(r"([0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?)(e[+-]?[0-9]+)? ?([a-z]*)", re.ASCII)


def read_amount(name: str, text: str, of_bytes: bool) -> float:
    """Return the number that a text spells. kB, MB, GB, TB, and k, M, G, T alone, are powers of 1000; KiB, MiB, GiB,
    TiB of 1024; case is irrelevant. Raise UserError, which calls it `name`, unless it is a number above 0.
    """
    match = _AMOUNT.fullmatch(text.strip().lower())
    suffixes = BYTES if of_bytes else COUNTS
    doubled = ""
    if match and match[3] in suffixes:
        value = float(match[1] + (match[2] or "")) * suffixes[match[3]]
        if match[2] and match[3]:  # 1e9B is rather a billion than a billion billions
            doubled = ": an exponent and a suffix exclude each other"
        elif 0 < value < math.inf:
            return value
    example = "2GB, 512MiB or 2e9" if of_bytes else "1.5T, 8B, 350M or 2e9"
    raise UserError(f"{name} must be an amount above 0, such as {example}, not {text[:40]!r}{doubled}")


def read_seconds(name: str, text: str) -> float:
    """Return the seconds that a text spells, such as 90, 90s, 10m, 2h or 1h30m. Raise UserError, which calls it `name`,
    unless they are a number above 0.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    parts = match.groups(default="0") if match else ("0", "0", "0")
    seconds = sum(float(part) * unit for part, unit in zip(parts, (3600, 60, 1), strict=True))
    if not 0 < seconds < math.inf:
        raise UserError(f"{name} must be a time above 0, such as 45s, 10m or 1h30m, not {text[:40]!r}")
    return seconds


def write_amount(value: float, kind: str = "") -> str:
    """Return an amount in at most four digits: 2 GB of "bytes", 8B "params", 2G of anything else; with an exponent
    below one and beyond the prefixes.
    """
    words, power = WORDS.get(kind, PREFIXES), 0
    scaled = float(f"{value:.4g}")
    while scaled >= 1000 and power < len(words) - 1:
        scaled, power = float(f"{scaled / 1000:.4g}"), power + 1
    return f"{scaled:g}{words[power]}" if scaled < 1000 else f"{value:.4g}{words[0]}"
