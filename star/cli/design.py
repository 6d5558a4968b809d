"""The command design: the sizes of a Transformer from a number of parameters, as a genome file; it needs no torch."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from star.cli.console import note, print_json, say
from star.cli.sizes import Json
from star.cost.design import CONTEXT, RULES, VOCAB_SIZE, Design, to_toml
from star.cost.design import design as make_design
from star.cost.design.shape import HEAD_DIM
from star.errors import UserError, disk_errors_reported
from star.units import read_amount, write_amount

FAR_OFF = 0.1  # of the target, from which on a miss is a warning


def design(
    params: Annotated[str, typer.Option(help="Target number of parameters: 8B, 350M, 1T, 8e9.")],
    rule: Annotated[
        str, typer.Option(help=f"Rule that the sizes follow: {', '.join(RULES)}.", show_default=True)
    ] = "exact",
    experts: Annotated[int, typer.Option(min=0, help="Experts per layer; 0 is a dense model.")] = 0,
    experts_per_token: Annotated[int, typer.Option(min=0, help="Experts that each token is routed to.")] = 0,
    vocab: Annotated[int, typer.Option(min=1, help="Vocabulary size.")] = VOCAB_SIZE,
    context: Annotated[int, typer.Option(min=1, help="Context length in tokens.")] = CONTEXT,
    tied: Annotated[
        bool | None,
        typer.Option(
            "--tied/--untied",
            help="Share the weights of embedding and head, or not.",
            show_default="tied below 4B parameters",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the genome file here.", show_default="standard output")
    ] = None,
    json: Json = False,
) -> None:
    """Design a Transformer with a given number of parameters as a genome file, and say how well it fits."""
    if out and out.suffix != ".toml":
        raise UserError(f"a genome file ends in .toml, not {out.name!r}")
    made = make_design(
        read_amount("--params", params, of_bytes=False),
        rule,
        vocab_size=vocab,
        context=context,
        tied=tied,
        num_experts=experts,
        experts_per_token=experts_per_token,
    )
    if out:
        with disk_errors_reported(f"write {out}"):
            out.write_text(to_toml(made), encoding="utf-8")
    file = to_toml(made) if made.is_valid else None
    if json:
        print_json(_record(made, file, out))
        return
    lines = _summary(made)
    if file and not out:
        note(*lines)
        print(file, end="")
        return
    # Where no file comes of it, what stands in its place is comments.
    say(*(lines if out else [f"# {line}" for line in lines]))
    if out:
        note(f"written to {out}")


def _summary(made: Design) -> list[str]:
    shape = made.shape
    routed = f" of one of {shape.num_experts} experts, {shape.experts_per_token} of them for each token"
    active = f", {made.active_params:,} of them for one token" if shape.num_experts else ""
    return [
        f"{shape.num_layers} layers of width {shape.d_model:,}: {shape.num_heads} query heads, {shape.num_kv_heads} "
        f"key/value heads of {HEAD_DIM}, d_ff {shape.d_ff:,}{routed if shape.num_experts else ''}",
        f"{made.params:,} parameters, {made.error:+.2%} off the target, {made.embedding_params:,} of them embeddings "
        f"({'tied' if shape.tied else 'untied'}, vocabulary {shape.vocab_size:,}){active}",
        *_verdict(made),
        *(f"note: {sentence}" for sentence in made.notes),
    ]


def _verdict(made: Design) -> list[str]:
    """Return the sentence that warns of a result that is far from what was asked for."""
    lines = []
    if abs(made.error) > FAR_OFF:
        lines.append(
            f"warning: rule {made.rule} misses the target by {made.error:+.0%}: {write_amount(made.params, 'params')} "
            f"parameters instead of {write_amount(made.target, 'params')}; --rule exact stays within 1 %"
        )
    if not made.is_valid:
        lines.append("warning: no genome file is written, because this model cannot be built: " + made.notes[0])
    return lines


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
