"""Text of unknown origin made safe to show."""


def visible(text: str) -> str:
    """Return the text with line breaks, control characters and direction marks as escapes such as \\n and \\u202e."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
