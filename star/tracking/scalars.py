"""The scalars of a generation."""

from statistics import median

from star.records import Generation, Status

COUNTS = (
    "hypervolume",
    "evaluations",
    "tokens",
    "longer",
    "duplicates_avoided",
    "repaired",
    "turned_away",
)


def of_generation(generation: Generation) -> dict[str, float]:
    """Return what the record of a generation says in numbers: counts so far, failures by cause, the least of each
    objective over the front and its median over the trained individuals of the population."""
    scalars = {name: float(getattr(generation, name)) for name in COUNTS} | {"front_size": float(len(generation.front))}
    scalars |= {f"failures/{cause}": float(count) for cause, count in generation.failures.items()}
    trained = [one.objectives for one in generation.individuals if one.status is Status.OK]
    for kind, rows, summarise in (
        ("front_best", [one.objectives for one in generation.front], min),
        ("population_median", trained, median),
    ):
        for name in rows[0] if rows else ():
            scalars[f"{kind}/{name}"] = float(summarise([row[name] for row in rows]))
    return scalars
