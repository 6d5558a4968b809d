"""The latency of a model as a sum over parts that are measured alone: the operator of each slot, and all around them.

    latency(model) = sum over slots of latency(operator, features taken from other slots) + latency(embedding, head)

A slot that takes features from another slot does not compute them; with whose weights it makes the others changes
nothing. Here latencies are looked up and added; star.training.latency measures them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import fsum
from typing import NamedTuple

from star.architecture.genome import class_text, genes_of
from star.architecture.spec import LivSpec
from star.architecture.structures import specify
from star.cost.target import Target
from star.records import Genome, Latency, Measured

DEVICES = ("cpu", "cuda")  # of torch, on which latencies are measured
CACHED = 65_536  # genomes whose parts are remembered


class Part(NamedTuple):
    """A part of a model: an operator as the deck describes it, and the roles of the features that it takes from another
    slot; without an operator, all that is around the slots."""

    liv: LivSpec | None
    taken: str = ""

    @property
    def key(self) -> str:
        """Return the text that names the part in files: the genes of the operator, from which a scale builds it, and
        the roles."""
        return f"{class_text(genes_of(self.liv))} {self.taken}".rstrip() if self.liv else "frame"

    @property
    def name(self) -> str:
        """Return the name of the part for people."""
        if self.liv is None:
            return "embedding and head"
        return f"{self.liv.name}, {self.taken} from another slot" if self.taken else self.liv.name


FRAME = Part(None)


@lru_cache(CACHED)
def parts_of(genome: Genome, target: Target) -> tuple[Part, ...]:
    """Return the part of each slot of a genome at a target. Raise UserError if it cannot be built there."""
    slots = target.slots(genome)
    parts = []
    for i, (slot, built) in enumerate(zip(slots, specify(slots, target.dims).slots, strict=True)):
        made = zip(built.liv.groups, built.features_from, strict=True)
        parts.append(Part(slot.liv, "".join(group.role for group, maker in made if maker != i)))
    return tuple(parts)


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """The latencies of parts at a target, as far as they were measured.

    Attributes:
        target: where models are built.
        depth: the slots that models have there, which decide how much memory their decoding reads.
        rows: by the key of the part; more may be added.
    """

    target: Target
    depth: int
    rows: dict[str, Measured] = field(default_factory=dict)

    @property
    def setting(self) -> Target:
        """Return the target with the depth: all that latencies depend on besides the machine."""
        return replace(self.target, num_slots=self.depth)

    def missing(self, genomes: Iterable[Genome]) -> list[Part]:
        """Return the parts of these genomes that were not measured, each once."""
        parts = {part.key: part for genome in genomes for part in (*parts_of(genome, self.target), FRAME)}
        return [part for key, part in parts.items() if key not in self.rows]

    def itemise(self, genome: Genome) -> list[Latency]:
        """Return the latency of each slot of a genome all parts of which were measured."""
        return [self.rows[part.key].latency for part in parts_of(genome, self.target)]

    def total(self, genome: Genome) -> Latency:
        """Return the latency of the model of such a genome."""
        found = [*self.itemise(genome), self.rows[FRAME.key].latency]
        return Latency(
            prefill_ms=fsum(one.prefill_ms for one in found),
            decode_ms=fsum(one.decode_ms for one in found),
            is_disturbed=any(one.is_disturbed for one in found),
        )
