"""Export a model as graphs and run these. A program, because exporters cannot trace the type checks of the tests.

python -m support.graphs KIND GENOME FOLDER   prints JSON: notes, what was refused, and how far each graph is from the
model: of 21 tokens, or as many as the graph takes, at once and one after another from an empty cache
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from star.architecture.genome import decode, parse
from star.architecture.structures import specify
from star.errors import UserError
from star.export.formats import ONNX
from star.export.graph import export_graphs
from star.model.language_model import LanguageModel
from support.tiny import TINY

PROVIDERS = ["CPUExecutionProvider"]


def make(genome: str) -> tuple[Any, LanguageModel]:
    """Return the specification and a model whose output maps are not zero."""
    torch.manual_seed(0)
    spec = specify(decode(parse(genome)), TINY.dims)
    model = LanguageModel(spec).eval()
    with torch.no_grad():
        for param in model.parameters():
            if param.ndim > 1 and not param.any():
                nn.init.normal_(param, std=0.1)
    return spec, model


def start(session: onnxruntime.InferenceSession) -> dict[str, np.ndarray]:
    """Return the cache before the first of two texts: histories without rows, and zeros."""
    found = {}
    for one in session.get_inputs():
        if one.name != "tokens":
            shape = [2, 0 if isinstance(one.shape[1], str) else one.shape[1], *one.shape[2:]]
            found[one.name] = np.zeros(shape, dtype=np.float32)
    return found


def run_steps(path: Path, tokens: Tensor) -> Tensor:
    """Return the logits of tokens that are given to a step one at a time."""
    session = onnxruntime.InferenceSession(path, providers=PROVIDERS)
    cache, logits = start(session), []
    for place in range(tokens.shape[1]):
        values = session.run(None, {"tokens": tokens[:, place : place + 1].numpy()} | cache)
        logits.append(torch.from_numpy(values[0]))
        cache = dict(zip(cache, values[1:], strict=True))
    return torch.cat(logits, dim=1)


def run_forward(kind: str, folder: Path, tokens: Tensor) -> Tensor:
    """Return the logits that the graph of a forward pass gives."""
    if kind != ONNX:
        return torch.export.load(folder / "forward.pt2").module()(tokens)
    session = onnxruntime.InferenceSession(folder / "forward.onnx", providers=PROVIDERS)
    return torch.from_numpy(session.run(None, {"tokens": tokens.numpy()})[0])


@torch.no_grad()
def main() -> None:
    kind, genome, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    spec, model = make(genome)
    found: dict[str, Any] = {}
    try:
        found["notes"] = export_graphs(spec, model, kind, folder)
    except UserError as error:
        print(json.dumps({"refused": str(error)}))
        return
    is_fixed = any("no more and no fewer" in note for note in found["notes"])
    tokens = torch.randint(256, (2, spec.dims.seq_len if is_fixed else 21), generator=torch.Generator().manual_seed(3))
    expected = model(tokens)
    found["forward"] = (run_forward(kind, folder, tokens) - expected).abs().max().item()
    if kind == ONNX and (folder / "step.onnx").exists():
        found["step"] = (run_steps(folder / "step.onnx", tokens) - expected).abs().max().item()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
