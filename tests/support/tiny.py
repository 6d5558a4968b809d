"""A scale so small that a proxy takes a tenth of a second, a text to train it on, and what to compare of runs."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from star.architecture.catalogue import read_scale
from star.architecture.genome import canonical, genome_hash
from star.cost.target import Target
from star.data.corpus import Corpus, load_corpus
from star.evaluation.evaluate import EvaluationSettings
from star.evaluation.fingerprint import provenance
from star.records import Evaluation, Genome, Job, Result, Status, Task, derive_seed
from star.run.settings import Settings
from star.storage.run_directory import RunDirectory

TINY_TOML = """\
[scale]
slots = 3
d_model = 16
head_dim = 4
vocab_size = 256
seq_len = 16

[recipe]
tokens = 64
batch_size = 2
seq_len = 16
valid_tokens = 64
optimizer = "muon"
learning_rate = 2e-2
matrix_learning_rate = 4e-2
"""
TINY = read_scale(TINY_TOML, "tiny")
CONFIG = Settings(scale="tiny", scale_toml=TINY_TOML, population=6, offspring=5, generations=3, serial=True, store="")
ORIGIN = provenance("cpu")
COLUMNS = ("quality_bpb", "params", "cache_bytes")
SETTINGS = EvaluationSettings(scale=TINY, target=Target(dims=TINY.dims, context=16, dtype_bytes=2))


def write_text(folder: Path) -> str:
    """A file of text in `folder`, as a name for `corpus`."""
    path = folder / "text.txt"
    path.write_text("".join(f"{n} times {n} is {n * n}.\n" for n in range(500)))
    return str(path)


def make_corpus(folder: Path) -> Corpus:
    return load_corpus((write_text(folder),), 1 << 20)


def make_task(genome: Genome, run_seed: int = 0) -> Task:
    genome = canonical(genome)
    hash = genome_hash(genome)
    return Task(genome=genome, hash=hash, seed=derive_seed(run_seed, hash))


def invent(job: Job, settings, corpus) -> Result:
    """In place of `evaluate`: a quality drawn from seed and genome, at once; one genome in eight diverges, another
    late, one in ten when it is trained longer. At a rung it is off by what is left to train, in a direction of its own,
    and so it goes on beyond the end."""
    task = job.task
    recipe = settings.scale.recipe
    # Where training can go on all genomes have one seed.
    rng = np.random.default_rng([task.seed, int(task.hash, 16)] if recipe.is_open_ended else task.seed)
    fate = rng.random()
    if fate < 1 / 8 or fate < 1 / 4 and job.until != 0 or fate > 0.9 and job.tokens:
        return Result(
            task=task, origin=ORIGIN, evaluation=Evaluation(hash=task.hash, status=Status.DIVERGED, error="invented")
        )
    cost = settings.target.count(task.genome)
    quality, drift = 2 + rng.random() + 1e4 / cost.params, rng.random()
    weights = {"w": rng.random(4, dtype=np.float32)}
    rungs = [quality + drift * (1 - stop / recipe.steps) for stop in settings.rungs]
    paused = job.until is not None
    if job.tokens:
        rungs = []
        quality += drift * (recipe.tokens / job.tokens - 1)
    if paused:
        rungs = rungs[: job.until + 1]
        # Killed between the two, a driver leaves a state that is one rung ahead of the evaluation.
        assert not job.state or len(job.state["rungs"]) in (job.until, job.until + 1), "goes on from where it paused"
        quality = rungs[-1]
    steps = settings.rungs[job.until] if paused else recipe.steps
    tokens = job.tokens or steps * recipe.batch_size * recipe.seq_len
    evaluation = Evaluation(
        hash=task.hash,
        status=Status.STOPPED if paused else Status.OK,
        objectives=dict(zip(COLUMNS, (quality, float(cost.params), float(cost.cache_bytes)), strict=True)),
        rungs=tuple(rungs),
        tokens=tokens,
    )
    if paused:
        return Result(task=task, origin=ORIGIN, evaluation=evaluation, state={"rungs": np.array(rungs)})
    state = {"rungs": np.array(rungs)} if recipe.is_open_ended else {}
    return Result(task=task, origin=ORIGIN, evaluation=evaluation, weights=weights, state=state)


def contents(run: RunDirectory, *folders: str) -> dict[str, bytes]:
    """Files that must not depend on how a run was driven, byte for byte."""
    found = [path for folder in folders or ("generations", "weights") for path in (run.path / folder).iterdir()]
    return {str(path.relative_to(run.path)): path.read_bytes() for path in found}


def outcomes(run: RunDirectory) -> dict[str, tuple]:
    """The evaluations without what depends on the clock and the worker."""
    return {h: (e.status, e.objectives, e.loss_curve, e.rungs, e.tokens, e.error) for h, e in run.evaluations().items()}


def longer_outcomes(run: RunDirectory) -> dict[tuple, tuple]:
    """The same of longer trainings, by tokens, hash and seed: those of estimates, and those of the verification."""
    tokens = [int(folder.name) for folder in sorted(run.path.glob("*/[0-9]*")) if folder.is_dir()]
    found = [(length, key, one.evaluation) for length in tokens for key, one in run.longer(length).items()]
    found += [(length, key, one) for length in tokens for key, one in run.verified(length).items()]
    return {(length, *key): (one.status, one.objectives, one.loss_curve, one.tokens) for length, key, one in found}


def rows_of(run: RunDirectory) -> Counter[str]:
    """How many rows any reader of Parquet finds for each hash."""
    files = sorted((run.path / "evaluations").glob("*.parquet"))
    return Counter(hash for path in files for hash in pq.read_table(path)["hash"].to_pylist())
