"""One model as a folder that needs only torch: `model.py`, the code that was trained, and its weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from safetensors.numpy import save

import star
from star.architecture.description import KEY, ModelDescription
from star.architecture.genome import genome_hash, to_text
from star.architecture.spec import ModelSpec
from star.cost.cost import itemise, price
from star.data.tokenizer import TOKENIZER_FILES
from star.errors import disk_errors_reported
from star.export.literal import codes_in, drop_checks, drop_fields, format_spec, keep_rows, plain_shape
from star.export.source import Definition, Reference, collect
from star.records import Genome
from star.storage.files import write_atomic
from star.storage.places import WEIGHTS_FILE

RECORDS = ("Dimensions", "FeatureGroup", "LivSpec", "ModelSpec", "Slot")  # what a written SPEC mentions
ENTRY = '\n\nif __name__ == "__main__":\n    main()\n'
PACKAGE = Path(star.__file__).parent.parent


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
    """Write folder `out` with `model.py`, the file of the tokenizer if there is one, and `model.safetensors` unless
    `weights` is empty.

    Each file appears whole or not at all. UserError if one cannot be written.
    """
    write_atomic(out / "model.py", model_source(spec, header).encode(errors="backslashreplace"))
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
        text = header.description.to_json() if header.description else json.dumps(made_from)
        # One key, because the library writes several in no certain order.
        write_atomic(out / WEIGHTS_FILE, save(weights, {KEY: text}))


def model_source(spec: ModelSpec, header: ExportHeader) -> str:
    """Return the text of `model.py`: the definitions that this model uses, unchanged, and its SPEC."""
    text = collect_code(spec, Reference("star.export.standalone", "main"))
    return f'"""{escape(describe_model(spec, header))}\n"""\n\n{text}{ENTRY}'


def collect_code(spec: ModelSpec, root: Reference, replaced: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return the definitions that `root` and a model use, with its SPEC; `replaced` has other texts of some by name."""
    codes = codes_in(spec)

    def rewrite(definition: Definition) -> Definition:
        if definition.names[0] in replaced:
            return replace(definition, source=replaced[definition.names[0]])
        if "SPEC" in definition.names:
            return replace(definition, source=format_spec(spec))
        if definition.module == "star.model.ops.shapes":
            return plain_shape(definition)
        if definition.module in ("star.architecture.spec", "star.architecture.overrides"):
            definition = drop_checks(definition)
        return keep_rows(definition, codes)

    enums = {code.split(".")[0] for record in codes for code in record if "." in code}
    roots = [root, *(Reference("star.architecture.spec", name) for name in RECORDS)]
    roots += [Reference("star.architecture.codes", name) for name in sorted(enums)]
    return drop_fields(collect(roots, PACKAGE, rewrite), ("BackboneConfig", "OperatorOverrides", *enums)).text()


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
        "`load()` gives the trained model, which maps tokens (bytes) of shape (batch, time) to logits; a\n"
        'text on the command line is continued: `python model.py "def "`. Below is the code that was\n'
        "trained."
    )


def escape(text: str) -> str:
    """Escape a text so that it is safe inside a triple-quoted string."""
    return text.replace("\\", "\\\\").replace('"""', "'''")
