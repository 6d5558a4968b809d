"""Checkpoints of families that `transformers` knows, written from our models and read back as a genome file.

A written directory is loaded by `AutoModelForCausalLM.from_pretrained` without any code of ours.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch

from star.architecture.genome import decode
from star.architecture.spec import ModelSpec
from star.cost.cost import price
from star.errors import UserError, disk_errors_reported, located, nearest
from star.export.checkpoint import WEIGHTS, Checkpoint, opened
from star.families.blueprint import Blueprint
from star.families.config import Config, read_config
from star.families.family import Family
from star.families.links import Links, Shapes, count
from star.families.table import FAMILIES, find_family
from star.model.language_model import LanguageModel
from star.records import Arrays
from star.storage.files import make_directory, write_atomic

CONFIG, GENERATION = "config.json", "generation_config.json"
HEAD, EMBEDDING = "lm_head.weight", "embedding.weight"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NativeModel:
    """A checkpoint that was read: its family, its model, its genome file, and our weights."""

    family: str
    blueprint: Blueprint
    toml: str
    weights: Arrays


def export_native(spec: ModelSpec, weights: Mapping[str, np.ndarray], out: Path, family: str | None = None) -> str:
    """Write config.json, model.safetensors and generation_config.json of a model into a directory.

    Args:
        spec: the model.
        weights: its weights by name, as `LanguageModel.weights` names them.
        out: a directory without these files; it is made if need be.
        family: the name of a family; None takes the first that the model lies in.

    Returns:
        The name of the family.

    Raises:
        UserError: the model lies in no family, or not in the one named; the weights are those of another model; the
            directory holds a checkpoint already, or cannot be written.
    """
    found = find_family(spec, family)
    values = found.config(spec)
    own = own_shapes(spec)
    if {name: one.shape for name, one in weights.items()} != own:
        raise UserError("the weights are those of another model")
    config = Config(values)
    links = found.links(found.read(config), config, own)
    with located(found.name):
        arrays = links.export(weights)
    for name in (CONFIG, WEIGHTS):
        if (out / name).exists():
            raise UserError(f"{out} holds a {name} already; choose another directory")
    _write_arrays(out / WEIGHTS, arrays, {"format": "pt"})
    tokens = {key: value for key, value in values.items() if key.endswith("_token_id")}
    write_atomic(out / GENERATION, _to_json({"_from_model_config": True, **tokens}))
    write_atomic(out / CONFIG, _to_json(values | {"dtype": "float32"}))
    return found.name


def import_native(directory: Path) -> NativeModel:
    """Return the model of a checkpoint. Sizes are compared with the tensors before memory is taken for them.

    Raises:
        UserError: a configuration that is no model of ours, or tensors that are not those of the configuration.
    """
    if not (directory / CONFIG).is_file():
        raise UserError(f"{directory} is no checkpoint: it holds no {CONFIG}")
    config = read_config(directory / CONFIG)
    with located(config.place):
        family = _family_of(config)
        blueprint = family.read(config)
        scaled, slots = blueprint.scaled, decode(blueprint.genome)
    with opened(directory) as checkpoint, located(str(directory)):
        needed, held = price(slots, scaled).params, count(checkpoint.shapes)
        if held < needed:
            raise UserError(f"it holds {held:,} numbers, and a model of its {CONFIG} has {needed:,}")
        links = family.links(blueprint, config, own_shapes(blueprint.spec()))
        checkpoint = _renamed(checkpoint, family)
        _compare(links.shapes(), checkpoint, links)
        weights: Arrays = {}
        for name, array in links.restore(checkpoint.read):
            if not np.isfinite(array).all():
                raise UserError(f"{name} holds numbers that are not finite")
            weights[name] = np.asarray(array, dtype=np.float32, order="C")
    title = "".join(one for one in directory.resolve().name if one.isprintable()) or family.name
    toml = blueprint.to_toml(title, f"read from a checkpoint of {family.architecture}")
    return NativeModel(family=family.name, blueprint=blueprint, toml=toml, weights=weights)


def write_genome_file(model: NativeModel, path: Path) -> Path:
    """Write a genome file and, beside it, its weights under our names. Return the path of the weights.

    Raises:
        UserError: one of the two is there already, or cannot be written.
    """
    place = path.with_suffix(".safetensors")
    for one in (path, place):
        if one.exists():
            raise UserError(f"{one} is there already; choose another name")
    _write_arrays(place, model.weights, {})
    try:
        write_atomic(path, model.toml.encode())
    except BaseException:
        place.unlink()
        raise
    return place


def own_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights of a model; no memory is taken for them."""
    with torch.device("meta"):
        return {name: tuple(one.shape) for name, one in LanguageModel(spec).weights().items()}


def _family_of(config: Config) -> Family:
    name = config.given("model_type")
    if not isinstance(name, str):
        raise UserError("it names no model_type")
    if name not in FAMILIES:
        raise UserError(f"its model_type is {name!r:.60}, which cannot be read{nearest(name, FAMILIES)}")
    return FAMILIES[name]


def _renamed(checkpoint: Checkpoint, family: Family) -> Checkpoint:
    """Return a checkpoint without tensors that are no weights, with the names that links have."""
    known = family.known_names(checkpoint.shapes)
    shapes = {theirs: checkpoint.shapes[name] for theirs, name in known.items()}
    return Checkpoint(shapes, lambda theirs: checkpoint.read(known[theirs]))


def _compare(wanted: Shapes, checkpoint: Checkpoint, links: Links) -> None:
    """Raise UserError unless a checkpoint has exactly the tensors of its configuration."""
    for name, shape in wanted.items():
        if name not in checkpoint.shapes:
            raise UserError(f"it lacks the tensor {name}, which its {CONFIG} asks for")
        if checkpoint.shapes[name] != shape:
            raise UserError(f"{name} has shape {checkpoint.shapes[name]}, and its {CONFIG} asks for {shape}")
    extra = sorted(checkpoint.shapes.keys() - wanted.keys())
    if extra == [HEAD]:  # tied, and written nevertheless
        embedding = next(link.theirs[0] for link in links.links if link.ours == (EMBEDDING,))
        if checkpoint.shapes[HEAD] == wanted[embedding]:
            if np.array_equal(checkpoint.read(HEAD), checkpoint.read(embedding)):
                return
            raise UserError(f"{HEAD} is not the embedding, but tie_word_embeddings is true")
    if extra:
        raise UserError(f"it holds {extra[0][:80]!r}, which a model of its {CONFIG} does not have")


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write a safetensors file under another name, then rename it."""
    temporary = path.with_name(f".{path.name}.tmp")
    in_order = {name: np.asarray(array, order="C") for name, array in arrays.items()}  # else saved transposed
    with disk_errors_reported(f"write {path}"):
        make_directory(path.parent)
        try:
            safetensors.numpy.save_file(in_order, temporary, metadata=metadata or None)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _to_json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, allow_nan=False) + "\n").encode()
