"""The formats in which a model is exported."""

from collections.abc import Callable
from pathlib import Path

import torch

from star.architecture.spec import ModelSpec
from star.errors import UserError
from star.export.graph import GRAPHS, SUFFIXES, export_graphs
from star.export.single_file import ExportHeader, export_model
from star.model.language_model import LanguageModel
from star.records import Arrays

TORCH = "torch"
Writer = Callable[[ModelSpec, Arrays, ExportHeader, Path], list[str]]
GRAPH_FILES = tuple(
    f"{name}{suffix}{data}" for name in ("forward", "step") for suffix in SUFFIXES.values() for data in ("", ".data")
)


def write_torch(spec: ModelSpec, weights: Arrays, header: ExportHeader, out: Path) -> list[str]:
    """Write `model.py` and the weights, if there are any."""
    export_model(spec, weights, header, out)
    return []


def graph_writer(kind: str) -> Writer:
    """Return what writes graphs of a kind."""

    def write(spec: ModelSpec, weights: Arrays, header: ExportHeader, out: Path) -> list[str]:
        if not weights:
            raise UserError(
                f"--format {kind} writes a graph with its weights: name a model that has some, or give --weights random"
            )
        model = LanguageModel(spec)
        with torch.no_grad():
            for name, one in model.weights().items():
                one.copy_(torch.from_numpy(weights[name]))
        return export_graphs(spec, model.eval(), kind, out)

    return write


FORMATS: dict[str, Writer] = {TORCH: write_torch} | {kind: graph_writer(kind) for kind in GRAPHS}
