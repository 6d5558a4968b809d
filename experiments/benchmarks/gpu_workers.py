"""Proxies an hour by the number of workers that share one device.

Each worker is a process that trains proxies of random genomes one after another, as a search does; all begin at once,
and proxies are counted that end within the time. The same genomes in the same order are trained by any number of
workers. On a CPU, where a worker takes a core, the table shows how far cores are independent.

    python experiments/benchmarks/gpu_workers.py [--device cpu] [--workers 1 2 4 8] [--seconds 60]
"""

import argparse
import time
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import torch
from measuring.page import Page, Table

from star.architecture.catalogue import find_scale
from star.architecture.genome import Space, canonical, genome_hash
from star.cost.target import Target
from star.data.corpus import load_corpus
from star.evaluation.evaluate import EvaluationSettings, evaluate
from star.records import Job, Status, Task

GENOMES = 64  # of which each worker takes every n-th, over and over
READING = """\
Proxies of random genomes of the paper's deck, with the recipe of the scale. A worker counts what ends within
{seconds:g} seconds, after one proxy that is not counted. "of one" is the rate divided by that of one worker."""


def work(number: int, workers: int, scale_name: str, device: str, seconds: float, start: Barrier, counts) -> None:
    """Train proxies until the time is over; put into `counts` how many ended well."""
    scale, rng = find_scale(scale_name), np.random.default_rng(0)
    genomes = [canonical(Space(scale.num_slots, "paper").sample(rng)) for _ in range(GENOMES)][number::workers]
    settings = EvaluationSettings(
        scale=scale, target=Target(dims=scale.dims, context=scale.dims.seq_len, dtype_bytes=2), device=device
    )
    corpus = load_corpus(("stdlib",), 32 << 20)

    def train(i: int) -> bool:
        genome = genomes[i % len(genomes)]
        task = Task(genome=genome, hash=genome_hash(genome), seed=0)
        return evaluate(Job(task=task), settings, corpus).evaluation.status is Status.OK

    train(0)
    start.wait()
    end, trained, i = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        is_trained = train(i)
        trained += is_trained and time.monotonic() < end
        i += 1
    counts.put(trained)


def count(workers: int, scale: str, device: str, seconds: float) -> int:
    """Return how many proxies so many workers train."""
    context = get_context("spawn")
    start, counts = context.Barrier(workers), context.Queue()
    given = workers, scale, device, seconds, start, counts
    processes = [context.Process(target=work, args=(number, *given)) for number in range(workers)]
    for one in processes:
        one.start()
    total = sum(counts.get() for _ in processes)
    for one in processes:
        one.join()
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--scale", default="nano")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--out", type=Path, help="write the page to this file instead of printing it")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rates = [count(one, given.scale, given.device, given.seconds) * 3600 / given.seconds for one in given.workers]
    rows = [
        (f"{one}", f"{rate:,.0f}", f"{rate / rates[0]:.2f}") for one, rate in zip(given.workers, rates, strict=True)
    ]
    table = Table(given.scale, "", ("workers", "proxies an hour", "of one"), rows)
    reading = READING.format(seconds=given.seconds)
    Page("Proxies an hour by workers", reading, [table], torch.device(given.device)).deliver(given.out)


if __name__ == "__main__":
    main()
