"""From what a person types to a genome: a catalogue name, a .toml file, a genome text, or RUN:ID."""

from star import catalogue
from star.records import Genome
from star.spec import UserError


def find_genome(text: str, num_slots: int) -> Genome:
    """The genome that `text` stands for; a name or a .toml file takes `num_slots` slots."""
    run, colon, number = text.rpartition(":")
    return _find_individual(run, number) if colon and number.isdecimal() else catalogue.resolve(text, num_slots)


def _find_individual(path: str, number: str) -> Genome:
    from star.checkpoint import RunDirectory  # pyarrow takes longer to load than most commands to run

    for generation in reversed(RunDirectory(path).open().generations()):
        for individual in generation.individuals:
            if str(individual.id) == number:
                return individual.genome
    raise UserError(f"{path} keeps no individual {number:.40}; `star front {path}` lists some")
