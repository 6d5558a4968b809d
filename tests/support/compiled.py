"""Compare models with themselves compiled. A program, because the type checks of the tests cannot be compiled.

python -m support.compiled NAME   prints the largest differences of losses and gradients, and whether greedy texts agree
"""

import sys

import torch
import torch.nn.functional as F

from star.architecture import catalogue
from star.architecture.genome import decode
from star.architecture.scales import SCALES
from star.architecture.structures import specify
from star.model.language_model import LanguageModel
from star.training.execution import Execution


def make(name: str) -> LanguageModel:
    """Return a model of four slots, the same at each call."""
    torch.manual_seed(0)
    return LanguageModel(specify(decode(catalogue.load(name).at(4)), SCALES["nano"].dims)).double()


def main() -> None:
    name = sys.argv[1]
    eager, compiled = make(name), make(name)
    tokens = torch.randint(256, (2, 24), generator=torch.Generator().manual_seed(1))
    losses = []
    for wrapped in (eager, Execution(compiles=True).wrap(compiled, SCALES["nano"].recipe)):
        loss = F.cross_entropy(wrapped(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        losses.append(loss.item())
    pairs = zip(eager.parameters(), compiled.parameters(), strict=True)
    gap = max((one.grad - other.grad).abs().max().item() for one, other in pairs)
    texts = [eager.generate(tokens[:1, :8], 12)]
    torch.compiler.reset()
    compiled.compile()
    texts.append(compiled.generate(tokens[:1, :8], 12))
    print(abs(losses[0] - losses[1]), gap, torch.equal(*texts))


if __name__ == "__main__":
    main()
