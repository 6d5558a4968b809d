"""MLflow: a database in the folder of the tracker, or the server that MLFLOW_TRACKING_URI names."""

import logging
import os
import time
import warnings
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from star.tracking.tracker import Place

EXPERIMENT = "star"
DATABASE, ID = "mlflow.db", "id"  # the file that holds the id of the run there
LONGEST = 500  # characters of a parameter


class MlflowTracker:
    """Writes a run of the experiment `star`, which `mlflow ui --backend-store-uri sqlite:///.../mlflow.db` shows."""

    def __init__(self, place: Place) -> None:
        place.folder.mkdir(parents=True, exist_ok=True)
        local = f"sqlite:///{place.folder.absolute() / DATABASE}"
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of SQLAlchemy, at what MLflow does
            self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", local))
        file = place.folder / ID
        if file.exists():
            self._id = file.read_text()
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        self._id = self._client.create_run(number, run_name=place.title).info.run_id
        params = [Param(name, str(value)[:LONGEST]) for name, value in place.config.items()]
        self._client.log_batch(self._id, params=params)
        file.write_text(self._id)

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        self._client.log_batch(self._id, [Metric(name, value, now, step) for name, value in scalars.items()])

    def close(self) -> None:
        self._client.set_terminated(self._id)


make = MlflowTracker
