"""README.md of an exported model."""

from typing import TYPE_CHECKING

from star.architecture.genome import to_text
from star.architecture.spec import ModelSpec
from star.cost.cost import price

if TYPE_CHECKING:
    from star.export.single_file import ExportHeader

TEXT = """\
# A language model of {params:,} parameters

Genome `{genome}`, synthesised by star. `model.py` is the whole model and needs only torch; its head tells what it costs
and where it comes from.

{use}
Train it on a text file, from scratch or from the weights here:

    python train.py book.txt --steps 1000
{tune}    python model.py "def " --weights trained.safetensors

In Python:

    import model
    lm = {load}
    logits = lm(tokens)                  # (batch, time) -> (batch, time, {vocabulary})
    cache = lm.new_cache(context)        # lm(tokens, cache) continues what the cache holds

The optimizer of `train.py` is AdamW: what the search trained with is told in the head of `model.py`.
"""
USE = """\
Continue a text:

    python model.py "def "
    python model.py "def " --bytes 500 --temperature 0.5

"""
TUNE = "    python train.py book.txt --from model.safetensors --rate 1e-4\n"


def readme(spec: ModelSpec, header: "ExportHeader", has_weights: bool) -> str:
    """Return the text."""
    return TEXT.format(
        params=price(spec.slots, spec.dims).params,
        genome=to_text(header.genome),
        use=USE if has_weights else "There are no weights yet.\n",
        tune=TUNE if has_weights else "",
        load="model.load()" if has_weights else "model.LanguageModel()",
        vocabulary=spec.dims.vocab_size,
    )
