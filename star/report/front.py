"""The front of a run as rows, for `star front` and for tables and pictures."""

from dataclasses import dataclass

from star.architecture.genome import decode, to_text
from star.cost.target import Target
from star.records import Generation, Individual

QUALITY = "quality_bpb"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontRow:
    """One architecture of the front. `genome` is its text, `classes` holds the operator of each slot in order, and
    `costs` all costs at the target of the run. `quality_error` is the standard error of an estimated quality, else 0.
    """

    id: int
    genome: str
    hash: str
    generation: int
    parents: tuple[int, ...]
    classes: tuple[str, ...]
    objectives: dict[str, float]
    costs: dict[str, float]
    quality_error: float = 0.0

    @property
    def brief_genome(self) -> str:
        """Return the genome's text with the number of classes in place of a deck of its own."""
        deck, slash, backbone = self.genome.rpartition("/")
        return f"{deck.count('+') + 1} own/{backbone}" if slash else self.genome

    def as_json(self) -> dict[str, object]:
        """Return the row as a flat JSON object, with one key per cost and objective."""
        return {
            "id": self.id,
            "genome": self.genome,
            "hash": self.hash,
            "generation": self.generation,
            "parents": list(self.parents),
            "classes": list(self.classes),
            **self.costs,
            **self.objectives,
            **({"quality_error": self.quality_error} if self.quality_error else {}),
        }


def front_rows(generation: Generation, target: Target | None = None) -> list[FrontRow]:
    """Return the front of a generation, best first by `quality_of`, with costs if a target is given."""
    rows = [_row(individual, target) for individual in generation.front]
    return sorted(rows, key=lambda row: (quality_of(row.objectives), row.id))


def quality_of(objectives: dict[str, float]) -> float:
    """Return the value to sort by: bits per byte, else the first error in a task, else the first objective."""
    errors = [name for name in objectives if name.startswith("error_")]
    return objectives[next(iter([QUALITY] * (QUALITY in objectives) + errors), next(iter(objectives)))]


def _row(individual: Individual, target: Target | None) -> FrontRow:
    return FrontRow(
        id=individual.id,
        genome=to_text(individual.genome),
        hash=individual.hash,
        generation=individual.generation,
        parents=individual.parents,
        classes=tuple(slot.liv.name for slot in decode(individual.genome)),
        objectives=dict(individual.objectives),
        quality_error=individual.quality_error,
        costs=target.count(individual.genome).columns() if target else {},
    )
