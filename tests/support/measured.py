"""Small models to measure, exported without training, and loss by the definition: one token and one pass at a time."""

from pathlib import Path

import numpy as np
import torch

from star.architecture.description import ModelDescription
from star.architecture.genome import decode, parse
from star.architecture.structures import specify
from star.data.tokenizer import Bytes, Tokenizer, train_tokenizer
from star.data.vocabulary import padded
from star.export.single_file import ExportHeader, export_model
from star.model.language_model import LanguageModel
from support.tiny import TINY_TOML

MIXED = "11111-91111-71111"
UNTIED = TINY_TOML + "\n[style]\ntied = false\n"  # else a random model repeats the last token
TEXTS = [f"{n} times {n} is {n * n}.\nÜber {chr(0x4E00 + n)} Straßen\n" for n in range(60)]
PAIRS = train_tokenizer("bpe:300", TEXTS)


def export_small(
    folder: Path,
    tokenizer: Tokenizer | None = None,
    genome: str = MIXED,
    scale_toml: str = TINY_TOML,
    context: int = 16,
) -> Path:
    """Export a random model of a tiny scale, with weights that are far from uniform."""
    tokenizer = tokenizer or Bytes()
    description = ModelDescription(
        genome=genome,
        scale="tiny",
        scale_toml=scale_toml,
        window=0,
        vocab_size=padded(tokenizer.vocab_size),
        context=context,
        tokenizer=tokenizer.name,
        tokenizer_digest=tokenizer.digest,
    )
    spec = specify(decode(parse(genome)), description.read_scale().dims)
    torch.manual_seed(3)
    weights = {name: 1.5 * tensor.numpy() for name, tensor in LanguageModel(spec).weights().items()}
    header = ExportHeader(
        genome=parse(genome),
        facts=(),
        context=context,
        dtype_bytes=4,
        description=description,
        tokenizer=tokenizer.file(),
    )
    export_model(spec, weights, header, folder)
    return folder


@torch.no_grad()
def naive_nats(
    model: torch.nn.Module, tokens: list[int], start: int, context: int, stride: int
) -> list[tuple[int, float]]:
    """Return for each token of a document how many tokens its prediction sees, and -ln p.

    The first window that predicts token i begins at the least multiple of the stride from which it reaches there.
    """
    found, before = [], [start, *tokens]
    for i, token in enumerate(tokens):
        begin = -(-max(0, i + 1 - context) // stride) * stride
        logits = model(torch.tensor([before[begin : i + 1]]))[0, -1].double()
        found.append((i + 1 - begin, float(logits.logsumexp(0) - logits[token])))
    return found


def draw_documents(lengths: tuple[int, ...], vocab_size: int = 256) -> list[np.ndarray]:
    """Return random tokens, as many in each document as is said."""
    rng = np.random.default_rng(7)
    return [rng.integers(0, vocab_size, length).astype(np.uint32) for length in lengths]
