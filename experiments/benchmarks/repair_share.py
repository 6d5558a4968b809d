"""The share of genomes that need repair, by deck and levels: uniform draws, mutants and children of valid genomes; and
the share of class mutations that repair undoes.

python experiments/benchmarks/repair_share.py [--genomes 1000] [--slots 24] [--seed 0]
"""

import argparse
from collections.abc import Callable, Iterable
from math import prod

import numpy as np

from star.architecture.genome import Space, join, split
from star.architecture.genome.operator import CODES, ClassGenes, describe_class, repair_class
from star.architecture.genome.space import CLASS_ALPHABET
from star.architecture.structures import MEANINGS
from star.records import Genome

SPACES = (("paper", "backbone"), ("extended", "backbone"), ("paper", "all"), ("extended", "all"))


def draw_class(rng: np.random.Generator) -> ClassGenes:
    """Draw every gene uniformly over its values."""
    places = rng.integers([len(values) for values in CLASS_ALPHABET]).tolist()
    return tuple(values[place] for values, place in zip(CLASS_ALPHABET, places, strict=True))


def draw_uniform(space: Space, rng: np.random.Generator) -> Genome:
    """Draw every integer of every level uniformly over its values."""
    low, high = space.bounds()
    deck = tuple(draw_class(rng) for _ in range(space.num_classes))
    return join(deck, tuple(rng.integers(low, high + 1).tolist()))


def shares(genomes: Iterable[Genome], space: Space) -> str:
    """Return the percentages of genomes and of their classes that need repair."""
    genomes = list(genomes)
    whole = np.mean([space.repair(genome) != genome for genome in genomes])
    classes = [repair_class(one) != one for genome in genomes for one in split(genome)[0]]
    return f"{whole:7.1%} {np.mean(classes) if classes else 0:7.1%}"


def undone(parents: list[Genome], mutants: list[Genome]) -> str:
    """Return the percentage of mutated classes that repair restores."""
    before, after = ([one for genome in genomes for one in split(genome)[0]] for genomes in (parents, mutants))
    pairs = zip(before, after, strict=True)
    same = [describe_class(a) == describe_class(repair_class(b)) for a, b in pairs if a != b]
    return f"{np.mean(same) if same else 0:10.1%}"


def measure(space: Space, parent: Callable[[], Genome], count: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Return the shares among mutants and among children of parents from `parent`, and of undone mutations."""
    parents = [parent() for _ in range(count)]
    mutants = [space.mutate(one, rng) for one in parents]
    children = [child for _ in range(count // 2) for child in space.crossover(parent(), parent(), rng)]
    return shares(mutants, space), shares(children, space), undone(parents, mutants)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genomes", type=int, default=1_000)
    parser.add_argument("--slots", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    drawn = [draw_class(rng) for _ in range(10 * options.genomes)]
    changed = np.array([np.not_equal(repair_class(one), one).sum() for one in drawn])
    print(f"{len(MEANINGS)} of {prod(len(codes) for _, codes in CODES)} combinations of structure codes mean something")
    print(f"{len(drawn):,} classes drawn uniformly: {(changed > 0).mean():.2%} need repair")
    print(f"it changes {changed.mean():.1f} of their {len(drawn[0])} genes\n")
    print(f"{'deck':9} {'levels':9} {'parents':16} {'uniform':>15} {'mutants':>15} {'children':>15} {'undone':>11}")
    print(f"{'':35}{' genomes classes' * 3}     classes")
    for deck, levels in SPACES:
        space = Space(options.slots, deck, levels)
        uniform = [draw_uniform(space, rng) for _ in range(options.genomes)]
        kinds = {"sampled": lambda space=space: space.sample(rng)}
        if levels == "all":
            kinds["drawn, repaired"] = lambda space=space: space.repair(draw_uniform(space, rng))
        for kind, parent in kinds.items():
            found = shares(uniform, space), *measure(space, parent, options.genomes, rng)
            print(f"{deck:9} {levels:9} {kind:16}{' '.join(found)}")


if __name__ == "__main__":
    main()
