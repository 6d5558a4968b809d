"""The formats in which a model is exported."""

from collections.abc import Callable
from pathlib import Path

from star.architecture.spec import ModelSpec
from star.data.fast_tokenizer import FILE as TOKENIZER
from star.data.fast_tokenizer import fast_tokenizer
from star.errors import UserError
from star.export.single_file import ExportHeader, export_model
from star.records import Arrays
from star.storage.files import write_atomic

TORCH, HF, NATIVE = "torch", "hf", "native"
ONNX, TORCH_EXPORT = GRAPHS = ("onnx", "torch-export")
SUFFIXES = {ONNX: ".onnx", TORCH_EXPORT: ".pt2"}
HF_FILES = (
    *("config.json", "configuration_star.py", "modeling_star.py", "generation_config.json"),
    *("tokenizer.json", "tokenizer_config.json"),
)
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
    from star.export.huggingface import export_huggingface  # which loads torch

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


def native_writer(family: str) -> Writer:
    """Return what writes a checkpoint of a family; of the first that a model lies in if the name is empty."""

    def write(spec: ModelSpec, weights: Arrays, header: ExportHeader, out: Path) -> list[str]:
        _check_weights(NATIVE, weights)
        from star.export.native import export_native  # which loads torch

        tokenizer = fast_tokenizer(header.tokenizer)
        found = export_native(spec, weights, out, family or None)
        write_atomic(out / TOKENIZER, tokenizer.text.encode())
        return [f"{out} is a checkpoint of {found}"]

    return write


FORMATS: dict[str, Writer] = {TORCH: write_torch, HF: write_huggingface, NATIVE: native_writer("")}
FORMATS |= {kind: graph_writer(kind) for kind in GRAPHS}


def find_writer(format: str) -> Writer:
    """Return what writes a format: a key of `FORMATS`, or native:FAMILY."""
    kind, colon, family = format.partition(":")
    return native_writer(family) if colon and kind == NATIVE else FORMATS[format]
