"""The trainings of a comparison, several at once, each recorded in a directory of its own."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from star.architecture.genome import to_text
from star.comparison.matching import Sized
from star.comparison.settings import ComparisonSettings
from star.data.prepare import prepare
from star.data.text_source import TextSource
from star.storage.places import TEXT
from star.storage.training_directory import TrainingDirectory
from star.trainer.settings import TrainSettings
from star.trainer.train import BYTES_READ, LEAST_TEXT, train
from star.trainer.trainer import Watcher
from star.training.loss import Diverged


class Job(NamedTuple):
    """One training: the number of the contender, its size, and the seed."""

    number: int
    sized: Sized
    seed: int

    @property
    def name(self) -> str:
        """The name of its directory."""
        return f"{self.number}-width{self.sized.dims.d_model}-seed{self.seed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The result of a training: bits per byte on validation text, or why there are none."""

    name: str
    bits_per_byte: float | None
    error: str = ""


def prepare_text(settings: ComparisonSettings, folder: Path) -> str:
    """Write the tokens that all trainings share, unless the corpus is a folder of them. Return where they lie.

    Raises:
        UserError: text or a tokenizer that cannot be used.
    """
    source = TextSource(
        sources=settings.corpus,
        tokenizer=settings.tokenizer,
        text_field=settings.text_field,
        limit=max(LEAST_TEXT, BYTES_READ * int(settings.tokens or 0)),
    )
    prepare(source, folder / TEXT)
    return str((source.folder or folder / TEXT).absolute())


def train_all(
    jobs: Sequence[Job], settings: ComparisonSettings, text: str, folder: Path, landed: Callable[[Trained], None]
) -> Iterator[Trained]:
    """Train each job in a directory below `folder` and yield its result as it comes, which `landed` is told first."""
    workers = settings.workers or os.cpu_count() or 1
    with ProcessPoolExecutor(min(workers, max(1, len(jobs))), mp_context=get_context("spawn")) as pool:
        running = {
            pool.submit(_train, job.name, training_settings(job, settings, text), folder / job.name) for job in jobs
        }
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for one in done:
                    landed(one.result())
                    yield one.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def training_settings(job: Job, settings: ComparisonSettings, text: str) -> TrainSettings:
    """Return the settings of one training on the tokens that lie at `text`."""
    contender = job.sized.contender
    recipe = contender.recipe
    return TrainSettings(
        genome=to_text(contender.genome),
        scale=f"{contender.scale.name}-{job.sized.dims.d_model}",
        scale_toml=job.sized.scale_toml(),
        window=job.sized.dims.window,
        tokens=settings.tokens,
        corpus=(text,),
        batch_size=recipe.batch_size,
        seq_len=recipe.seq_len,
        optimizer=recipe.optimizer,
        learning_rate=recipe.learning_rate,
        matrix_learning_rate=recipe.matrix_learning_rate,
        weight_decay=recipe.weight_decay,
        seed=job.seed,
        threads=1,
        device="cpu",
        peak_flops=1.0,  # no utilisation is told, so that none is measured
        keep=1,
    )


def _train(name: str, settings: TrainSettings, path: Path) -> Trained:
    try:
        outcome = train(settings, TrainingDirectory(path), Watcher()).outcome
    except Diverged as error:
        return Trained(name=name, bits_per_byte=None, error=f"diverged: {error}")
    return Trained(name=name, bits_per_byte=outcome.quality.mean)
