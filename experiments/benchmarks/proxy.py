"""How well does a short training order architectures? Compare recipes with trainings of 30 times the tokens.

A recipe says how a proxy is trained. Each architecture of the reference (record_long.py) is trained once by a recipe,
from a seed of its own, so that it shares no noise with the reference. Tables give, for each recipe and budget,
Kendall's tau and Spearman's correlation with the reference, with bootstrap intervals over architectures, for the plain
loss and for the estimate of `star evolve --ranking estimate` (star/evaluation/estimate.py), fitted to the reference
without the architecture that it predicts, or without its whole family. Every table holds the order by parameter count
and the noise ceiling: how well a second long training, from another seed, orders the same architectures.

    python experiments/benchmarks/proxy.py --recipe cosine --recipe averaged     train what is missing of these
    python experiments/benchmarks/proxy.py --report [--write]                    print tables; --write docs/proxy.md
"""

import argparse
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from measuring.page import ROOT, Page, Table
from measuring.ranking import front_share, kendall, kendall_gain, spearman
from record_long import (
    CORPORA,
    LENGTH,
    MARKS,
    NANO,
    SEEDS,
    TABLE,
    TABLES,
    UNIT,
    Architecture,
    Job,
    read_architectures,
    train,
    train_all,
)

from star.architecture.genome import decode, genome_hash
from star.architecture.scales import Recipe
from star.architecture.structures import FAMILIES
from star.evaluation.estimate import COSTS, Estimate, Estimator, Features, Observation, Traits
from star.records import Genome, derive_seed
from star.run.ranking import EARLY, LONGER

