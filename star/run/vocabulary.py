"""The tokenizer of a run, and the vocabulary that it gives the models."""

from dataclasses import replace
from pathlib import Path

from star.architecture.scales import Scale
from star.data.text_source import TextSource, read_manifest
from star.data.tokenizer import read_tokenizer
from star.data.vocabulary import BYTE_VALUES, BYTES, default_tokenizer, model_vocabulary, trained_size
from star.run.settings import OWN_VOCABULARY, Settings

LEAST_TEXT = 32 << 20  # bytes of text that are read at least, where there are as many
BYTES_READ = {True: 2, False: 8}  # for each token of a proxy, by whether tokens are bytes


def resolve_vocabulary(settings: Settings, scale: Scale) -> Settings:
    """Return settings with a tokenizer, and with the vocabulary that models have for it.

    Raises:
        UserError: the scale needs a tokenizer, or the one that is given cannot be read or has too many tokens for it.
    """
    if settings.vocab_size is not None:
        return replace(settings, tokenizer=settings.tokenizer or BYTES)
    folder = text_source(settings).folder
    if folder:
        facts = read_manifest(folder)
        tokenizer, size = settings.tokenizer or facts["tokenizer"], facts["vocab_size"]
    else:
        tokenizer = settings.tokenizer or default_tokenizer(scale.name, scale.dims.vocab_size)
        size = BYTE_VALUES if tokenizer == BYTES else trained_size(tokenizer)
        size = size or read_tokenizer(Path(tokenizer)).vocab_size
    vocab_size = model_vocabulary(scale.name, scale.dims.vocab_size, tokenizer, size)
    return replace(settings, tokenizer=tokenizer, vocab_size=vocab_size)


def with_vocabulary(settings: Settings, scale: Scale) -> Scale:
    """Return the scale with the vocabulary of the settings."""
    if settings.vocab_size == OWN_VOCABULARY:
        return scale
    return replace(scale, dims=replace(scale.dims, vocab_size=settings.vocab_size))


def text_source(settings: Settings) -> TextSource:
    """Return where the tokens of a run come from."""
    tokenizer = settings.tokenizer or ""
    per_token = BYTES_READ[tokenizer in ("", BYTES)]
    return TextSource(
        sources=settings.corpus,
        tokenizer=tokenizer,
        text_field=settings.text_field,
        limit=max(LEAST_TEXT, per_token * (settings.tokens or 0)),
    )
