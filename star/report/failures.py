"""The failures of a run in words."""


def describe_failures(failures: dict[str, int], evaluations: int) -> str:
    """Return the failures by status, such as 3 of 40 (7.5%): 2 diverged (5.0%), 1 timeout (2.5%)."""
    if not failures:
        return "none"
    parts = [f"{count} {status} ({count / evaluations:.1%})" for status, count in sorted(failures.items())]
    total = sum(failures.values())
    return f"{total} of {evaluations} ({total / evaluations:.1%}): {', '.join(parts)}"
