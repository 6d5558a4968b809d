"""Small trainings, in this process or in one to be killed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from star.architecture import catalogue
from star.architecture.genome import to_text
from star.storage.training_directory import TrainingDirectory
from star.trainer.settings import TrainSettings
from star.trainer.train import Trained, train
from star.trainer.trainer import Watcher
from support.tiny import TINY_TOML

LFM2 = to_text(catalogue.load("lfm2-like").at(3))
SMALL = TrainSettings(
    genome=LFM2,
    scale="tiny",
    scale_toml=TINY_TOML,
    tokens=1280.0,
    checkpoint_tokens=128.0,
    device="cpu",
    peak_flops=1e9,
)
TIMES = ("seconds", "tokens_per_second", "utilisation")


class Sentences(Watcher):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.begun: list[int] = []

    def noted(self, sentence: str) -> None:
        self.notes.append(sentence)

    def started(self, plan, step: int, params: int) -> None:
        self.begun.append(step)


def train_small(path: Path, settings: TrainSettings, watcher: Watcher | None = None, **given: Any) -> Trained:
    """Train in this process."""
    return train(replace(settings, **given), TrainingDirectory(path), watcher or Watcher())


def drive_training(path: Path, settings: TrainSettings) -> None:
    """Train, as the process that is killed does."""
    torch.set_num_threads(1)
    train_small(path, settings)


def result_of(path: Path) -> tuple:
    """Return what two equal trainings have in common: the bits of the last checkpoint, and the curve without times."""
    directory = TrainingDirectory(path)
    state, _ = directory.read_checkpoint(directory.steps()[-1])
    rows = [{name: value for name, value in row.items() if name not in TIMES} for row in directory.read_curve()]
    return directory.steps(), {name: value.tobytes() for name, value in state.items()}, rows
