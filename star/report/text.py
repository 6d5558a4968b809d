"""Texts that reports and commands show: those of unknown origin made safe, and the failures of a run in words."""


def visible(text: str) -> str:
    """Return the text with line breaks, control characters and direction marks as escapes such as \\n and \\u202e."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def describe_failures(failures: dict[str, int], evaluations: int) -> str:
    """Return the failures by status, such as 3 of 40 (7.5%): 2 diverged (5.0%), 1 timeout (2.5%)."""
    if not failures:
        return "none"
    parts = [f"{count} {status} ({count / evaluations:.1%})" for status, count in sorted(failures.items())]
    total = sum(failures.values())
    return f"{total} of {evaluations} ({total / evaluations:.1%}): {', '.join(parts)}"
