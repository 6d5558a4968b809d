"""The lines at the end of a search that tell how long it took and what it took from the store."""

from typing import TYPE_CHECKING

from star.cli.console import count, duration

if TYPE_CHECKING:
    from star.run.summary import Summary


def describe_timing(summary: "Summary") -> list[str]:
    """Return what was trained in which time, and the use of the workers; empty if this process began none."""
    wall = summary.wall_seconds
    if not wall:
        return []
    lines = [
        f"{count(summary.evaluations, 'proxy')}, {count(summary.duplicates_avoided, 'duplicate')} avoided, "
        f"children repaired: {summary.repaired}; {duration(wall)} with {count(summary.workers, 'worker')}"
    ]
    if not summary.worker_utilisation:
        return [*lines, "nothing to train: every result was known already"]
    overhead, busy = summary.overhead_seconds / wall, summary.worker_utilisation
    return [*lines, f"overhead {overhead:.1%}: the time in which no proxy was training; workers busy {busy:.1%}"]


def describe_store(summary: "Summary") -> str:
    """Return how many of the proxies earlier runs had trained; empty if none."""
    if not summary.reused:
        return ""
    return f"{summary.reused} of these proxies {'was' if summary.reused == 1 else 'were'} trained by earlier runs"
