"""A run directory as a search leaves it, with an invented quality in place of training."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from star.architecture import catalogue
from star.architecture.genome import Space, decode, genome_hash
from star.architecture.spec import ModelSpec
from star.evaluation.objectives import find_objectives
from star.model.language_model import LanguageModel
from star.options import to_toml
from star.records import Evaluation, Generation, Individual, Status, Task
from star.run.plan import plan_run
from star.run.settings import LOSS, Settings
from star.storage.run_directory import RunDirectory


def write_run(
    path: Path, config: Settings, weights: bool = False, failing: float = 0.05, named: tuple[str, ...] = ()
) -> RunDirectory:
    """Evolve by rank alone, every proxy failing with probability `failing`; `weights` are untrained ones, and
    architectures of the catalogue, `named`, are evaluated besides."""
    config = plan_run(replace(config, ranking=config.ranking or LOSS)).settings
    rng, space = np.random.default_rng(config.seed), plan_run(config).search.space
    columns = [objective.column for objective in find_objectives(config.objectives)]
    run = RunDirectory(path).create(to_toml(config, {"star": "0.1.0", "corpus_digest": "c0ffee"}))
    for name in named:
        genome = catalogue.load(name).at(config.slots)
        task = Task(genome=genome, hash=genome_hash(genome), seed=0)
        values = _objectives(genome, config, rng)
        run.append_evaluation(task, Evaluation(hash=task.hash, status=Status.OK, objectives=values))
    alive: list[Individual] = []
    born = failed = 0
    for number in range(config.generations + 1):
        for _ in range(config.offspring if number else config.population):
            one = _born(born, number, alive, config, space, rng, failing)
            evaluation = Evaluation(hash=one.hash, status=one.status, objectives=one.objectives, seconds=1.0)
            run.append_evaluation(Task(genome=one.genome, hash=one.hash, seed=0), evaluation)
            failed += one.status is not Status.OK
            born += 1
            alive.append(one)
        alive = _survivors(alive, columns, config.population)
        run.write_generation(
            Generation(
                number=number,
                individuals=tuple(alive),
                front=tuple(one for one in alive if one.rank == 0 and one.status is Status.OK),
                rng_state="{}",
                next_id=born,
                evaluations=born,
                duplicates_avoided=number,
                repaired=number,
                failures={"diverged": failed} if failed else {},
                hypervolume=1.0 - 0.4 * 0.7**number,
            )
        )
    if weights:
        for one in alive:
            model = LanguageModel(ModelSpec(decode(one.genome), plan_run(config).trained.dims))
            run.save_weights(one.hash, {name: tensor.numpy() for name, tensor in model.weights().items()})
    run.close()
    return run


def _born(
    id: int,
    generation: int,
    alive: list[Individual],
    config: Settings,
    space: Space,
    rng: np.random.Generator,
    failing: float,
) -> Individual:
    parents: tuple[int, ...] = ()
    genome = space.sample(rng)
    if generation:
        a, b = (alive[i] for i in rng.choice(len(alive), 2))
        parents, genome = (a.id, b.id), space.repair(space.mutate(space.crossover(a.genome, b.genome, rng)[0], rng))
    fails = rng.random() < failing
    return Individual(
        id=id,
        genome=genome,
        hash=genome_hash(genome),
        generation=generation,
        parents=parents,
        status=Status.DIVERGED if fails else Status.OK,
        objectives={} if fails else _objectives(genome, config, rng),
        rank=0,
        crowding=0.0,
    )


def _objectives(genome: tuple[int, ...], config: Settings, rng: np.random.Generator) -> dict[str, float]:
    slots = decode(genome)
    cost = plan_run(config).target.count(genome)
    kinds = [slot.liv.token_mixing for slot in slots]
    variety = len(set(kinds)) + 2 * kinds.count(1) / len(kinds)
    quality = 3.3 - 0.1 * variety - 0.02 * np.log1p(cost.cache_bytes) - 0.04 * np.log(cost.params)
    quality += 0.03 * rng.standard_normal()
    return {"quality_bpb": float(quality), "params": float(cost.params), "cache_bytes": float(cost.cache_bytes)}


def _survivors(alive: list[Individual], columns: list[str], size: int) -> list[Individual]:
    ranked: list[Individual] = []
    rest = [one for one in alive if one.status is Status.OK]
    rank = 0
    while rest:
        front = [one for one in rest if not any(_dominates(other, one, columns) for other in rest)]
        ranked += [replace(one, rank=rank) for one in front]
        rest = [one for one in rest if one not in front]
        rank += 1
    ranked += [replace(one, rank=rank) for one in alive if one.status is not Status.OK]
    return ranked[:size]


def _dominates(a: Individual, b: Individual, columns: list[str]) -> bool:
    pairs = [(a.objectives[column], b.objectives[column]) for column in columns]
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)