RECORD = TABLES / "proxies.parquet"
PAGE = ROOT / "docs" / "proxy.md"
DEFAULT = "averaged"  # the recipe of `star evolve --ranking estimate`
LEAST = 16  # architectures in a table
SEED = 100  # of proxies: none of the reference's
LADDER = (UNIT // EARLY, *(UNIT * times for times in (1, *LONGER)))  # the marks of an estimate, before the end
PROXY = 2  # of these marks are of a proxy
FEATURES = Features(NANO.dims)
ANYTIME = replace(
    NANO.recipe,
    learning_rate=NANO.recipe.learning_rate / 2,
    matrix_learning_rate=NANO.recipe.matrix_learning_rate / 2,
    schedule="inverse_sqrt",
    average=8.0,
)
HEADINGS = (
    "order by",
    "tau",
    "ahead of count",
    "Spearman",
    "tau, neighbours",
    "tau, between families",
    "share",
    "within 1, 2 errors",
    "seconds",
)
READING = """\
Each architecture of the reference was trained to 30 times the tokens of the default proxy. Tau is Kendall's
correlation of an order with that of the reference; intervals are 95 % bootstrap intervals over architectures. "Loss"
orders by the proxy's own bits per byte, "estimate" by what `star evolve --ranking estimate` makes of the losses so
far (after a third of a proxy's tokens, all of them, 4 and 16 times as many), of parameters, FLOPs, cache and
operators: fitted to both corpora without the architecture that it predicts, or without its whole family. "No
training" is the estimate from costs and operators alone. "Same training" is the long training itself on its way,
which shares its seed. "Ahead of count" is tau less that of the parameter count, with the interval of this difference.
"Within 1, 2 errors" is the share of architectures whose long loss is within so many standard errors of the estimate.
Seconds are CPU seconds of one training on one thread, recorded on machines of different speed."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A way to train a proxy. With paired batches all see the same in the same order, else each draws its own; with
    paired weights similar architectures begin with equal weights; `shift` are the taps of a residual causal kernel over
    the input of each slot, which the architectures of the reference do not have.
    """

    recipe: Recipe
    paired_batches: bool = True
    paired_weights: bool = False
    shift: int = 0

    @property
    def marks(self) -> tuple[int, ...]:
        """Return the steps after which it is measured: a ninth, a third and all of them."""
        return tuple(self.recipe.steps // part for part in (9, 3, 1))


def scaled(factor: float) -> dict[str, float]:
    """Return the learning rates of the any-time recipe times a factor."""
    return {name: getattr(ANYTIME, name) * factor for name in ("learning_rate", "matrix_learning_rate")}


PROXIES: dict[str, Proxy] = {
    "cosine": Proxy(NANO.recipe, paired_batches=False),
    "cosine, paired": Proxy(NANO.recipe),
    "averaged": Proxy(ANYTIME),
    "averaged, paired weights": Proxy(ANYTIME, paired_weights=True),
    "averaged, token shift": Proxy(ANYTIME, shift=4),
    "averaged, half rate": Proxy(replace(ANYTIME, **scaled(0.5))),
    "averaged, double rate": Proxy(replace(ANYTIME, **scaled(2.0))),
    "averaged, batches of 4": Proxy(replace(ANYTIME, batch_size=4)),
    "averaged, batches of 16": Proxy(replace(ANYTIME, batch_size=16)),
    "averaged, windows of 64": Proxy(replace(ANYTIME, seq_len=64, batch_size=16)),
}


def train_proxy(task: tuple[str, str, Architecture]) -> dict[str, object]:
    """Train one architecture by a recipe on a corpus and return its row."""
    name, corpus, architecture = task
    proxy = PROXIES[name]
    seed = SEED if proxy.paired_batches else derive_seed(SEED, genome_hash(architecture.genome))
    dims = replace(NANO.dims, style=replace(NANO.dims.style, shift=proxy.shift))
    row = train(Job(corpus, architecture, seed), proxy.recipe, proxy.marks, proxy.paired_weights, dims)
    return {"recipe": name} | row


@dataclass(frozen=True, eq=False)
class Reference:
    """The architectures of the reference on one corpus: their long losses by seed, NaN where a seed is not trained yet,
    and what is known of each for free."""

    corpus: str
    genomes: list[tuple[int, ...]]
    kinds: np.ndarray
    families: np.ndarray
    losses: np.ndarray  # (N, seeds)
    curves: np.ndarray  # (N, marks): averaged losses on the way, from the first seed
    seconds: np.ndarray  # (N, marks)
    costs: np.ndarray  # (N, 3): parameters, bytes of cache, FLOPs per token

    @property
    def truth(self) -> np.ndarray:
        """Return the long loss of each architecture from the first seed."""
        return self.losses[:, 0]

    @property
    def between(self) -> np.ndarray:
        """Return which pairs are of different families: (N, N)."""
        return self.families[:, None] != self.families[None, :]

    @property
    def neighbours(self) -> np.ndarray:
        """Return which pairs are both from fronts of real runs: (N, N)."""
        front = self.kinds == "front"
        return front[:, None] & front[None, :]

    def take(self, mask: np.ndarray) -> "Reference":
        """Return the part of these architectures: (N,)."""
        known = {one.name: getattr(self, one.name) for one in fields(self)}
        arrays = {name: values[mask] for name, values in known.items() if isinstance(values, np.ndarray)}
        return replace(self, genomes=[one for one, taken in zip(self.genomes, mask, strict=True) if taken], **arrays)

    def observe(
        self, traits: Callable[[Genome], Traits] = FEATURES, ladder: Sequence[int] = LADDER
    ) -> list[Observation]:
        """Return the whole training of each architecture, as an estimate is fitted to it."""
        places = [MARKS.index(mark) for mark in ladder]
        return [
            Observation(self.corpus, traits(genome), (*curve[places].tolist(), float(last)))
            for genome, curve, last in zip(self.genomes, self.curves, self.truth, strict=True)
        ]


def read_reference(corpus: str, table: Path = TABLE) -> Reference:
    """Return the finished trainings of the reference on one corpus."""
    rows = [row for row in pq.read_table(table).to_pylist() if row["corpus"] == corpus]
    length = max(len(row["seconds"]) for row in rows)
    found: dict[tuple[int, ...], dict[int, dict]] = {}
    for row in rows:
        if len(row["seconds"]) == length:  # the others diverged
            found.setdefault(tuple(row["genome"]), {})[row["seed"]] = row
    known = {genome: seeds for genome, seeds in found.items() if SEEDS[0] in seeds}
    first = [seeds[SEEDS[0]] for seeds in known.values()]
    nan = {"latest": {"all": [np.nan]}}
    return Reference(
        corpus=corpus,
        genomes=list(known),
        kinds=np.array([row["kind"] for row in first]),
        families=np.array([family_of(genome) for genome in known]),
        losses=np.array([[seeds.get(i, nan)["latest"]["all"][-1] for i in SEEDS] for seeds in known.values()]),
        curves=np.array([row["averaged"]["all"] for row in first]),
        seconds=np.array([row["seconds"] for row in first]),
        costs=np.array([[row["params"], row["cache_bytes"], row["flops_per_token"]] for row in first]),
    )


def count_families(genome: tuple[int, ...]) -> Counter[int]:
    """Return the number of slots of each token mixing; experts and gated units are one."""
    return Counter(slot.liv.token_mixing for slot in decode(genome))


def family_of(genome: tuple[int, ...]) -> str:
    """Return the token mixing that most slots have besides memoryless ones, and "mixed" where two are level."""
    ranked = Counter({one: n for one, n in count_families(genome).items() if one != min(FAMILIES)}).most_common(2)
    if not ranked or len(ranked) == 2 and ranked[0][1] == ranked[1][1]:
        return "mixed"
    return ranked[0][0].name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True)
class Scores:
    """An order of the architectures of a reference: lower is better. `seconds` are CPU seconds for each; `errors` are
    the standard errors of estimates."""

    name: str
    values: np.ndarray
    seconds: float
    errors: np.ndarray | None = None


def proxy_scores(
    name: str, reference: Reference, references: Sequence[Reference], rows: Sequence[dict], mark: int
) -> list[Scores]:
    """Return the orders that a recipe gives by its mark."""
    by_genome = {tuple(row["genome"]): row for row in rows}
    own = [by_genome[genome] for genome in reference.genomes]
    kind = "averaged" if PROXIES[name].recipe.average else "latest"
    losses = np.array([row[kind]["all"][: mark + 1] for row in own])
    seconds = float(np.mean([row["seconds"][mark] for row in own]))
    if mark + 1 < len(PROXIES[name].marks):
        return [Scores("loss", losses[:, -1], seconds)]
    return scores_of(losses[:, -PROXY:], seconds, reference, references)


def scores_of(
    losses: np.ndarray, seconds: float, reference: Reference, references: Sequence[Reference]
) -> list[Scores]:
    """Return the orders by losses at the first marks of the ladder (N, marks): by the last, and by estimates without
    architecture and family."""
    return [Scores("loss", losses[:, -1], seconds), *estimates(losses, seconds, reference, references)]


def estimates(
    losses: np.ndarray,
    seconds: float,
    reference: Reference,
    references: Sequence[Reference],
    traits: Callable[[Genome], Traits] = FEATURES,
    ladder: Sequence[int] = LADDER,
) -> list[Scores]:
    """Return the orders by estimates from traits and losses at the first marks of the ladder (N, marks)."""
    known = [
        Observation(reference.corpus, traits(genome), tuple(own))
        for genome, own in zip(reference.genomes, losses.tolist(), strict=True)
    ]
    whole = [
        pair for one in references for pair in zip(one.observe(traits, ladder), one.genomes, one.families, strict=True)
    ]
    found = []
    for name, place, groups in (
        ("estimate", 1, reference.genomes),
        ("estimate, family left out", 2, reference.families.tolist()),
    ):
        values: dict[int, Estimate] = {}
        for left_out in dict.fromkeys(groups):
            estimator = Estimator([row[0] for row in whole if row[place] != left_out], len(ladder) + 1)
            values |= {i: estimator.estimate(known[i]) for i, group in enumerate(groups) if group == left_out}
        means, errors = np.array([(values[i].mean, values[i].error) for i in range(len(known))]).T
        found.append(Scores(name, means, seconds, errors))
    return found


def baselines(reference: Reference, references: Sequence[Reference]) -> list[Scores]:
    """Return the orders that cost nothing."""
    untrained = estimates(np.empty((len(reference.genomes), 0)), 0.0, reference, references)
    return [
        Scores("parameter count", -reference.costs[:, 0], 0.0),
        *(replace(one, name=f"no training: {one.name}") for one in untrained),
    ]


def cells(scores: Scores, reference: Reference) -> tuple[str, ...]:
    """Return the figures of one order."""
    count = -reference.costs[:, 0]
    is_count = np.array_equal(scores.values, count)
    return (
        kendall(scores.values, reference.truth).text(2),
        "-" if is_count else kendall_gain(scores.values, count, reference.truth).text(2),
        spearman(scores.values, reference.truth).text(2),
        kendall(scores.values, reference.truth, reference.neighbours).text(2),
        kendall(scores.values, reference.truth, reference.between).text(2),
        f"{front_share(scores.values, reference.truth, reference.costs[:, :2]):.0%}",
        "-" if scores.errors is None else covered(scores, reference.truth),
        f"{scores.seconds:.1f}",
    )


def covered(scores: Scores, truth: np.ndarray) -> str:
    """Return the shares of the architectures whose long loss is within one and two standard errors of the estimate."""
    surprise = np.abs(scores.values - truth) / scores.errors
    return ", ".join(f"{(surprise <= most).mean():.0%}" for most in (1, 2))


def ceiling(reference: Reference) -> tuple[str, ...]:
    """Return the figures of the reference with itself from another seed, over the architectures that have one."""
    has_other = np.isfinite(reference.losses[:, 1])
    if has_other.sum() < 3:
        return ("-",) * 8
    first, second = reference.losses[has_other, 0], reference.losses[has_other, 1]
    return (kendall(first, second).text(2), "-", spearman(first, second).text(2), *("-",) * 5)


def table_of(reference: Reference, references: Sequence[Reference], rows: Sequence[dict]) -> Table:
    """Return the table of one corpus; estimates are fitted to all references."""
    lines: list[tuple[str, ...]] = [("noise ceiling: another seed", *ceiling(reference))]
    lines += [(one.name, *cells(one, reference)) for one in baselines(reference, references)]
    places = [MARKS.index(mark) for mark in LADDER]
    for passed, steps in list(enumerate(LADDER, start=1))[PROXY - 1 :]:
        losses, seconds = reference.curves[:, places[:passed]], float(reference.seconds[:, places[passed - 1]].mean())
        found = scores_of(losses, seconds, reference, references)
        lines += [(f"same training, {steps} steps: {one.name}", *cells(one, reference)) for one in found]
    for name, proxy in PROXIES.items():
        own = [row for row in rows if row["recipe"] == name and row["corpus"] == reference.corpus]
        if set(reference.genomes) <= genomes_of(own):
            for mark, steps in enumerate(proxy.marks):
                scores = proxy_scores(name, reference, references, own, mark)
                lines += [(f"{name}, {steps} steps: {one.name}", *cells(one, reference)) for one in scores]
    number = len(reference.genomes)
    return Table(
        f"Orders of {number} architectures on {reference.corpus}",
        f"{(reference.kinds == 'front').sum()} of them are neighbours from fronts. Share is that of the reference "
        "front's hypervolume that one gets by taking the front of this order.",
        HEADINGS,
        lines,
    )


def frontier_table(table: Table, corpus: str) -> Table:
    """Return the orders of a table than which no cheaper one is better, by their seconds."""
    rows = sorted(table.rows[1:], key=lambda row: (float(row[-1]), -float(row[1].split()[0])))  # below the ceiling
    best, kept = -1.0, [table.rows[0]]
    for row in rows:
        if (tau := float(row[1].split()[0])) > best:
            best = tau
            kept.append(row)
    title = f"Frontier of tau and seconds on {corpus}"
    note = "Orders than which no cheaper one is better. Only the same training shares its seed with the reference."
    return Table(title, note, ("order by", "tau", "seconds"), [(row[0], row[1], row[-1]) for row in kept])


def without_cache(genome: Genome) -> Traits:
    """Return the traits of a genome without the bytes of its cache."""
    known = FEATURES(genome)
    place = COSTS.index("log_cache")
    return known._replace(values=known.values[:place] + known.values[place + 1 :])


def input_table(reference: Reference, references: Sequence[Reference]) -> Table:
    """Return the table of estimates by the same training after a proxy's tokens that have fewer inputs."""
    lines = []
    for name, traits, ladder in (
        ("no cache", without_cache, LADDER),
        ("no early loss", FEATURES, LADDER[1:]),
        ("neither", without_cache, LADDER[1:]),
    ):
        places = [MARKS.index(mark) for mark in ladder if mark <= UNIT]
        seconds = float(reference.seconds[:, places[-1]].mean())
        found = estimates(reference.curves[:, places], seconds, reference, references, traits, ladder)
        lines += [(f"{name}: {one.name}", *cells(one, reference)) for one in found]
    note = f"Beside the estimates by the same training after {UNIT} steps above, which have all inputs."
    return Table(f"Inputs of the estimate on {reference.corpus}", note, HEADINGS, lines)


def lever_table(reference: Reference, references: Sequence[Reference], rows: Sequence[dict]) -> Table:
    """Return the table of recipes that not all architectures were trained by, beside the default one on the same."""
    lines = []
    for name in PROXIES:
        own, usual = (
            [row for row in rows if row["recipe"] == one and row["corpus"] == reference.corpus]
            for one in (name, DEFAULT)
        )
        shared = genomes_of(own) & genomes_of(usual) & set(reference.genomes)
        if len(shared) < LEAST or len(shared) == len(reference.genomes):
            continue
        part = reference.take(np.array([genome in shared for genome in reference.genomes]))
        for recipe, known in ((name, own), (DEFAULT, usual)):
            scores = proxy_scores(recipe, part, references, known, len(PROXIES[recipe].marks) - 1)
            lines += [(f"{len(shared)} by {recipe}: {one.name}", *cells(one, part)) for one in scores]
    note = "Each beside the default recipe on the same architectures, at the end of a proxy."
    return Table(f"Recipes that only a part was trained by, on {reference.corpus}", note, HEADINGS, lines)


def genomes_of(rows: Sequence[dict]) -> set[tuple[int, ...]]:
    """Return the architectures of rows."""
    return {tuple(row["genome"]) for row in rows}


def named_table(reference: Reference, references: Sequence[Reference], rows: Sequence[dict]) -> Table:
    """Return the table of how the named patterns are ordered: by parameter count, by the loss and the estimate of a
    proxy, and by the estimate of a search, which is fitted to all references, these patterns included."""
    named = reference.kinds == "named"
    later = {f"tau with {times} times": reference.curves[:, MARKS.index(times * UNIT)] for times in (4, 10)}
    later |= {f"tau with {LENGTH} times": reference.truth}

    def line(name: str, values: np.ndarray) -> tuple[str, ...]:
        return (name, *(kendall(values[named], truth[named]).text(2) for truth in later.values()))

    lines = [line("parameter count", -reference.costs[:, 0])]
    for recipe in ("cosine", "averaged"):
        own = {
            tuple(row["genome"]): row for row in rows if (row["recipe"], row["corpus"]) == (recipe, reference.corpus)
        }
        if not set(reference.genomes) <= set(own):
            continue
        last = len(PROXIES[recipe].marks) - 1
        scores = proxy_scores(recipe, reference, references, list(own.values()), last)
        lines += [line(f"{recipe}: {one.name}", one.values) for one in scores]
        if PROXIES[recipe].recipe.average:
            estimator = Estimator([row for one in references for row in one.observe()], len(LADDER) + 1)
            losses = [own[genome]["averaged"]["all"][-PROXY:] for genome in reference.genomes]
            known = zip(reference.genomes, losses, strict=True)
            found = [
                estimator.estimate(Observation(reference.corpus, FEATURES(one), tuple(some))).mean
                for one, some in known
            ]
            lines += [line(f"{recipe}: estimate of a search", np.array(found))]
    note = "Loss and estimate after a proxy's tokens, and the loss of the reference after so many times as many."
    return Table(f"Orders of {named.sum()} named patterns on {reference.corpus}", note, ("order by", *later), lines)


def missing(names: Sequence[str], corpora: Sequence[str], rows: Sequence[dict]) -> Iterator[tuple]:
    """Yield the trainings of these recipes that are not recorded, of architectures whose long training is."""
    known = {(row["recipe"], row["corpus"], tuple(row["genome"])) for row in rows}
    trained = {corpus: set(read_reference(corpus).genomes) for corpus in corpora}
    for architecture in read_architectures():
        for name in names:
            for corpus in corpora:
                if architecture.genome in trained[corpus] and (name, corpus, architecture.genome) not in known:
                    yield name, corpus, architecture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", action="append", default=[], choices=PROXIES, help="train these, may be repeated")
    parser.add_argument("--corpus", action="append", help="stdlib or prose; both by default")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--hours", type=float, default=float("inf"), help="begin no training after so many")
    parser.add_argument("--report", action="store_true", help="print the tables")
    parser.add_argument("--write", action="store_true", help="write them to docs/proxy.md")
    given = parser.parse_args()
    rows = pq.read_table(RECORD).to_pylist() if RECORD.exists() else []
    corpora = given.corpus or CORPORA
    train_all(train_proxy, list(missing(given.recipe, corpora, rows)), rows, RECORD, given.processes, given.hours)
    if given.report or given.write:
        references = [read_reference(corpus) for corpus in corpora]
        tables = [table_of(one, references, rows) for one in references]
        tables += [frontier_table(table, one.corpus) for table, one in zip(tables, references, strict=True)]
        tables += [input_table(one, references) for one in references]
        tables += [make(one, references, rows) for make in (lever_table, named_table) for one in references]
        tables = [table for table in tables if table.rows]
        page = Page("What a proxy's ranking is worth", READING, tables, torch.device("cpu"))
        page.deliver(PAGE if given.write else None)


if __name__ == "__main__":
    main()
