"""Does a child that begins with its parents' weights rank as it would after a longer training from random ones?

Trains a population, breeds children from it as a search does, and trains each child three times: cold, warm (with the
weights that `star.run.inheritance.inherit` gives it) and cold on so many times the tokens. Prints validation bits
per byte of each, and Kendall's tau between the order after either short proxy and the order after the long one. One
process a core, one thread a process.

    python experiments/benchmarks/warm_weights.py --children 24 --longer 4
    python experiments/benchmarks/warm_weights.py --quick
"""

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from statistics import mean

from scipy.stats import kendalltau

from star.architecture.genome import canonical, decode, genome_hash
from star.data.corpus import Corpus, load_corpus
from star.evaluation.evaluate import evaluate
from star.records import Arrays, Genome, Individual, Job, Result, Status, Task, derive_seed
from star.run.evolve import evaluation_settings
from star.run.inheritance import inherit
from star.run.plan import plan_run
from star.run.settings import Settings
from star.search.plan import Proposal
from star.search.search import Search


@dataclass(frozen=True, kw_only=True)
class Child:
    """One genome, the share of its slots with inherited weights, and bits per byte after the three trainings."""

    task: Task
    share: float
    cold: float
    warm: float
    longer: float


@lru_cache(1)
def read_corpus() -> Corpus:
    return load_corpus(("stdlib",), 1 << 25)


def train(work: tuple[Job, Settings]) -> Result:
    """Run one job at the scale of a run."""
    job, config = work
    return evaluate(job, evaluation_settings(plan_run(config)), read_corpus())


def make_task(genome: Genome, config: Settings) -> Task:
    genome = canonical(genome)
    hash = genome_hash(genome)
    return Task(genome=genome, hash=hash, seed=derive_seed(config.seed, hash))


def breed(
    config: Settings, number: int, pool: ProcessPoolExecutor
) -> tuple[list[Proposal], dict[int, tuple[Genome, Arrays]]]:
    """Return children of a trained population, and the genome and weights of each sound parent by id."""
    columns = plan_run(config).columns
    search = Search(plan_run(config).search)
    proposals = search.ask(config.population)
    results = list(pool.map(train, [(Job(task=make_task(one.genome, config)), config) for one in proposals]))
    search.tell([individual(one, result, columns) for one, result in zip(proposals, results, strict=True)])
    weights = {
        one.id: (one.genome, result.weights)
        for one, result in zip(proposals, results, strict=True)
        if result.evaluation.status is Status.OK
    }
    return search.ask(number), weights


def individual(proposal: Proposal, result: Result, columns: Sequence[str]) -> Individual:
    evaluation = result.evaluation
    return Individual(
        id=proposal.id,
        genome=proposal.genome,
        hash=evaluation.hash,
        generation=0,
        parents=proposal.parents,
        status=evaluation.status,
        objectives={name: evaluation.objectives[name] for name in columns if evaluation.objectives},
        rank=0,
        crowding=0.0,
    )


def measure(config: Settings, number: int, longer: int, pool: ProcessPoolExecutor) -> list[Child]:
    """Return the children whose three trainings all succeeded."""
    children, weights = breed(config, number, pool)
    tasks = [make_task(child.genome, config) for child in children]
    taken = [
        inherit(task.genome, [weights[id] for id in child.parents if id in weights])
        for child, task in zip(children, tasks, strict=True)
    ]
    more = replace(config, tokens=longer * config.tokens)
    works = [(Job(task=task), config) for task in tasks]
    works += [(Job(task=task, inherited=arrays), config) for task, arrays in zip(tasks, taken, strict=True)]
    works += [(Job(task=task), more) for task in tasks]
    found = [result.evaluation.objectives.get("quality_bpb") for result in pool.map(train, works)]
    rows = zip(tasks, taken, *(found[i * len(tasks) :][: len(tasks)] for i in range(3)), strict=True)
    return [
        Child(task=task, share=share(task, arrays), cold=cold, warm=warm, longer=last)
        for task, arrays, cold, warm, last in rows
        if None not in (cold, warm, last)
    ]


def share(task: Task, arrays: Arrays) -> float:
    """Return the share of slots that begin with inherited weights."""
    slots = {name.split(".")[1] for name in arrays if name.startswith("layers.")}
    return len(slots) / max(1, len(decode(task.genome)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="nano")
    parser.add_argument("--tokens", type=int, help="of a short proxy; the scale's own if not given")
    parser.add_argument("--longer", type=int, default=4, help="so many times the tokens decide what the order is")
    parser.add_argument("--parents", type=int, default=16, help="size of the population")
    parser.add_argument("--children", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="few children, short proxies: to see that it works")
    arguments = parser.parse_args()
    sizes = (6, 6, 8_192) if arguments.quick else (arguments.parents, arguments.children, arguments.tokens)
    parents, number, tokens = sizes
    settings = Settings(
        scale=arguments.scale, population=parents, tokens=tokens, seed=arguments.seed, ranking="loss", rungs=1
    )
    config = plan_run(settings).settings
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        children = measure(config, number, arguments.longer, pool)
    print(f"| child | slots inherited | cold | warm | cold on {arguments.longer} times {config.tokens:,} tokens |")
    print("| --- | --- | --- | --- | --- |")
    for child in sorted(children, key=lambda child: child.longer):
        print(f"| {child.task.hash} | {child.share:.0%} | {child.cold:.3f} | {child.warm:.3f} | {child.longer:.3f} |")
    last = [child.longer for child in children]
    for name, values in (("cold", [one.cold for one in children]), ("warm", [one.warm for one in children])):
        print(f"Kendall's tau of {name} with the longer training: {kendalltau(values, last).statistic:.2f}")
    print(f"warm less cold, mean: {mean(child.warm - child.cold for child in children):+.3f} bits per byte")


if __name__ == "__main__":
    main()
