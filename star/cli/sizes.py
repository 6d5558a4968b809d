"""The options that say at which sizes architectures are priced."""

from typing import Annotated

import typer

from star.cost.cost import DTYPE_BYTES

MOST_TOKENS, MOST_SEQUENCES = 10**9, 10**6

ScaleName = Annotated[
    str | None,
    typer.Option(
        help="Sizes to price at: nano, micro, 125m, 1b, a named model, or a .toml file with a table \\[scale].",
        show_default="the architecture's own, or nano",
    ),
]
Context = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MOST_TOKENS,
        help="Context length, in tokens, at which the cache, memory and FLOPs are priced.",
        show_default="that of the scale",
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MOST_SEQUENCES,
        help="Batch size for decoding: sequences that each have a cache in memory.",
        show_default="1, or that of the run",
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        help=f"Number format of weights and cache: {', '.join(DTYPE_BYTES)}.",
        show_default="bf16, or that of the run",
    ),
]
Window = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Tokens that banded (sliding-window) attention looks at.",
        show_default="that of the scale",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on standard output.")]
