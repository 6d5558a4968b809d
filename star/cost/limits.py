"""Limits on the cost of a model: their names, and the texts in which people write them."""

from star.units import read_amount, write_amount

# Limit -> the cost that it bounds, in the names of columns.
LIMITS = {
    "max_params": "params",
    "max_cache": "cache_bytes",
    "max_memory": "memory_bytes",
    "max_flops": "flops_per_token",
}


def read_limit(name: str, text: str, called: str = "") -> float:
    """Return the number that a text such as 2GB spells for a limit; errors name it `called`, or by its key."""
    return read_amount(called or name, text, of_bytes=LIMITS[name].endswith("_bytes"))


def write_limit(name: str, value: float) -> str:
    """Return a limit as a short text: 2 GB, 8B parameters, 2G FLOPs."""
    column = LIMITS[name]
    return write_amount(value, "bytes" if column.endswith("_bytes") else column)


def describe_limits(limits: dict[str, float]) -> str:
    """Return all limits in one line: params 2B, memory 500 MB, flops 2G."""
    return ", ".join(f"{name.removeprefix('max_')} {write_limit(name, value)}" for name, value in limits.items())
