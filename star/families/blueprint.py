"""A model as a list of operator classes, each with its overrides: its genome, its sizes, and its genome file."""

import json
from dataclasses import dataclass, fields, replace
from typing import Any

from star.architecture.genome import CLASSES, DECK, class_text, decode, fold_text, genes_of, parse, to_text
from star.architecture.overrides import OperatorOverrides
from star.architecture.spec import BackboneConfig, Dimensions, LivSpec, ModelSpec
from star.architecture.structures import check_overrides, check_size, specify
from star.records import Genome

NUMBERS = {one.name: number for number, one in CLASSES.items()}
ONES = (1, 1, 1, 1)  # of a slot that shares nothing

Operator = tuple[str, OperatorOverrides]  # the name of a class of the table or the text of one; how a scale builds it


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A model that a configuration describes.

    Attributes:
        operators: of each slot. Operators of one class have the same overrides.
        dims: sizes and style, without overrides.
    """

    operators: tuple[Operator, ...]
    dims: Dimensions

    @property
    def genome(self) -> Genome:
        """The genome of all slots, with a deck of its own if a class is in no table."""
        classes = list(dict.fromkeys(name for name, _ in self.operators))
        if all(name in NUMBERS for name in classes):
            return tuple(gene for name, _ in self.operators for gene in (NUMBERS[name], *ONES))
        texts = [class_text(genes_of(DECK[NUMBERS[name]])) if name in NUMBERS else name for name in classes]
        backbone = "-".join(f"{classes.index(name) + 1}1111" for name, _ in self.operators)
        return parse(f"{'+'.join(texts)}/{backbone}")

    @property
    def scaled(self) -> Dimensions:
        """The sizes with the overrides of every class. Raise UserError if they do not go together."""
        found: dict[str, tuple[LivSpec, OperatorOverrides]] = {}
        for slot, (_, overrides) in zip(decode(self.genome), self.operators, strict=True):
            known = found.setdefault(slot.liv.name, (slot.liv, overrides))
            assert known[1] == overrides, f"two ways to build {slot.liv.name}"
        used = [(liv.name, overrides) for liv, overrides in found.values() if overrides != OperatorOverrides()]
        dims = replace(self.dims, operators=tuple(used))
        for liv, overrides in found.values():
            check_overrides(liv, overrides)
            check_size(liv, dims)
        return dims

    def spec(self) -> ModelSpec:
        """Return the model. Raise UserError if its sizes do not go together."""
        return specify(decode(self.genome), self.scaled)

    def to_toml(self, title: str, citation: str) -> str:
        """Return the text of a genome file, as star.architecture.catalogue reads it."""
        genome, dims = self.genome, self.scaled
        deck, slash, backbone = to_text(genome).rpartition("/")
        words = backbone.split("-")
        period = next(
            n for n in range(1, len(words) + 1) if len(words) % n == 0 and words[:n] * (len(words) // n) == words
        )
        lines = [f"title = {json.dumps(title)}", f"citation = {json.dumps(citation)}"]
        lines += [f"genome = {json.dumps(fold_text(deck + slash + '-'.join(words[:period])))}", ""]
        sizes = {"slots": len(words), "d_model": dims.d_model, "num_heads": dims.num_heads, "head_dim": dims.head_dim}
        sizes |= {"vocab_size": dims.vocab_size, "seq_len": dims.seq_len}
        lines += _table("scale", sizes)
        lines += _table("style", _changed(dims.style, BackboneConfig()))
        keys = {}
        for slot, word in zip(decode(genome), words, strict=True):
            keys[slot.liv.name] = word[:-4] if slash else slot.liv.name
        for name, overrides in dims.operators:
            lines += _table(f"operators.{keys[name]}", _changed(overrides, OperatorOverrides()))
        return "\n".join(lines)


def _changed(record: Any, default: Any) -> dict[str, Any]:
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    return {name: value for name, value in values.items() if value != getattr(default, name)}


def _table(name: str, values: dict[str, Any]) -> list[str]:
    if not values:
        return []
    return [f"[{name}]", *(f"{key} = {_shown(value)}" for key, value in values.items()), ""]


def _shown(value: Any) -> str:
    if type(value) is int and value >= 10_000:
        return f"{value:_}"
    return repr(value) if isinstance(value, float) else json.dumps(value)
