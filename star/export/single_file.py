"""One model as a folder that needs only torch: its code, specialised for it, a program that trains it, its weights."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save

from star.architecture.description import KEY, NAMES, ModelDescription
from star.architecture.genome import genome_hash, to_text
from star.architecture.spec import ModelSpec
from star.cost.cost import itemise, price
from star.data.tokenizer import TOKENIZER_FILES
from star.errors import disk_errors_reported
from star.export.readme import readme
from star.export.specialise.layout import escape
from star.records import Genome
from star.storage.files import write_atomic
from star.storage.places import WEIGHTS_FILE

if TYPE_CHECKING:
    from star.export.specialise.assemble import ModelCode

CODE_FILES = ("model.py", "train.py", "README.md")
TRAINING = Path(__file__).with_name("training.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportHeader:
    """The facts in the header of an exported file besides its costs.

    `facts` are lines of a label and a text: lineage, measured objectives, corpus, recipe. The cache is priced
    at `context` tokens of `dtype_bytes` bytes an element. `description` goes into the file of weights, and `tokenizer`,
    the name and the content of a file, beside it; without them, nothing but the genome is told.
    """

    genome: Genome
    facts: tuple[tuple[str, str], ...]
    context: int
    dtype_bytes: float
    description: ModelDescription | None = None
    tokenizer: tuple[str, bytes] | None = None


def export_model(spec: ModelSpec, weights: dict[str, np.ndarray], header: ExportHeader, out: Path) -> None:
    """Write folder `out` with `model.py`, `train.py`, `README.md`, the file of the tokenizer if there is one, and
    `model.safetensors` unless `weights` is empty.

    Each file appears whole or not at all. UserError if one cannot be written.
    """
    code = specialise(spec, header)
    texts = model_source(spec, header, code), TRAINING.read_text(encoding="utf-8"), readme(spec, header, bool(weights))
    for name, text in zip(CODE_FILES, texts, strict=True):
        write_atomic(out / name, text.encode(errors="backslashreplace"))
    kept = [WEIGHTS_FILE] if weights else []
    if header.tokenizer:
        name, data = header.tokenizer
        write_atomic(out / name, data)
        kept.append(name)
    for name in (WEIGHTS_FILE, *TOKENIZER_FILES):
        if name not in kept:
            with disk_errors_reported(f"remove {out / name}"):
                (out / name).unlink(missing_ok=True)  # of an earlier export
    if weights:
        made_from = {"genome": to_text(header.genome), "hash": genome_hash(header.genome)}
        table = json.loads(header.description.to_json()) if header.description else made_from
        named = {code.name(name): array for name, array in weights.items()}
        # One key, because the library writes several in no certain order.
        write_atomic(out / WEIGHTS_FILE, save(named, {KEY: json.dumps(table | {NAMES: code.names})}))


def specialise(spec: ModelSpec, header: ExportHeader) -> "ModelCode":
    """Return the code of a model."""
    from star.export.specialise.assemble import BYTES, TOKENS, specialise_model  # which load torch

    return specialise_model(spec, TOKENS if header.tokenizer else BYTES)


def model_source(spec: ModelSpec, header: ExportHeader, code: "ModelCode | None" = None) -> str:
    """Return the text of `model.py`."""
    code = code or specialise(spec, header)
    return f'"""{escape(describe_model(spec, header))}\n"""\n\n{code.text}'


def describe_model(spec: ModelSpec, header: ExportHeader) -> str:
    """Return the head of the file of a model: its genome, facts and costs, and those of each slot."""
    cost = price(spec.slots, spec.dims, header.context, header.dtype_bytes)
    layers = itemise(spec.slots, spec.dims, header.context, header.dtype_bytes)
    active = f", {cost.active_params:,} of them at work on one token" if cost.active_params < cost.params else ""
    facts = [
        ("genome", to_text(header.genome)),
        ("hash", genome_hash(header.genome)),
        *header.facts,
        ("parameters", f"{cost.params:,} in this file, {cost.embedding_params:,} of them the embedding{active}"),
        (
            "cache",
            f"{cost.cache_bytes:,} bytes at {header.context:,} tokens and {header.dtype_bytes} bytes an "
            f"element, {cost.cache_bytes_per_token:,} of them for each token",
        ),
    ]
    rows = [f"{label:<12}{text}" for label, text in facts]
    width = max(14, *(2 + len(layer.name) for layer in layers)) if layers else 14
    rows += ["", f"{'slot':>4}  {'class':<{width}}{'parameters':>12}{'cache bytes':>14}  shares with slots"]
    for layer in layers:
        shares = ", ".join(str(slot + 1) for slot in layer.shares_with)
        row = f"{layer.slot + 1:>4}  {layer.name:<{width}}{layer.params:>12,}{layer.cache_bytes:>14,}  {shares}"
        rows.append(row.rstrip())
    body = "\n".join(f"    {row}".rstrip() for row in rows)
    return (
        "A language model synthesised by star, in one file that needs only torch.\n\n"
        f"{body}\n\n"
        "In the terms of STAR (Thomas et al. 2024, arXiv:2411.17800) a layer is a linear input-varying operator\n"
        "y = T(x) x. Its featurizer is the maps and kernels of its constructor, its token mixing what `forward` does\n"
        "with the features, its channel mixing the map `out`. The features C, B and V are query, key and value in\n"
        "attention. Where layers share a featurizer, they have modules in common; where they share features, one is\n"
        "given those of the other. Shapes: B sequences, T tokens, D channels, H heads of K channels."
    )
