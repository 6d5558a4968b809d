"""Training steps of whole small models: eager, compiled, compiled with CUDA graphs, and captured as one CUDA graph.

A step is forward, backward, clipping and AdamW on windows of random bytes. The variants run in turn, a sample of each
in every round. A CPU has no graphs: there the first two are run, on one thread.

    python experiments/benchmarks/cuda_graphs.py [--device cpu] [--scales nano] [--models transformer-pp]
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from measuring.clock import FEWEST, Action, interleave, milliseconds_text, ratio_text
from measuring.page import Page, Table

from star.architecture import catalogue
from star.architecture.catalogue import find_scale
from star.architecture.genome import decode
from star.architecture.scales import SCALES, Scale
from star.architecture.spec import ModelSpec
from star.model.language_model import LanguageModel

WARM_UP = 3  # steps before a capture and before the clock: they compile, and the optimizer makes its state
READING = """\
Batch size and sequence length are those of the scale's recipe, in float32. Cells are medians over {rounds} rounds
({fewest} where steps are slow), with minimum and maximum. A ratio divides by the time of the eager step in the same
round, so below 1 is faster."""


class Trainer:
    """A model, its optimizer, and tokens at a fixed address."""

    def __init__(self, name: str, scale: Scale, device: torch.device, compile_model: Callable | None = None) -> None:
        torch.manual_seed(0)
        slots = decode(catalogue.load(name).at(scale.num_slots))
        self.model = LanguageModel(ModelSpec(slots, scale.dims)).to(device)
        self.forward = compile_model(self.model) if compile_model else self.model
        shape = scale.recipe.batch_size, scale.recipe.seq_len + 1
        self.tokens = torch.randint(0, 256, shape, device=device)
        on_gpu = device.type == "cuda"
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, fused=True, capturable=on_gpu)

    def refill(self) -> None:
        """Draw new tokens in place."""
        self.tokens.random_(0, 256)

    def update(self) -> None:
        """Run the part of a step that a graph can capture."""
        self.optimizer.zero_grad()
        logits = self.forward(self.tokens[:, :-1])
        F.cross_entropy(logits.flatten(0, 1), self.tokens[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    def stepper(self, update: Action) -> Action:
        """Return a whole step: new tokens, then the update."""

        def step() -> None:
            self.refill()
            update()

        return step


def eager(name: str, scale: Scale, device: torch.device) -> Action:
    trainer = Trainer(name, scale, device)
    return trainer.stepper(trainer.update)


def compiled(name: str, scale: Scale, device: torch.device) -> Action:
    trainer = Trainer(name, scale, device, torch.compile)
    return trainer.stepper(trainer.update)


def compiled_with_graphs(name: str, scale: Scale, device: torch.device) -> Action:
    trainer = Trainer(name, scale, device, lambda model: torch.compile(model, mode="reduce-overhead"))
    return trainer.stepper(trainer.update)


def captured(name: str, scale: Scale, device: torch.device) -> Action:
    """Return the whole update as one replayed graph."""
    trainer = Trainer(name, scale, device)
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            trainer.update()
    torch.cuda.current_stream(device).wait_stream(side)
    trainer.optimizer.zero_grad()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        trainer.update()
    return trainer.stepper(graph.replay)


EVERYWHERE = {"eager": eager, "compiled": compiled}
ON_A_GPU = {"compiled, reduce-overhead": compiled_with_graphs, "one CUDA graph": captured}


def table(models: list[str], scale: Scale, rounds: int, device: torch.device) -> Table:
    """Return a table with one row per model."""
    variants = EVERYWHERE | (ON_A_GPU if device.type == "cuda" else {})
    first, *others = variants
    rows = []
    for name in models:
        steps = {variant: make(name, scale, device) for variant, make in variants.items()}
        for step in steps.values():
            for _ in range(WARM_UP):
                step()
        times = interleave(steps, rounds, device)
        rows.append((name, milliseconds_text(times, first), *(ratio_text(times, other, first) for other in others)))
    recipe = scale.recipe
    return Table(
        f"{scale.name}: a training step of a whole model",
        f"{scale.num_slots} slots, {recipe.batch_size} x {recipe.seq_len} tokens.",
        ("model", f"{first} in ms", *(f"{other} / {first}" for other in others)),
        rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--scales", nargs="+", choices=SCALES, default=["nano", "micro"], metavar="SCALE")
    parser.add_argument("--models", nargs="+", choices=catalogue.names(), default=["transformer-pp", "striped-mamba"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, help="write the page to this file instead of printing it")
    given = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(given.device)
    tables = [table(given.models, find_scale(name), given.rounds, device) for name in given.scales]
    reading = READING.format(rounds=given.rounds, fewest=FEWEST)
    Page("Training steps as graphs", reading, tables, device).deliver(given.out)


if __name__ == "__main__":
    main()
