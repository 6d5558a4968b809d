"""The command design: the sizes of a Transformer from a number of parameters, as a genome file; it needs no torch."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from star.cli.console import print_json, stderr
from star.cli.sizes import Json
from star.cost.design import CONTEXT, RULES, VOCAB_SIZE, Design, to_toml
from star.cost.design import design as make_design
from star.cost.design.shape import HEAD_DIM
from star.errors import UserError
from star.units import read_amount


def design(
    params: Annotated[str, typer.Option("--params", help="The target: 8B, 350M, 1T, 8e9.")],
    rule: Annotated[str, typer.Option("--rule", help=f"How sizes follow from it: {', '.join(RULES)}.")] = "exact",
    experts: Annotated[int, typer.Option("--experts", min=0, help="Experts of each layer; 0: a dense model.")] = 0,
    experts_per_token: Annotated[
        int, typer.Option("--experts-per-token", min=0, help="How many of them a token goes through.")
    ] = 0,
    vocab: Annotated[int, typer.Option("--vocab", min=1, help="Rows of the embedding.")] = VOCAB_SIZE,
    context: Annotated[int, typer.Option("--context", min=1, help="Tokens of a sequence.")] = CONTEXT,
    tied: Annotated[
        bool | None, typer.Option("--tied/--untied", help="Whether the head is the embedding; below 4B by default.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the genome file here; else it is printed.")] = None,
    json: Json = False,
) -> None:
    """Design a Transformer of so many parameters by a rule, and tell what is wrong with the result."""
    if out and out.suffix != ".toml":
        raise UserError(f"a genome file ends in .toml, not {out.name!r}")
    made = make_design(
        read_amount("params", params, of_bytes=False),
        rule,
        vocab_size=vocab,
        context=context,
        tied=tied,
        num_experts=experts,
        experts_per_token=experts_per_token,
    )
    if out:
        _write(out, to_toml(made))
    file = to_toml(made) if made.is_valid else None
    if json:
        print_json(_record(made, file, out))
        return
    lines = _summary(made)
    if file and not out:
        stderr().print("\n".join(lines), markup=False)
        print(file, end="")
        return
    # Where no file comes of it, what stands in its place is comments.
    print("\n".join(lines if out else [f"# {line}" for line in lines]))
    if out:
        stderr().print(f"written to {out}", markup=False)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def _summary(made: Design) -> list[str]:
    shape = made.shape
    routed = f" of one of {shape.num_experts} experts, {shape.experts_per_token} of them for each token"
    active = f", {made.active_params:,} of them for one token" if shape.num_experts else ""
    return [
        f"{shape.num_layers} layers of width {shape.d_model:,}: {shape.num_heads} query heads, {shape.num_kv_heads} "
        f"key/value heads of {HEAD_DIM}, d_ff {shape.d_ff:,}{routed if shape.num_experts else ''}",
        f"{made.params:,} parameters, {made.error:+.2%} off the target, {made.embedding_params:,} of them embeddings "
        f"({'tied' if shape.tied else 'untied'}, vocabulary {shape.vocab_size:,}){active}",
        *(f"note: {note}" for note in made.notes),
    ]


def _record(made: Design, file: str | None, out: Path | None) -> dict[str, object]:
    record = asdict(made)
    sizes = record.pop("shape") | {"num_heads": made.shape.num_heads, "head_dim": HEAD_DIM}
    return record | {
        "error": made.error,
        "shape": sizes,
        "genome": made.shape.genome,
        "file": file,
        "out": str(out) if out else None,
    }
