"""Directories of checkpoints as `save_pretrained` writes them: safetensors files and their index, read with care."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from star.errors import UserError, disk_errors_reported, located

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
FLOATS = ("F64", "F32", "F16", "BF16")  # as safetensors names them
SHARD = re.compile(r"[\w-][\w.-]*\.safetensors")
MOST_SHARDS = 10_000
LONGEST_INDEX = 1 << 27  # bytes


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The tensors of a checkpoint, read one by one.

    Attributes:
        shapes: by name.
        read: returns a tensor by its name, in float32.
    """

    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]


@contextmanager
def opened(directory: Path) -> Iterator[Checkpoint]:
    """Open the safetensors files of a directory for as long as the context lasts.

    Raises:
        UserError: there are none, one is missing, truncated or no safetensors file, or a tensor holds no
            floating-point numbers. Pickles are never loaded.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    files: dict[str, safe_open] = {}
    with ExitStack() as stack:
        for path, names in _shards(directory).items():
            with disk_errors_reported(f"read {path}"):
                try:
                    file = stack.enter_context(safe_open(path, framework="pt"))
                    held = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
                except SafetensorError as error:
                    raise UserError(f"{path} is not a complete safetensors file: {error}") from error
            for name in names or held:
                if name not in held:
                    raise UserError(f"{path} lacks {name[:80]!r}, which the index places there")
                if held[name].get_dtype() not in FLOATS:
                    raise UserError(
                        f"{path}: {name[:80]!r} is {held[name].get_dtype()}, not one of {', '.join(FLOATS)}"
                    )
                shapes[name], files[name] = tuple(held[name].get_shape()), file
        yield Checkpoint(shapes, lambda name: files[name].get_tensor(name).to(torch.float32).numpy())


def _shards(directory: Path) -> dict[Path, list[str]]:
    """Return the files of weights, each with the names that an index places there, none without an index."""
    if (directory / WEIGHTS).is_file():
        return {directory / WEIGHTS: []}
    if (directory / INDEX).is_file():
        return _read_index(directory / INDEX)
    if found := [name for name in PICKLES if (directory / name).exists()]:
        raise UserError(
            f"{directory} holds {found[0]}, a pickle, which can run code and is never loaded: save the model anew by "
            "save_pretrained, which writes safetensors"
        )
    raise UserError(f"{directory} holds neither {WEIGHTS} nor {INDEX}")


def _read_index(path: Path) -> dict[Path, list[str]]:
    with disk_errors_reported(f"read {path}"), located(str(path)):
        if path.stat().st_size > LONGEST_INDEX:
            raise UserError(f"it has more than {LONGEST_INDEX:,} bytes")
        try:
            table = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise UserError(f"it is not JSON: {error!s:.100}") from error
        names = table.get("weight_map") if isinstance(table, dict) else None
        if not isinstance(names, dict) or not names:
            raise UserError("it has no table weight_map")
        found: dict[Path, list[str]] = {}
        for name, file in names.items():
            if not isinstance(file, str) or not SHARD.fullmatch(file):
                raise UserError(f"it names the file {file!r:.80}, which is no name of a safetensors file beside it")
            found.setdefault(path.with_name(file), []).append(name)
        if len(found) > MOST_SHARDS:
            raise UserError(f"it names {len(found):,} files, more than {MOST_SHARDS:,}")
        for shard in found:
            if not shard.is_file():
                raise UserError(f"it names {shard.name}, which is not there")
        return found
