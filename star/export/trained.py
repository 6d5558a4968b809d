"""The model of a training as an exported folder."""

from dataclasses import replace
from pathlib import Path

from star.architecture.description import ModelDescription
from star.architecture.genome import decode
from star.architecture.structures import specify
from star.data.tokenizer import Tokenizer
from star.export.formats import TORCH, find_writer
from star.export.single_file import ExportHeader
from star.records import Arrays
from star.trainer.plan import TrainPlan


def export_training(
    plan: TrainPlan,
    vocab_size: int,
    weights: Arrays,
    tokenizer: Tokenizer,
    measured: str,
    out: Path,
    format: str = TORCH,
) -> list[str]:
    """Write folder `out` with the model of a training in a format; `measured` is a clause for its header, `vocab_size`
    that of the model. Return sentences on what is missing.

    Raises:
        UserError: a file cannot be written.
    """
    settings, recipe, dims = plan.settings, plan.recipe, replace(plan.dims, vocab_size=vocab_size)
    facts = (
        ("measured", measured),
        ("corpus", ", ".join(settings.corpus)),
        (
            "recipe",
            f"scale {settings.scale}: {recipe.tokens:,} tokens in {recipe.steps:,} steps of {recipe.batch_size} x "
            f"{recipe.seq_len}, {recipe.optimizer}, learning rate {recipe.learning_rate:g}, seed {settings.seed}",
        ),
    )
    header = ExportHeader(
        genome=plan.genome,
        facts=facts,
        context=dims.seq_len,
        dtype_bytes=2,
        description=ModelDescription(
            genome=settings.genome,
            scale=settings.scale,
            scale_toml=settings.scale_toml,
            window=0,
            vocab_size=vocab_size,
            context=recipe.seq_len,
            tokenizer=Path(tokenizer.name).name,
            tokenizer_digest=tokenizer.digest,
        ),
        tokenizer=tokenizer.file(),
    )
    return find_writer(format)(specify(decode(plan.genome), dims), weights, header, out)
