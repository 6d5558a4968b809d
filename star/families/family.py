"""A family of checkpoints: which models lie in it, the configuration of one, and the names of its weights.

A family reads a configuration as a model of ours. Whether a model lies in it follows from that: its sizes are written
as a configuration, the configuration is read back, and both models must have equal facts. So no second list of what a
family allows can disagree with the reader.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from star.architecture.spec import Dimensions, ModelSpec
from star.errors import UserError
from star.families.blueprint import Blueprint
from star.families.config import Config
from star.families.facts import Facts, differing, model_facts, slot_facts
from star.families.links import Links, Shapes

# Tokens are told by a tokenizer, not by a genome; some classes have defaults beyond a small vocabulary.
COMMON = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}


EVERYWHERE = -1  # in place of a slot: the sizes of the model do not go together in the family


class Obstacle(NamedTuple):
    """Difference that keeps a model out of a family: the number of the slot, 0 for the backbone, and a text."""

    slot: int
    text: str


class Traits:
    """A model as writers of configurations see it: sizes, style, and the facts of its slots."""

    def __init__(self, spec: ModelSpec) -> None:
        self.dims: Dimensions = spec.dims
        self.style = spec.dims.style
        self.slots: list[Facts] = slot_facts(spec)

    def first(self, *operators: str, of: slice = slice(None)) -> Facts:
        """Return the facts of the first slot with one of these operators, none if there is none."""
        return next((one for one in self.slots[of] if one["operator"] in operators), {})

    def layers(self, slots_each: int = 2) -> int:
        """Return the number of layers of so many slots, the last one perhaps incomplete."""
        return max(1, -(-len(self.slots) // slots_each))


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A family.

    Attributes:
        name: the `model_type` of its configurations.
        architecture: the name of its class for causal language models.
        write: returns the configuration that is nearest to a model.
        read: returns the model of a configuration; raises UserError if it is none of ours.
        link: adds the links of all weights of a model with a configuration.
        ignored: a regular expression of tensors in checkpoints that are no weights.
        renames: regular expressions of names in some checkpoints, and what takes their place here.
    """

    name: str
    architecture: str
    write: Callable[[Traits], dict[str, Any]]
    read: Callable[[Config], Blueprint]
    link: Callable[[Links, Blueprint, Config], None]
    ignored: str = r"rotary_emb\.inv_freq$"
    renames: tuple[tuple[str, str], ...] = ()

    def config(self, spec: ModelSpec) -> dict[str, Any]:
        """Return the configuration that is nearest to a model, whether the model lies in the family or not."""
        return {"architectures": [self.architecture], "model_type": self.name, **COMMON, **self.write(Traits(spec))}

    def obstacles(self, spec: ModelSpec) -> list[Obstacle]:
        """Return what keeps a model out of the family; none if it lies in it."""
        try:
            other = self.read(Config(self.config(spec))).spec()
        except UserError as error:
            return [Obstacle(EVERYWHERE, str(error))]
        found = [Obstacle(0, text) for text in differing(model_facts(spec), model_facts(other))]
        pairs = zip(slot_facts(spec), slot_facts(other), strict=False)
        return found + [Obstacle(i, text) for i, (a, b) in enumerate(pairs, start=1) for text in differing(a, b)]

    def known_names(self, names: Iterable[str]) -> dict[str, str]:
        """Return the names of the weights of a checkpoint as links have them, each with the name in the checkpoint."""
        found = {}
        for name in names:
            known = name
            for pattern, text in self.renames:
                known = re.sub(pattern, text, known)
            if not re.search(self.ignored, name):
                found[known] = name
        return found

    def links(self, blueprint: Blueprint, config: Config, own: Shapes) -> Links:
        """Return the links of the weights of a model, whose shapes are `own`."""
        links = Links(own)
        self.link(links, blueprint, config)
        return links.finish()
