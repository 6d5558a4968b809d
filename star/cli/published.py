"""The figures that a genome file says are published, beside what is counted."""

from star.architecture.genome import decode
from star.cli.find import Found
from star.cost.cost import price

CONTEXTS = (4_096, 131_072)  # of the published caches
ELEMENT = 2  # bytes of what they hold


def compare_published(found: Found) -> dict[str, dict[str, int]] | None:
    """Return each figure of the table [published] as published and as counted; None if it has none, or is priced at
    other sizes than its own."""
    if not (found.named and found.named.published and found.is_as_published):
        return None
    slots, dims = decode(found.genome), found.scale.dims
    short, long = (price(slots, dims, context, ELEMENT) for context in CONTEXTS)
    counted = {name: getattr(short, name) for name in ("params", "active_params", "embedding_params")}
    counted |= {
        f"cache_bytes_{context}": cost.cache_bytes for context, cost in zip(CONTEXTS, (short, long), strict=True)
    }
    return {name: {"published": value, "counted": counted[name]} for name, value in found.named.published.items()}


def differences(published: dict[str, dict[str, int]] | None) -> list[str]:
    """Return a sentence for each figure that is counted otherwise than published, or one for all if none is."""
    if not published:
        return []
    lines = [
        f"published {name} is {one['published']:,}, but {one['counted']:,} are counted"
        f"{_share(one['counted'], one['published'])}"
        for name, one in published.items()
        if one["published"] != one["counted"]
    ]
    return lines or [f"published figures are the same: {', '.join(published)}"]


def _share(counted: int, published: int) -> str:
    return f" ({counted / published - 1:+.2%})" if published else ""
