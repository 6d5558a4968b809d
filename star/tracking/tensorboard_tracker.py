"""TensorBoard: event files in the folder of the tracker."""

from collections.abc import Mapping

from torch.utils.tensorboard import SummaryWriter

from star.tracking.tracker import Place


class TensorBoardTracker:
    """Writes event files, which `tensorboard --logdir` shows."""

    def __init__(self, place: Place) -> None:
        is_new = not place.folder.exists()
        self._writer = SummaryWriter(str(place.folder))
        if is_new:
            rows = "".join(f"\n| {name} | {value} |" for name, value in place.config.items())
            self._writer.add_text("settings", f"| setting | value |\n| --- | --- |{rows}")

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


make = TensorBoardTracker
