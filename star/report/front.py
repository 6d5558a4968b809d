"""The front of a run as rows: what `star front` prints and every table and picture shows."""

from dataclasses import dataclass

from star.architecture.genome import decode, to_text
from star.cost.target import Target
from star.records import Generation, Individual

QUALITY = "quality_bpb"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontRow:
    """One architecture of the front. `genome` is its text, `classes` the operator of every slot in order; `costs` are
    those at the target of the run, objectives or not."""

    id: int
    genome: str
    hash: str
    generation: int
    parents: tuple[int, ...]
    classes: tuple[str, ...]
    objectives: dict[str, float]
    costs: dict[str, float]

    @property
    def brief_genome(self) -> str:
        """Its text without the deck of its own that it may have: how many classes that holds stands in its place."""
        deck, slash, backbone = self.genome.rpartition("/")
        return f"{deck.count('+') + 1} own/{backbone}" if slash else self.genome

    def as_json(self) -> dict[str, object]:
        """The row for machines: one key a field, and one for each cost and objective in place of these two."""
        return {
            "id": self.id,
            "genome": self.genome,
            "hash": self.hash,
            "generation": self.generation,
            "parents": list(self.parents),
            "classes": list(self.classes),
            **self.costs,
            **self.objectives,
        }


def front_rows(generation: Generation, target: Target | None = None) -> list[FrontRow]:
    """The front of a generation, best quality first (by the first objective where quality is none); with costs if a
    target is given."""
    rows = [_row(individual, target) for individual in generation.front]
    return sorted(rows, key=lambda row: (quality_of(row.objectives), row.id))


def quality_of(objectives: dict[str, float]) -> float:
    """The value to sort by: bits per byte, or the error in a synthetic task, or else whatever comes first."""
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
        costs=target.count(individual.genome).columns() if target else {},
    )
