"""Genomes that a search begins with: from what a person names to genomes of the run's space."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from star.architecture import catalogue
from star.architecture.genome import (
    DECK,
    DECKS,
    EMPTY,
    Space,
    canonical,
    class_name,
    decode,
    genes_of,
    genome_hash,
    join,
    parse,
    split,
    tile,
)
from star.errors import UserError
from star.evaluation.objectives import QUALITY
from star.records import RANKED, Genome, Individual, Status
from star.run.estimates import read_longer
from star.run.made_with import SEED_NAMES
from star.run.plan import RunPlan, read_plan
from star.run.settings import Settings
from star.storage.run_directory import CONFIG, RunDirectory

EMPTY_SLOT = (EMPTY, 1, 1, 1, 1)


def choose_seeds(plan: RunPlan, note: Callable[[str], None]) -> dict[Genome, str]:
    """Return those that the first generation takes, with their names: of `resolve_seeds` those that may be trained, as
    many as fit into it.

    `note` is given one sentence for each that may not be, and one if there are too many.
    """
    screen, chosen, population = plan.screen(), {}, plan.search.population
    for genome, name in resolve_seeds(plan).items():
        if refusal := screen.refusal(canonical(genome)):
            note(f"seed genome {name[:60]} is left out: {refusal}")
        else:
            chosen[genome] = name
    if len(chosen) > population:
        note(f"of {len(chosen)} seed genomes the first {population} fit into the population")
    return dict(list(chosen.items())[:population])


def resolve_seeds(plan: RunPlan) -> dict[Genome, str]:
    """The genomes that `seed_genomes` names, as genomes of the run's space, each architecture once, with their names.

    A name is one of the catalogue, a .toml file, a genome text, a run directory (its front, best quality first) or
    RUN:ID. UserError if it is none of these, or has no place in the space.
    """
    space = plan.search.space
    found: dict[Genome, tuple[Genome, str]] = {}
    for name in plan.settings.seed_genomes:
        for genome, called in _find(name, space.num_slots):
            placed = _place(genome, space, name)
            found.setdefault(canonical(placed), (placed, called))
    return dict(found.values())


@cache
def named_architectures(num_slots: int) -> dict[str, str]:
    """Return the title of every architecture of the catalogue at that depth, by genome hash. A pattern gives its title
    to the published models that share its hash."""
    found: dict[str, str] = {}
    for named in sorted(map(catalogue.load, catalogue.names()), key=lambda one: one.scale is not None):
        found.setdefault(genome_hash(named.at(num_slots)), named.title)
    return found


def seed_names(settings: Settings) -> dict[str, str]:
    """Return the name of every seed genome of a run by genome hash: its title in the catalogue, or else its text."""
    seeds = {genome_hash(parse(text)): text for text in settings.seed_genomes}
    if not seeds:
        return {}
    return seeds | {hash: title for hash, title in named_architectures(settings.slots).items() if hash in seeds}


def lineage(individual: Individual, seeds: Mapping[str, str]) -> str:
    """Return how an individual was born: "of 12 and 15", "as seed: NAME" or "by sampling"."""
    if individual.parents:
        return f"of {' and '.join(map(str, individual.parents))}"
    is_seed = individual.generation == 0 and individual.hash in seeds
    return f"as seed: {seeds[individual.hash]}" if is_seed else "by sampling"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedResult:
    """The result of a seed genome in a run: its costs, and a quality unless it failed."""

    name: str
    id: int
    status: Status
    objectives: dict[str, float]


def seed_results(run: RunDirectory) -> list[SeedResult]:
    """Return what the seed genomes of a run came to, in their order, wherever they are in its front or population.

    Qualities are those by which the run orders. Those not evaluated yet are left out. In runs that recorded no names
    these are those of `seed_names`.
    """
    plan, known = read_plan(run), run.evaluations()
    hashes = [genome_hash(parse(text)) for text in plan.settings.seed_genomes]
    titles = seed_names(plan.settings)
    names = (run.made_with() or {}).get(SEED_NAMES) or [titles[hash] for hash in hashes]
    latest, scores = run.latest_generation(), None
    if plan.estimation and latest:
        from star.run.scores import Scores  # which loads pymoo

        scores = Scores(plan, run.history(), read_longer(plan, run), latest.number)
    results = []
    for id, (hash, name) in enumerate(zip(hashes, names, strict=True)):  # a search proposes them first, in this order
        if evaluation := known.get(hash):
            values = evaluation.objectives
            if scores and evaluation.status in RANKED:
                values = dict(zip(plan.columns, scores.values(evaluation), strict=True))
            objectives = {column: values[column] for column in plan.columns if column in values}
            results.append(SeedResult(name=name, id=id, status=evaluation.status, objectives=objectives))
    return results


def _find(name: str, num_slots: int) -> list[tuple[Genome, str]]:
    path, colon, number = name.rpartition(":")
    if colon and number.isdecimal():
        return [(RunDirectory(path).open().find_individual(number).genome, name)]
    if (Path(name) / CONFIG).is_file():
        return _front(name)
    try:
        return [(catalogue.resolve(name, num_slots), name)]
    except UserError as error:
        raise UserError(f"seed genome {name[:60]!r}: {error}") from error


def _front(path: str) -> list[tuple[Genome, str]]:
    generation = RunDirectory(path).open().latest_generation()
    front = generation.front if generation else ()
    if not front:
        raise UserError(f"seed genome {path!r}: this run has no front yet")
    best_first = sorted(front, key=lambda one: (one.objectives.get(QUALITY, 0.0), one.id))
    return [(one.genome, f"{path}:{one.id}") for one in best_first]


def _place(genome: Genome, space: Space, name: str) -> Genome:
    """The genome at the depth of the space, spelled as its genomes are."""
    allowed = DECKS[space.deck]
    genome = tile(genome, space.num_slots)
    if EMPTY not in allowed:
        genome = tile(genome, space.num_slots)  # what empty slots left free
    own, backbone = split(genome)
    if space.num_classes:
        own, backbone = _own_deck(genome, space, name)
    elif own:
        raise UserError(f"seed genome {name[:60]!r} has operators that are in no deck; --levels all takes them")
    missing = space.length - len(join(own, backbone))
    genome = join(own, backbone + EMPTY_SLOT * (missing // len(EMPTY_SLOT)))
    for number in sorted(set(backbone[:: len(EMPTY_SLOT)])):
        if not own and number not in allowed or number == EMPTY and EMPTY not in allowed:
            decks = [deck for deck, classes in DECKS.items() if number in classes]
            raise UserError(
                f"seed genome {name[:60]!r} has class {number} ({class_name(number)}), which is not in deck "
                f"{space.deck}; --deck {decks[0]} has it"
            )
    return genome


def _own_deck(genome: Genome, space: Space, name: str) -> tuple[tuple[Genome, ...], Genome]:
    """Return the classes of a genome written out, as many as the space has, and the backbone that counts them."""
    _, backbone = split(genome)
    slots = decode(genome)
    classes = list(dict.fromkeys(genes_of(slot.liv) for slot in slots))
    if len(classes) > space.num_classes:
        raise UserError(
            f"seed genome {name[:60]!r} has {len(classes)} classes, but with --levels all a genome of "
            f"{space.num_slots} slots holds {space.num_classes}: one for every two slots; --slots takes more of them"
        )
    numbers = iter([1 + classes.index(genes_of(slot.liv)) for slot in slots])
    width = len(EMPTY_SLOT)
    renumbered = []
    for start in range(0, len(backbone), width):
        number, *genes = backbone[start : start + width]
        renumbered += (EMPTY if number == EMPTY else next(numbers), *genes)
    filler = classes or [genes_of(DECK[max(DECKS[space.deck])])]
    classes += [filler[i % len(filler)] for i in range(space.num_classes - len(classes))]
    return tuple(classes), tuple(renumbered)
