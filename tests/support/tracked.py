"""Readers of what trackers recorded in a folder, as values by step for each scalar: in the order in which they came."""

import json
import struct
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

Scalars = dict[str, dict[int, float]]
BLOCK, HEAD, ENDS = 32768, 7, (1, 4)  # of the log of LevelDB: bytes of a block and of a head, kinds that end a record


def read_tensorboard(folder: Path) -> Scalars:
    """Return the scalars of all event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    found = {name: {one.step: one.value for one in events.Scalars(name)} for name in events.Tags()["scalars"]}
    for name in events.Tags()["tensors"]:
        if not name.startswith("settings"):
            found[name] = {one.step: float(make_ndarray(one.tensor_proto)) for one in events.Tensors(name)}
    return found


def read_mlflow(folder: Path) -> Scalars:
    """Return the metrics of the one run."""
    from mlflow import MlflowClient

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    [run] = client.search_runs([client.get_experiment_by_name("star").experiment_id])
    history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    return {name: {one.step: one.value for one in values} for name, values in history.items()}


def read_wandb(folder: Path) -> Scalars:
    """Return the history in all offline files, which are of one run."""
    paths = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert len({one.name for one in paths}) == 1, "all processes write under one id"
    found: Scalars = defaultdict(dict)
    for path in paths:
        for row in _rows(path):
            step = int(row["_step"])
            for name, value in row.items():
                if not name.startswith("_"):
                    found[name][step] = float(value)
    return dict(found)


READERS = {"tensorboard": read_tensorboard, "mlflow": read_mlflow, "wandb": read_wandb}


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of history in an offline file of Weights & Biases, a log of records as LevelDB has it."""
    from wandb.proto import wandb_internal_pb2

    data, at, record = path.read_bytes(), HEAD, b""
    while at + HEAD <= len(data):
        if BLOCK - at % BLOCK < HEAD:
            at += BLOCK - at % BLOCK
        _, length, kind = struct.unpack("<IHB", data[at : at + HEAD])
        if not kind:
            return
        record += data[at + HEAD : at + HEAD + length]
        at += HEAD + length
        if kind in ENDS:
            read = wandb_internal_pb2.Record.FromString(record)
            record = b""
            if read.WhichOneof("record_type") == "history":
                yield {"/".join(one.nested_key) or one.key: json.loads(one.value_json) for one in read.history.item}
