"""Limits on the cost of a model: their names, and how they are told."""

from star.units import write_amount

# Limit -> the cost that it bounds, in the names of columns.
LIMITS = {
    "max_params": "params",
    "max_cache": "cache_bytes",
    "max_memory": "memory_bytes",
    "max_flops": "flops_per_token",
}


def write_limit(name: str, value: float) -> str:
    """Return a limit as a short text: 2 GB, 8B parameters, 2G FLOPs."""
    column = LIMITS[name]
    return write_amount(value, "bytes" if column.endswith("_bytes") else column)


def describe_limits(limits: dict[str, float]) -> str:
    """Return all limits in one line: params 2B, memory 500 MB, flops 2G."""
    return ", ".join(f"{name.removeprefix('max_')} {write_limit(name, value)}" for name, value in limits.items())
