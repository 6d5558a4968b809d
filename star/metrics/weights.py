"""Stored weights as a model. Nothing is believed of them before it is compared with what the model has."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from star.architecture.description import KEY, read_names, renamed
from star.architecture.genome import decode
from star.architecture.spec import MOST_SLOTS, Dimensions
from star.architecture.structures import specify
from star.cost.cost import price
from star.errors import UserError, located
from star.model.language_model import LanguageModel
from star.records import Arrays, Genome

FLOATS = ("F32", "F16", "BF16")  # as safetensors names them


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredWeights:
    """Tensors that are read one by one.

    Attributes:
        place: names where they are from, in messages.
        shapes: by name.
        read: returns a tensor by its name.
        metadata: texts of the file by key.
    """

    place: str
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], Tensor]
    metadata: Mapping[str, str]


@contextmanager
def opened(path: Path) -> Iterator[StoredWeights]:
    """Open a safetensors file for as long as the context lasts.

    Raises:
        UserError: it cannot be read, is truncated, or holds other numbers than floating-point ones.
    """
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            for name, one in slices.items():
                if one.get_dtype() not in FLOATS:
                    raise UserError(f"{path}: {name[:60]!r} is {one.get_dtype()}, not one of {', '.join(FLOATS)}")
            metadata = file.metadata() or {}
            names = read_names(metadata.get(KEY))
            stored = {renamed(name, names): name for name in slices}
            if len(stored) < len(slices):
                raise UserError(f"{path}: its description gives two weights one name")
            yield StoredWeights(
                place=str(path),
                shapes={name: tuple(slices[one].get_shape()) for name, one in stored.items()},
                read=lambda name: file.get_tensor(stored[name]),
                metadata=metadata,
            )
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise UserError(f"{path} is not a complete safetensors file: {error}") from error


def from_arrays(arrays: Arrays, place: str) -> StoredWeights:
    """Return weights that are in memory."""
    return StoredWeights(
        place=place,
        shapes={name: one.shape for name, one in arrays.items()},
        read=lambda name: torch.from_numpy(arrays[name]),
        metadata={},
    )


@torch.no_grad()
def build_model(genome: Genome, dims: Dimensions, weights: StoredWeights) -> LanguageModel:
    """Return the model of a genome at a scale with these weights, in evaluation mode.

    Memory for the model is taken once its price is no more than what is stored, and all shapes are equal.

    Raises:
        UserError: they are the weights of another model, or hold numbers that are not finite.
    """
    with located(weights.place):
        slots = decode(genome)
        if len(slots) > MOST_SLOTS:
            raise UserError(f"its genome has {len(slots):,} slots, more than {MOST_SLOTS:,}")
        needed, held = price(slots, dims).params, sum(map(prod, weights.shapes.values()))
        if held < needed:
            raise UserError(f"it holds {held:,} numbers, and a model of its genome and sizes has {needed:,}")
        spec = specify(slots, dims)
        with torch.device("meta"):
            _compare({name: tuple(one.shape) for name, one in LanguageModel(spec).weights().items()}, weights.shapes)
        model = LanguageModel(spec)
        for name, one in model.weights().items():
            one.copy_(weights.read(name))
            if not one.isfinite().all():
                raise UserError(f"{name} holds numbers that are not finite")
        return model.eval()


def _compare(own: Mapping[str, tuple[int, ...]], stored: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in own.items():
        if name not in stored:
            raise UserError(f"it holds the weights of another model: {name} is missing")
        if stored[name] != shape:
            raise UserError(
                f"it holds the weights of another model: {name} has shape {stored[name]}, and the model {shape}"
            )
    if extra := sorted(stored.keys() - own.keys()):
        raise UserError(f"it holds the weights of another model: this one has no {extra[0][:60]!r}")
