"""Records of chats as text."""

import json
from collections.abc import Iterator
from typing import Any

from star.errors import UserError

KEYS = (("role", "content"), ("from", "value"))  # of a message: who speaks, and what


def flatten_chat(messages: list[Any], place: str) -> str | None:
    """Return a chat as text: each message is `role: content`, and a blank line separates messages.

    A message is an object {role, content} or {from, value}. Its content is a text, or a list of parts, of which those
    of the type "text" are joined by newlines. Messages without text, such as calls of tools, are left out; a chat
    without any is None. `place` begins what a UserError says.
    """
    lines = [line for number, one in enumerate(messages, start=1) for line in _message(one, f"message {number}", place)]
    return "\n\n".join(lines) if lines else None


def _message(message: Any, number: str, place: str) -> Iterator[str]:
    if message is None:
        return
    if not isinstance(message, dict):
        raise UserError(f"{number} of {place} is not an object with 'role' and 'content'")
    # Columns of several kinds of messages have all keys, some of them null.
    role_key, content_key = next((keys for keys in KEYS if message.get(keys[0]) is not None), KEYS[0])
    role, content = message.get(role_key), message.get(content_key)
    if not isinstance(role, str):
        held = ", ".join(repr(key) for key in message) or "nothing"
        raise UserError(f"{number} of {place} has no text as 'role' or 'from'; it has {held}")
    if isinstance(content, list):
        content = "\n".join(_text_parts(content)) or None
    if content is None:
        return
    if not isinstance(content, str):
        raise UserError(f"{content_key!r} of {number} of {place} is not text but {shorten(content)}")
    yield f"{role}: {content}"


def _text_parts(parts: list[Any]) -> Iterator[str]:
    for part in parts:
        text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else part
        if isinstance(text, str):
            yield text


def shorten(value: Any) -> str:
    """Return the beginning of a value as JSON."""
    return json.dumps(value, default=str)[:40]
