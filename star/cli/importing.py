"""The command import: a checkpoint of a family that `transformers` knows, as a genome file and its weights."""

from pathlib import Path
from typing import Annotated

import typer

from star.cli.console import print_json, say
from star.cli.sizes import Json
from star.errors import UserError


def import_checkpoint(
    directory: Annotated[Path, typer.Argument(help="A directory with config.json and model.safetensors.")],
    to: Annotated[Path, typer.Option(help="Write the genome file here, NAME.toml, and NAME.safetensors beside it.")],
    json: Json = False,
) -> None:
    """Read a checkpoint of a published family into a genome file, and its weights beside it.

    No code of the directory is run, and no pickle is loaded.
    """
    if to.suffix != ".toml":
        raise UserError(f"a genome file ends in .toml, not {to.name!r}")
    from star.export.native import import_native, write_genome_file
    from star.families.links import count

    model = import_native(directory)
    weights = write_genome_file(model, to)
    params = count({name: one.shape for name, one in model.weights.items()})
    slots = len(model.blueprint.operators)
    if json:
        print_json(
            {"family": model.family, "slots": slots, "numbers": params, "genome": str(to), "weights": str(weights)}
        )
        return
    say(
        f"{model.family}, {slots} slots, {params:,} numbers: {to}, weights in {weights}",
        f"star inspect {to}",
        f"star train {to} --init-from {weights}",
    )
