"""From what a person types to a genome: a catalogue name, a .toml file, a genome text, or RUN:ID."""

from star import catalogue
from star.records import Genome, Individual
from star.spec import UserError


def find_genome(text: str, num_slots: int) -> Genome:
    """The genome that `text` stands for; a name or a .toml file takes `num_slots` slots."""
    individual = find_individual(text)
    return individual.genome if individual else catalogue.resolve(text, num_slots)


def find_individual(text: str) -> Individual | None:
    """The individual of a run that RUN:ID stands for, as it was when last kept; None for any other text."""
    path, colon, number = text.rpartition(":")
    if not (colon and number.isdecimal()):
        return None
    from star.checkpoint import RunDirectory  # pyarrow takes longer to load than most commands to run

    for generation in reversed(RunDirectory(path).open().generations()):
        for individual in generation.individuals:
            if str(individual.id) == number:
                return individual
    raise UserError(f"{path} keeps no individual {number:.40}; `star front {path}` lists some")
