"""Reading of a config.json: every value is checked before it is used."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from star.architecture.overrides import LARGEST, largest
from star.errors import UserError, disk_errors_reported, located

LONGEST = 1 << 20  # bytes of a config.json
MOST_LAYERS = 2_000
PLAIN_ROPE = "default"


class Config:
    """The values of a config.json by key. Every reader raises UserError, in one sentence, for a value it cannot use."""

    def __init__(self, values: Mapping[str, Any], place: str = "") -> None:
        self.values = values
        self.place = place

    def defaulting(self, values: Mapping[str, Any]) -> "Config":
        """Return a copy with these values for keys that are not in the file."""
        return Config({**values, **self.values}, self.place)

    def replacing(self, values: Mapping[str, Any]) -> "Config":
        """Return a copy with these values in place of others."""
        return Config({**self.values, **values}, self.place)

    def given(self, key: str) -> Any:
        """Return a value as it is, None if it is left out."""
        return self.values.get(key)

    def size(self, key: str, default: int | None = None, least: int = 1, most: int = LARGEST) -> int:
        """Return a whole number."""
        value = self._value(key, default)
        if type(value) is not int or not least <= value <= most:
            raise UserError(f"{key} must be a whole number from {least} to {most:,}, not {value!r:.40}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a number that is not negative."""
        value = self._value(key, default)
        if type(value) not in (int, float) or not math.isfinite(value) or not 0 <= value <= largest(key):
            raise UserError(f"{key} must be a number from 0 to {largest(key):,}, not {value!r:.40}")
        return float(value)

    def flag(self, key: str, default: bool | None = None) -> bool:
        """Return true or false."""
        value = self._value(key, default)
        if type(value) is not bool:
            raise UserError(f"{key} must be true or false, not {value!r:.40}")
        return value

    def word(self, key: str, words: Sequence[str], default: str | None = None) -> str:
        """Return one of some words."""
        value = self._value(key, default)
        if value not in words:
            raise UserError(f"{key} is {value!r:.40}, and only {', '.join(words)} can be read")
        return value

    def words(self, key: str, words: Sequence[str], length: int, default: Sequence[str] | None = None) -> list[str]:
        """Return a list of as many words as there are layers."""
        value = self._value(key, default)
        if not isinstance(value, list | tuple) or len(value) != length:
            raise UserError(f"{key} must be a list of {length} words, one for each layer, not {value!r:.40}")
        for one in value:
            if one not in words:
                raise UserError(f"{key} holds {one!r:.40}, and only {', '.join(words)} can be read")
        return list(value)

    def places(self, key: str) -> list[int] | None:
        """Return a list of numbers of layers, None if it is left out."""
        value = self.given(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) > MOST_LAYERS or not all(type(one) is int for one in value):
            raise UserError(f"{key} must be a list of numbers of layers, not {value!r:.40}")
        return value

    def layers(self, key: str = "num_hidden_layers") -> int:
        """Return the number of layers."""
        return self.size(key, most=MOST_LAYERS)

    def fixed(self, **wanted: Any) -> None:
        """Raise UserError if a key has a value other than the only one that has a counterpart here. None among the
        wanted values allows a key to be null.
        """
        for key, value in wanted.items():
            allowed = value if isinstance(value, tuple) else (value,)
            if key in self.values and self.values[key] not in allowed:
                raise UserError(f"{key} is {self.values[key]!r:.60}, and only {allowed[0]!r} can be read")

    def rope(self, theta: float | None = 10_000.0, share: float = 1.0, kind: str = "") -> tuple[float, float]:
        """Return the base of the rotary frequencies and the share of a head's channels that is rotated, of layers of a
        kind if the file tells kinds apart.
        """
        table = self.given("rope_parameters") or {}
        if not isinstance(table, Mapping):
            raise UserError(f"rope_parameters must be a table, not {table!r:.40}")
        if kind and isinstance(table.get(kind), Mapping):
            table = table[kind]
        scaling = table if "rope_type" in table else (self.given("rope_scaling") or {})
        name = (scaling.get("rope_type") or scaling.get("type")) if isinstance(scaling, Mapping) else scaling
        if name not in (None, PLAIN_ROPE):
            raise UserError(f"rotary frequencies are scaled ({name!r:.40}), which has no counterpart here")
        inner = Config({key: value for key, value in table.items() if value is not None})
        share = inner.number("partial_rotary_factor", self.number("partial_rotary_factor", share))
        return inner.number("rope_theta", self.number("rope_theta", theta)), share

    def _value(self, key: str, default: Any) -> Any:
        value = self.values.get(key)
        if value is None:
            value = default
        if value is None:
            raise UserError(f"the key {key!r} is missing")
        return value


def read_config(path: Path) -> Config:
    """Return the values of a config.json.

    Raises:
        UserError: it cannot be read, is no table, or is larger than any configuration.
    """
    with disk_errors_reported(f"read {path}"), located(str(path)):
        if path.stat().st_size > LONGEST:
            raise UserError(f"it has more than {LONGEST:,} bytes, which no configuration has")
        try:
            values = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise UserError(f"it is not JSON: {error!s:.100}") from error
        if not isinstance(values, dict):
            raise UserError("it must hold a table of keys and values")
        return Config(values, str(path))
