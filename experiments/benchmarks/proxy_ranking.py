"""Does the order of architectures after a short proxy agree with their order after a longer one?

Trains named architectures from scratch at a scale with its recipe, at several budgets, one process a core and one
thread a process, and prints validation bits per byte (mean over seeds) with Kendall's tau between each budget's
order and that of the longest.

    python experiments/benchmarks/proxy_ranking.py --tokens 100000 --tokens 1000000 --seeds 1
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import combinations
from multiprocessing import get_context
from statistics import mean

import torch

from star.architecture import catalogue
from star.architecture.catalogue import find_scale
from star.architecture.genome import decode
from star.architecture.spec import ModelSpec
from star.data.corpus import load_corpus
from star.model.language_model import LanguageModel
from star.training.loop import fit


def train(job: tuple[str, str, int, int, dict[str, float]]) -> tuple[float, float]:
    """Bits per byte and seconds of one architecture: name, scale, tokens, seed, changes to the recipe."""
    name, scale_name, tokens, seed, changes = job
    torch.set_num_threads(1)
    scale = find_scale(scale_name)
    recipe = replace(scale.recipe, tokens=tokens, **changes)
    torch.manual_seed(seed)
    model = LanguageModel(ModelSpec(decode(catalogue.load(name).at(scale.num_slots)), scale.dims))
    result = fit(model, load_corpus(("stdlib",), 1 << 30), recipe, seed)
    return result.quality_bpb, result.seconds


def kendall(one: list[float], other: list[float]) -> float:
    """Kendall's tau between two orders of the same things."""
    pairs = list(combinations(range(len(one)), 2))
    return sum((1 if (one[i] < one[j]) == (other[i] < other[j]) else -1) for i, j in pairs) / len(pairs)


def change(text: str) -> tuple[str, float]:
    key, value = text.split("=")
    return key, float(value) if "." in value else int(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="nano")
    parser.add_argument("--tokens", type=int, action="append", help="a budget; repeat it, the longest last")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--set", type=change, action="append", default=[], help="change the recipe: batch_size=2")
    parser.add_argument("names", nargs="*", default=catalogue.names())
    arguments = parser.parse_args()
    budgets, names = (
        arguments.tokens or [find_scale(arguments.scale).recipe.tokens],
        arguments.names or catalogue.names(),
    )
    keys = [(name, tokens) for name in names for tokens in budgets]
    jobs = [(n, arguments.scale, t, seed, dict(arguments.set)) for n, t in keys for seed in range(arguments.seeds)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        results = list(pool.map(train, jobs))
    rows = {key: results[i * arguments.seeds : (i + 1) * arguments.seeds] for i, key in enumerate(keys)}
    quality = {key: mean(bits for bits, _ in row) for key, row in rows.items()}
    print("| architecture |", " | ".join(f"{tokens:,} tokens | s" for tokens in budgets), "|")
    print("| --- |", " | ".join("--- | ---" for _ in budgets), "|")
    for name in sorted(names, key=lambda name: quality[name, budgets[-1]]):
        cells = [f"{quality[name, t]:.3f} | {mean(s for _, s in rows[name, t]):.1f}" for t in budgets]
        print(f"| {name} |", " | ".join(cells), "|")
    longest = [quality[name, budgets[-1]] for name in names]
    for tokens in budgets[:-1]:
        tau = kendall([quality[name, tokens] for name in names], longest)
        print(f"Kendall's tau of {tokens:,} with {budgets[-1]:,} tokens: {tau:.2f}")


if __name__ == "__main__":
    main()
