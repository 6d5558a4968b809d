"""A model that nobody trained, at any size: its code, and the weights that a training would begin with."""

from dataclasses import dataclass
from pathlib import Path

import psutil

from star.architecture.description import ModelDescription
from star.architecture.genome import decode, to_text
from star.architecture.scales import Scale
from star.architecture.structures import specify
from star.cost.cost import price
from star.data.vocabulary import BYTES
from star.errors import UserError
from star.export.formats import TORCH, find_writer
from star.export.single_file import ExportHeader
from star.records import Arrays, Genome

WIDTH = 4  # bytes of a parameter in the file and in memory
COPIES = 3  # of all weights, which are in memory at once: the model, the arrays, the file


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The sizes of an export that are not those of a training.

    Attributes:
        name: of the scale.
        toml: text of its file; empty for a scale that ships with the program.
        scale: the sizes.
        context, dtype_bytes: tokens and bytes of a number of the cache that the header prices.
        seed: of random weights; None: none are written.
    """

    name: str
    toml: str
    scale: Scale
    context: int
    dtype_bytes: float
    seed: int | None = None

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """Lines of the header of the file."""
        weights = "none" if self.seed is None else f"random, seed {self.seed}"
        return (("sizes", f"those of {self.name}, at which this model was not trained"), ("weights", weights))


def export_untrained(
    genome: Genome, size: Size, facts: tuple[tuple[str, str], ...], out: Path, format: str = TORCH
) -> list[str]:
    """Write folder `out` with a genome at a size in a format, and random weights if the size has a seed for them.
    Return sentences on what is missing.

    Raises:
        UserError: there is not enough memory for the weights, or a file cannot be written.
    """
    dims = size.scale.dims
    slots = decode(genome)
    spec = specify(slots, dims)
    weights: Arrays = {}
    if size.seed is not None:
        needed, free = COPIES * WIDTH * price(slots, dims).params, psutil.virtual_memory().available
        if needed > free:
            raise UserError(
                f"random weights take {needed / 1e9:,.1f} GB of memory and {free / 1e9:,.1f} GB are free: leave them "
                "out by --weights none"
            )
        import torch

        from star.model.language_model import LanguageModel

        torch.manual_seed(size.seed)
        weights = {name: one.numpy() for name, one in LanguageModel(spec).weights().items()}
    header = ExportHeader(
        genome=genome,
        facts=(*facts, *size.facts),
        context=size.context,
        dtype_bytes=size.dtype_bytes,
        description=ModelDescription(
            genome=to_text(genome),
            scale=size.name,
            scale_toml=size.toml,
            window=dims.window,
            vocab_size=dims.vocab_size,
            context=dims.seq_len,
            tokenizer=BYTES,
            tokenizer_digest="",
        ),
    )
    return find_writer(format)(spec, weights, header, out)
