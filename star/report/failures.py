"""How many proxies of a run failed, and of what; and what limits kept from training."""

from star.report.axes import human

UNITS = {"max_cache": "bytes", "max_memory": "bytes"}


def describe_failures(failures: dict[str, int], evaluations: int) -> str:
    """The share of failures among all evaluations, by status: 3 of 40 (7.5%): 2 diverged (5.0%), 1 timeout (2.5%)."""
    if not failures:
        return "none"
    parts = [f"{count} {status} ({count / evaluations:.1%})" for status, count in sorted(failures.items())]
    total = sum(failures.values())
    return f"{total} of {evaluations} ({total / evaluations:.1%}): {', '.join(parts)}"


def describe_limits(limits: dict[str, float]) -> str:
    """All limits in one line: params 2 G, memory 500 MB."""
    return ", ".join(
        f"{name.removeprefix('max_')} {human(value, UNITS.get(name, ''))}" for name, value in limits.items()
    )
