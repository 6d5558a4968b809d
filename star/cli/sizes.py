"""The options that say at which sizes architectures are priced."""

from typing import Annotated

import typer

from star.cost.cost import DTYPE_BYTES

MOST_TOKENS, MOST_SEQUENCES = 10**9, 10**6

ScaleName = Annotated[
    str | None,
    typer.Option("--scale", help="Sizes: nano, micro, 125m, 1b, a named model or a .toml file; by default its own."),
]
Context = Annotated[
    int | None,
    typer.Option("--context", min=1, max=MOST_TOKENS, help="Tokens in the cache; the scale's length by default."),
]
Batch = Annotated[
    int | None, typer.Option("--batch", min=1, max=MOST_SEQUENCES, help="Sequences decoded side by side; 1 by default.")
]
Dtype = Annotated[
    str | None, typer.Option("--dtype", help=f"Of weights and cache: {', '.join(DTYPE_BYTES)}; bf16 by default.")
]
Window = Annotated[
    int | None,
    typer.Option("--window", min=1, help="Tokens in the window of banded attention; the scale's by default."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON value on standard output.")]
