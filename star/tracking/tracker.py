"""The interface of a tracker, and which there are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Config = Mapping[str, str | int | float | bool]  # settings, by name


class Tracker(Protocol):
    """Receives the scalars of one run or training. Made again for the same folder, it continues that record."""

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Record scalars by name; a step may be recorded again."""

    def close(self) -> None:
        """Write what is not written yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A tracker that can be chosen: the package that it needs, and the module here that uses it."""

    package: str
    module: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a tracker records: a folder of its own, and the title and the settings that it shows."""

    folder: Path
    title: str
    config: Config


KINDS = {
    "tensorboard": Kind(package="tensorboard", module="star.tracking.tensorboard_tracker"),
    "wandb": Kind(package="wandb", module="star.tracking.wandb_tracker"),
    "mlflow": Kind(package="mlflow", module="star.tracking.mlflow_tracker"),
}
TRACKERS = tuple(KINDS)
