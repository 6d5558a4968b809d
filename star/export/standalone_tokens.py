"""Text for a model with another tokenizer than bytes, in place of what an exported file does with bytes."""

import importlib
from pathlib import Path

import torch

from star.model.language_model import LanguageModel

TOKENIZER = Path(__file__).with_name("tokenizer.json")


def tokenizer():
    """Return the tokenizer beside this file. Raise ImportError without the library `tokenizers`."""
    return importlib.import_module("tokenizers").Tokenizer.from_file(str(TOKENIZER))


def encode(text: bytes) -> list[int]:
    """Return the tokens of a text."""
    return tokenizer().encode(text.decode(errors="replace")).ids


def generate(model: LanguageModel, prompt: bytes, num_tokens: int, temperature: float = 0.8, seed: int = 0) -> bytes:
    """Return a text and `num_tokens` more; both are numbers of tokens if the library `tokenizers` is missing."""
    chance = torch.Generator().manual_seed(seed)
    try:
        tokens, decode = encode(prompt or b"\n"), tokenizer().decode
    except ImportError:
        tokens, decode = [int(one) for one in prompt.split()], lambda found: " ".join(map(str, found))
    return decode(model.generate(torch.tensor([tokens]), num_tokens, temperature, chance)[0].tolist()).encode()
