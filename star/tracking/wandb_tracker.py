"""Weights & Biases: offline files in the folder of the tracker, unless WANDB_MODE says otherwise."""

import os
from collections.abc import Mapping
from uuid import uuid4

import wandb

from star.tracking.tracker import Place

PROJECT = "star"
ID = "id"  # the file that holds the id of the run there


class WandbTracker:
    """Writes a run, which `wandb sync` uploads. A process that goes on writes files of its own under the same id."""

    def __init__(self, place: Place) -> None:
        place.folder.mkdir(parents=True, exist_ok=True)
        file = place.folder / ID
        if not file.exists():
            file.write_text(uuid4().hex)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            mode=os.environ.get("WANDB_MODE", "offline"),
            dir=place.folder,
            id=file.read_text(),
            resume="allow",
            name=place.title,
            config=dict(place.config),
            # Nothing but the scalars: neither the console, nor the machine, nor the code.
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True, x_disable_meta=True),
        )

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        self._run.log(dict(scalars), step=step)

    def close(self) -> None:
        self._run.finish()


make = WandbTracker
