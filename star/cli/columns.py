"""The columns of objectives and costs in tables."""

from star.cli.console import si

# In the order of columns.
HEADS = {
    "quality_bpb": "bits/byte",
    "params": "params",
    "cache_bytes": "cache",
    "memory_bytes": "memory",
    "flops_per_token": "FLOP/token",
    "prefill_ms": "ms prefill",
    "decode_ms": "ms/token",
}
MILLISECONDS = ("prefill_ms", "decode_ms")
BYTES = ("cache_bytes", "memory_bytes")


def figure(column: str, value: float) -> str:
    """Return a value of a column as tables show it."""
    if column == "quality_bpb":
        return f"{value:.4f}"
    if column in MILLISECONDS:
        return f"{value:.4g}"
    return si(value, "B" if column in BYTES else "")
