"""Use of the model: loading its weights and continuing text. What follows the model in an exported file."""

import argparse
import json
import os
import sys
from math import prod
from pathlib import Path

import torch

from star.architecture.spec import Dimensions, ModelSpec
from star.model.language_model import LanguageModel

SPEC = ModelSpec(slots=(), dims=Dimensions(d_model=1, head_dim=1, vocab_size=256, seq_len=1))
PARAMETERS = 257

WEIGHTS = Path(__file__).with_name("model.safetensors")
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def read_safetensors(path: str | Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a safetensors file: eight bytes with the length of a JSON header, the header (name -> dtype,
    shape, first and last byte), one buffer. Raise ValueError if the file is anything else.
    """
    raw = bytearray(Path(path).read_bytes())
    start, tensors = 8 + int.from_bytes(raw[:8], "little"), {}
    try:
        header = json.loads(raw[8:start].decode())
        header.pop("__metadata__", None)
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            flat = torch.frombuffer(raw[start + begin : start + end], dtype=DTYPES[entry["dtype"]])
            if len(flat) != prod(entry["shape"]):
                raise ValueError(f"{name} has {len(flat)} elements, not shape {entry['shape']}")
            tensors[name] = flat.reshape(entry["shape"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a complete safetensors file: {error}") from error
    return tensors


def load(path: str | Path = WEIGHTS) -> LanguageModel:
    """Load the trained model. Raise ValueError if the file's tensors are not those of this model."""
    model = LanguageModel(SPEC)
    assert sum(one.numel() for one in model.parameters()) == PARAMETERS
    own, stored = model.weights(), read_safetensors(path)
    if {name: one.shape for name, one in own.items()} != {name: one.shape for name, one in stored.items()}:
        raise ValueError(f"{path} holds the weights of another model")
    for name, tensor in own.items():
        tensor.copy_(stored[name])
    return model.eval()


def encode(text: bytes) -> list[int]:
    """Return the tokens of a text."""
    return list(text)


def generate(model: LanguageModel, prompt: bytes, num_bytes: int, temperature: float = 0.8, seed: int = 0) -> bytes:
    """Return `prompt` and `num_bytes` more, drawn from softmax(logits / temperature), or the likeliest at 0."""
    chance = torch.Generator().manual_seed(seed)
    tokens = torch.tensor([encode(prompt or b"\n")])
    found = model.generate(tokens, num_bytes, temperature, chance)[0].tolist()
    return bytes(token for token in found if token < 256)  # a vocabulary may hold more than it was trained on


def main() -> None:
    """Continue the text given on the command line."""
    form = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description="Continue a text.", formatter_class=form)
    parser.add_argument("prompt", nargs="?", default="def ", help="the text; an empty one is a line's end")
    parser.add_argument("--bytes", type=int, default=200, help="how many bytes or tokens to add")
    parser.add_argument("--temperature", type=float, default=0.8, help="of what is drawn; 0 takes the likeliest")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("--weights", default=WEIGHTS, help="a safetensors file")
    given = parser.parse_args()
    try:
        prompt = os.fsencode(given.prompt)
        text = generate(load(given.weights), prompt, given.bytes, given.temperature, given.seed)
    except (OSError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
        parser.exit(2, f"{parser.prog}: {error}".partition("\n")[0] + "\n")
    try:
        print(text.decode(errors="replace"), flush=True)
    except BrokenPipeError:  # whoever reads has seen enough; what is left must not be flushed at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
