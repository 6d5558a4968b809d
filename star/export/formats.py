"""The formats in which a model is exported."""

from collections.abc import Callable
from pathlib import Path

from star.architecture.spec import ModelSpec
from star.errors import UserError
from star.export.huggingface import FILES as HF_FILES
from star.export.huggingface import export_huggingface
from star.export.single_file import ExportHeader, export_model
from star.records import Arrays

TORCH, HF = "torch", "hf"
ONNX, TORCH_EXPORT = GRAPHS = ("onnx", "torch-export")
SUFFIXES = {ONNX: ".onnx", TORCH_EXPORT: ".pt2"}
OTHER_FILES = HF_FILES + tuple(
    f"{name}{suffix}{data}" for name in ("forward", "step") for suffix in SUFFIXES.values() for data in ("", ".data")
)
Writer = Callable[[ModelSpec, Arrays, ExportHeader, Path], list[str]]


def write_torch(spec: ModelSpec, weights: Arrays, header: ExportHeader, out: Path) -> list[str]:
    """Write `model.py` and the weights, if there are any."""
    export_model(spec, weights, header, out)
    return []


def write_huggingface(spec: ModelSpec, weights: Arrays, header: ExportHeader, out: Path) -> list[str]:
    """Write the folder that transformers loads."""
    _check_weights(HF, weights)
    export_huggingface(spec, weights, header, out)
    return []


def graph_writer(kind: str) -> Writer:
    """Return what writes graphs of a kind."""

    def write(spec: ModelSpec, weights: Arrays, header: ExportHeader, out: Path) -> list[str]:
        _check_weights(kind, weights)
        from star.export.graph import export_graphs, load_model  # which load torch

        return export_graphs(spec, load_model(spec, weights), kind, out)

    return write


def _check_weights(kind: str, weights: Arrays) -> None:
    if not weights:
        raise UserError(
            f"--format {kind} writes a model with its weights: name one that has some, or give --weights random"
        )


FORMATS: dict[str, Writer] = {TORCH: write_torch, HF: write_huggingface} | {kind: graph_writer(kind) for kind in GRAPHS}
