"""Does the order of architectures after a short proxy agree with their order after a longer one?

Train named architectures from scratch at one scale with its recipe and several token budgets, in one process per core
with one thread each. Print validation bits per byte (mean over seeds), and Kendall's tau between the order at each
budget and the order at the longest. Without names the seven patterns of the catalogue are trained.

    python experiments/benchmarks/proxy_ranking.py --tokens 100000 --tokens 1000000 --seeds 1
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from statistics import mean

import torch
from scipy.stats import kendalltau

from star.architecture import catalogue
from star.architecture.catalogue import find_scale
from star.architecture.genome import decode
from star.architecture.spec import ModelSpec
from star.data.corpus import load_corpus
from star.model.language_model import LanguageModel
from star.training.batches import Windows
from star.training.loop import Training
from star.training.loss import measure


def train(job: tuple[str, str, int, int, dict[str, float]]) -> tuple[float, float]:
    """Return bits per byte and seconds of one training: of a name, scale, tokens, seed and changes to the recipe."""
    name, scale_name, tokens, seed, changes = job
    torch.set_num_threads(1)
    scale = find_scale(scale_name)
    recipe = replace(scale.recipe, tokens=tokens, **changes)
    torch.manual_seed(seed)
    model = LanguageModel(ModelSpec(decode(catalogue.load(name).at(scale.num_slots)), scale.dims))
    corpus = load_corpus(("stdlib",), 1 << 30)
    started = time.perf_counter()
    training = Training(model, Windows(corpus.train, recipe), recipe, seed)
    training.advance(recipe.steps)
    return measure(model, corpus.valid, recipe), time.perf_counter() - started


def change(text: str) -> tuple[str, float]:
    """Read a change to the recipe, such as batch_size=2."""
    key, value = text.split("=")
    return key, float(value) if "." in value else int(value)


def read_arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Return the arguments of the command line, or those in `words`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="nano")
    parser.add_argument("--tokens", type=int, action="append", help="a budget; repeat it, the longest last")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--set", type=change, action="append", default=[], help="change the recipe: batch_size=2")
    patterns = [name for name in catalogue.names() if catalogue.load(name).scale is None]
    parser.add_argument("names", nargs="*", default=patterns, help=f"by default {', '.join(patterns)}")
    return parser.parse_args(words)


def main() -> None:
    arguments = read_arguments()
    budgets, names = arguments.tokens or [find_scale(arguments.scale).recipe.tokens], arguments.names
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
        tau = kendalltau([quality[name, tokens] for name in names], longest).statistic
        print(f"Kendall's tau of {tokens:,} with {budgets[-1]:,} tokens: {tau:.2f}")


if __name__ == "__main__":
    main()
