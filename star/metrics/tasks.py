"""Synthetic tasks, each learned from the beginning by a new model of the same architecture."""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import torch

from star.architecture.scales import nearest_recipe
from star.architecture.structures import specify
from star.data.synthetic import ALL_OF_MAD, MAD, TASKS
from star.errors import UserError, nearest
from star.metrics.trained_model import TrainedModel
from star.model.language_model import LanguageModel
from star.training.loss import Diverged
from star.training.probe import probe


class TaskResult(NamedTuple):
    """The error of a new model in a task, 1 - accuracy, and the tokens and seconds that it took."""

    task: str
    error: float
    tokens: int
    seconds: float


def find_tasks(names: Iterable[str]) -> list[str]:
    """Return the tasks that names stand for, each once. Raise UserError for an unknown name."""
    found: dict[str, None] = {}
    for name in names:
        if name != ALL_OF_MAD and name not in TASKS:
            raise UserError(f"unknown task {name!r:.60}{nearest(name, (ALL_OF_MAD, *TASKS))}")
        found |= dict.fromkeys(MAD if name == ALL_OF_MAD else (name,))
    return list(found)


def run_task(trained: TrainedModel, name: str, tokens: int, seed: int, device: str) -> TaskResult:
    """Train a new model on a task and test it. The weights of the trained model are not used.

    Args:
        trained: gives architecture, sizes, and the recipe of its scale, or of the named scale that is nearest in width.
        name: of the task.
        tokens: to train on; 0 for those of the recipe.

    Raises:
        UserError: no question of the task fits the model, or the training diverged.
    """
    recipe = nearest_recipe(trained.scale).on(device)
    recipe = replace(recipe, tokens=tokens or recipe.tokens)
    torch.manual_seed(seed)
    model = LanguageModel(specify(trained.slots, trained.dims)).to(device)
    try:
        found = probe(model, TASKS[name], recipe, seed)
    except Diverged as error:
        raise UserError(f"the training on task {name} diverged: {error}") from error
    return TaskResult(name, found.error, found.tokens, found.seconds)
