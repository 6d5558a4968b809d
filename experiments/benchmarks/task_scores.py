"""Does a synthetic task beside the text make a proxy order architectures better?

Each architecture of the reference (record_long.py) is trained on each task as `star evolve --task` does, on as many
tokens as a proxy. The estimate of proxy.py is then fitted with and without these scores among the values that are
known of an architecture, always without the architecture that it predicts. A score is the training loss over the last
quarter of the steps, which says more than the accuracy where that is still that of chance. Results are kept in
tables/task_scores.json. Proxies are those of the recipe "averaged" in proxy.py.

    python experiments/benchmarks/task_scores.py [--task mqar ...]
"""

import argparse
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from statistics import fmean

import numpy as np
import pyarrow.parquet as pq
import torch
from measuring.page import Page, Table
from measuring.ranking import kendall
from proxy import CORPORA, FEATURES, PROXIES, PROXY, RECORD, Reference, Scores, estimates, read_reference
from record_long import NANO, TABLES, paired_weights

from star.architecture.genome import decode, to_text
from star.architecture.structures import specify
from star.data.synthetic.benchmarks import TASKS
from star.evaluation.estimate import Traits
from star.model.language_model import LanguageModel
from star.records import Genome
from star.training.probe import probe

KEPT = TABLES / "task_scores.json"
DEFAULT = ("mqar", "mad/in-context-recall", "mad/selective-copying")
SEED = 100
READING = """\
Kendall's tau with the long training, 95 % bootstrap interval over architectures. "Loss on" orders by the task alone;
"estimate" is that of a proxy on text, without and with the scores of tasks among the values of an architecture. CPU
seconds are those of all trainings that an order takes."""


def train(work: tuple[str, Genome]) -> tuple[str, str, dict[str, float]]:
    """Train an architecture on a task; return what came of it."""
    name, genome = work
    os.nice(19 - os.nice(0))
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    with paired_weights(SEED):
        model = LanguageModel(specify(decode(genome), NANO.dims))
    begun = time.process_time()
    found = probe(model, TASKS[name], NANO.recipe, SEED)
    seconds = time.process_time() - begun
    last = found.loss_curve[-max(1, len(found.loss_curve) // 4) :]
    return to_text(genome), name, {"loss": fmean(last), "error": found.error, "seconds": seconds}


def table_of(reference: Reference, references: list[Reference], known: dict, names: list[str], rows: list) -> Table:
    """Return the table of one corpus."""
    by_genome = {tuple(row["genome"]): row for row in rows if row["corpus"] == reference.corpus}
    own, last = [by_genome[genome] for genome in reference.genomes], len(PROXIES["averaged"].marks) - 1
    losses = np.array([row["averaged"]["all"][-PROXY:] for row in own])
    text = fmean(row["seconds"][last] for row in own)
    scores = {name: [known[to_text(genome)][name] for genome in reference.genomes] for name in names}
    seconds = {name: fmean(one["seconds"] for one in scores[name]) for name in names}

    def estimate_with(*tasks: str) -> Scores:
        def traits(genome: Genome) -> Traits:
            plain, own = FEATURES(genome), known[to_text(genome)]
            return plain._replace(values=(*plain.values, *(own[task]["loss"] for task in tasks)))

        spent = text + sum(seconds[task] for task in tasks)
        found = estimates(losses, spent, reference, references, traits)[0]
        return replace(found, name=" and ".join(("estimate from text", *tasks)))

    orders = [Scores(f"loss on {one}", np.array([row["loss"] for row in scores[one]]), seconds[one]) for one in names]
    orders += [estimate_with(), *map(estimate_with, names), estimate_with(*names)]
    lines = [(one.name, kendall(one.values, reference.truth).text(2), f"{one.seconds:.1f}") for one in orders]
    note = ", ".join(f"{name}: {fmean(one['error'] for one in scores[name]):.2f}" for name in names)
    title = f"Orders of {len(reference.genomes)} architectures on {reference.corpus}"
    return Table(title, f"Mean error on tasks: {note}.", ("order by", "tau", "seconds"), lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", choices=TASKS, help=f"may be repeated; default {', '.join(DEFAULT)}")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    names = given.task or list(DEFAULT)
    references = [read_reference(corpus) for corpus in CORPORA]
    genomes = dict.fromkeys(genome for one in references for genome in one.genomes)
    known = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    missing = [(name, genome) for genome in genomes for name in names if name not in known.get(to_text(genome), {})]
    with ProcessPoolExecutor(given.processes, mp_context=get_context("spawn")) as pool:
        for genome, name, found in pool.map(train, missing):
            known.setdefault(genome, {})[name] = found
            KEPT.write_text(json.dumps(known, indent=1) + "\n")
    rows = [row for row in pq.read_table(RECORD).to_pylist() if row["recipe"] == "averaged"]
    tables = [table_of(one, references, known, names, rows) for one in references]
    Page("Synthetic tasks beside text", READING, tables, torch.device("cpu")).deliver(None)


if __name__ == "__main__":
    main()
