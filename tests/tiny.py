"""A scale so small that a proxy takes a tenth of a second, and a text to train it on."""

from dataclasses import replace
from pathlib import Path

from star.config import RunConfig
from star.data import Corpus, load_corpus
from star.evaluation import EvaluationSettings, derive_seed
from star.genome import canonical, genome_hash
from star.records import Genome, Task
from star.scales import SCALES, Scale
from star.spec import Dimensions

TINY = Scale(
    name="tiny",
    num_slots=3,
    dims=Dimensions(d_model=16, head_dim=4, vocab_size=256, seq_len=16),
    recipe=replace(SCALES["nano"].recipe, tokens=64, batch_size=2, seq_len=16, valid_tokens=64),
)
SCALES[TINY.name] = TINY
CONFIG = RunConfig(scale=TINY.name, population=6, offspring=5, generations=3, serial=True)
SETTINGS = EvaluationSettings(scale=TINY, target=TINY, context=16, dtype_bytes=2)


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
