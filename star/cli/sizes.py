"""The options that say at which sizes an architecture is priced, and what they mean."""

from dataclasses import replace
from typing import Annotated

import typer

from star import catalogue
from star.config import DTYPE_BYTES
from star.scales import Scale, nearest
from star.spec import UserError

DEFAULT_SCALE = "nano"

ScaleName = Annotated[
    str | None,
    typer.Option("--scale", help="Sizes: nano, micro, 125m, 1b, a named model or a .toml file; its own, or nano."),
]
Context = Annotated[
    int | None, typer.Option("--context", min=1, help="Tokens in the cache; the scale's length by default.")
]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Sequences decoded side by side.")]
Dtype = Annotated[str, typer.Option("--dtype", help=f"Of weights and cache: {', '.join(DTYPE_BYTES)}.")]
Window = Annotated[
    int | None,
    typer.Option("--window", min=1, help="Tokens in the window of banded attention; the scale's by default."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON value on standard output.")]


def own_scale(genome: str) -> Scale:
    """The sizes that a named architecture or a file was published at; those of nano for anything else."""
    named = ":" not in genome and (genome.endswith(".toml") or not genome[:1].isdigit())
    return (catalogue.load(genome).scale if named else None) or catalogue.find_scale(DEFAULT_SCALE)


def with_window(scale: Scale, window: int | None) -> Scale:
    """The scale, with another window if one is given."""
    return replace(scale, dims=replace(scale.dims, window=window)) if window else scale


def dtype_bytes(name: str) -> float:
    """Bytes of a number of that type; UserError with the nearest right name otherwise."""
    if name not in DTYPE_BYTES:
        raise UserError(f"unknown dtype {name!r}{nearest(name, DTYPE_BYTES)}")
    return DTYPE_BYTES[name]
