"""The speed of single operators in training and decoding, compared with attention and with `transformers`.

One CPU thread, or a GPU with --device cuda; float32. The two sides of a ratio run in turn, one sample of each in every
round. Without --out or --write the page is printed; --write puts it under docs/.

    python experiments/benchmarks/operators.py [--quick] [--classes SA-1 Mamba-2] [--scales nano] [--write]
"""

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from measuring.clock import (
    FEWEST,
    TOO_SLOW,
    Action,
    Times,
    interleave,
    milliseconds_text,
    number,
    ratio,
    ratio_text,
    spread,
)
from measuring.page import ROOT, Page, Table
from measuring.references import MAKERS, make_reference
from measuring.steps import decoding_step, operator_step
from transformers.utils import logging

from star.architecture.catalogue import find_scale
from star.architecture.codes import FeatureTokenMixing, Sparsity, Structure
from star.architecture.genome import DECK
from star.architecture.scales import SCALES, Scale
from star.architecture.spec import Dimensions, LivSpec

CLASSES = {liv.name: liv for liv in DECK.values() if not liv.differential}
BASELINE, OURS, THEIRS = "SA-1", "ours", "theirs"
LONGEST = 4096
LINEAR = 1.25  # a token at the greatest length may take this much longer than one at the least
PAGES = {"cpu": ROOT / "docs" / "benchmarks.md", "cuda": ROOT / "docs" / "benchmarks-cuda.md"}
READING = """\
Every operator is run alone, in float32, without an optimizer: a training step is a forward pass and a backward pass to
the input and all parameters. A step sees {tokens:,} tokens: the batch shrinks as the sequences grow, and windows stay
those of the scale. Cells are medians over {rounds} rounds ({fewest} where steps are slow), with minimum and
maximum. A ratio divides times of the same round, so below 1 is faster. "{too_slow}" marks steps that take longer and
were not measured.

Some operators take more than twice the time of attention of equal width at 512 tokens. The selective scan with many
states (Rec-1, Rec-64, Mamba) passes over N numbers for every channel and token, elementwise, several times: at memory
speed, where attention multiplies matrices. Their cost per token does not grow with the length as that of attention
does. Mamba and Mamba-2 are also twice as wide inside, as published, and Mamba-2 has 64 states. The delta rule
solves a triangular system for every chunk of 16 to 32 tokens."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The device, operators, lengths and rounds of a measurement."""

    device: torch.device
    classes: tuple[LivSpec, ...]
    tokens: int  # of a training step
    rounds: int
    lengths: tuple[int, ...] = (128, 512, 2048)
    doublings: tuple[int, ...] = (512, 1024, 2048, LONGEST)
    contexts: tuple[int, ...] = (512, 2048)

    def sizes(self, scale: Scale, length: int) -> Dimensions:
        """Return the dimensions of the scale for sequences of that length, with the same window."""
        return replace(scale.dims, seq_len=max(length, scale.dims.seq_len), window=scale.dims.band)

    def step(self, liv: LivSpec, scale: Scale, length: int) -> Action:
        """Return the training step of an operator."""
        return operator_step(liv, self.sizes(scale, length), self.input(scale, length))

    def input(self, scale: Scale, length: int) -> torch.Tensor:
        """Return random activations."""
        return torch.randn(self.tokens // length, length, scale.dims.d_model, device=self.device)

    def run(self, actions: dict[str, Action]) -> Times:
        """Time the actions in turn."""
        return interleave(actions, self.rounds, self.device)


def note(*words: str) -> None:
    """Print progress to standard error."""
    print(*words, file=sys.stderr, flush=True)


# Beside attention, and beside the references


def measure_class(plan: Plan, scale: Scale, liv: LivSpec) -> dict[int, Times]:
    """Time an operator, attention and the reference of the operator in turn; return times by length."""
    times: dict[int, Times] = {}
    has_reference = liv.name in MAKERS
    for length in plan.lengths:
        actions = {BASELINE: plan.step(CLASSES[BASELINE], scale, length), OURS: plan.step(liv, scale, length)}
        if has_reference:
            reference = make_reference(liv, plan.sizes(scale, length), length)
            actions[THEIRS] = reference.step(plan.input(scale, length))
        times[length] = plan.run(actions)
        has_reference = THEIRS in times[length]  # too slow here is too slow for what is longer
    return times


def attention_table(plan: Plan, scale: Scale, measured: dict[str, dict[int, Times]]) -> Table:
    """Compare every operator with softmax attention of equal width."""
    pooled = {
        str(length): [seconds for times in measured.values() for seconds in times[length][BASELINE]]
        for length in plan.lengths
    }
    rows = [(f"{BASELINE} in ms", *(milliseconds_text(pooled, length) for length in pooled))]
    for name, times in measured.items():
        label = f"{name}, a second copy" if name == BASELINE else name
        rows.append((label, *(ratio_text(times[length], OURS, BASELINE) for length in plan.lengths)))
    return Table(
        f"{scale.name}: a training step beside attention",
        f"Ratio to {BASELINE} of equal width at the same length. The second copy of {BASELINE} shows the noise.",
        ("class", *(f"{length:,} tokens" for length in plan.lengths)),
        rows,
    )


def reference_table(plan: Plan, scale: Scale, measured: dict[str, dict[int, Times]]) -> Table:
    """Compare operators with their references."""
    rows = []
    for name in (name for name in measured if name in MAKERS):
        liv = CLASSES[name]
        module = make_reference(liv, plan.sizes(scale, plan.lengths[0]), plan.lengths[0]).module
        cells = (ratio_text(measured[name][length], OURS, THEIRS) for length in plan.lengths)
        rows.append((name, type(module).__name__, *cells))
    return Table(
        f"{scale.name}: a training step beside transformers",
        "Ratio to the module of `transformers` that computes the same at the same sizes, in plain PyTorch, without the "
        "optional kernels of other packages. Masks and rotations, which its models make once for all layers, are made "
        "beforehand.",
        ("class", "module", *(f"{length:,} tokens" for length in plan.lengths)),
        rows,
    )


# Time by length


def claims_linear(liv: LivSpec) -> bool:
    """Return whether a token should cost the same at every length."""
    if liv.structure in (Structure.ATTENTION, Structure.LATENT_ATTENTION):
        return liv.sparsity is Sparsity.BANDED
    is_convolution = liv.structure is Structure.CONVOLUTION
    return not (is_convolution and liv.group("K").token_mixing is FeatureTokenMixing.IMPLICIT_TOEPLITZ)


def length_table(plan: Plan, scale: Scale) -> Table:
    """Return microseconds per token at doubling lengths."""
    columns = {f"{length:,}": length for length in plan.doublings}
    first, *_, last = columns
    rows = []
    for liv in plan.classes:
        note(scale.name, "by length:", liv.name)
        times = plan.run({column: plan.step(liv, scale, length) for column, length in columns.items()})
        cells = (
            number(1e6 * spread(times[column]).median / plan.tokens) if column in times else TOO_SLOW
            for column in columns
        )
        rows.append((liv.name, *cells, ratio_text(times, last, first), verdict(liv, times, first, last)))
    return Table(
        f"{scale.name}: microseconds a token by length",
        f"Of a training step. All are to take linear time but attention without a window and the long convolution: "
        f"**not linear** marks those whose median ratio is above {LINEAR}.",
        ("class", *columns, f"{last} / {first}", "time"),
        rows,
    )


def verdict(liv: LivSpec, times: Times, first: str, last: str) -> str:
    """Return whether the ratio supports the claim of linear time."""
    if not claims_linear(liv):
        return "more than linear"
    is_linear = first in times and last in times and ratio(times, last, first).median <= LINEAR
    return "linear" if is_linear else "**not linear**"


# Decoding


def decoding_table(plan: Plan, scale: Scale) -> Table:
    """Return milliseconds per decoded token."""
    times = {}
    for context in plan.contexts:
        note(scale.name, "decoding at", str(context))
        dims = plan.sizes(scale, context)
        times[context] = plan.run({liv.name: decoding_step(liv, dims, context, plan.device) for liv in plan.classes})
    rows = [
        (liv.name, *(milliseconds_text(times[context], liv.name) for context in plan.contexts)) for liv in plan.classes
    ]
    return Table(
        f"{scale.name}: milliseconds for a decoded token",
        "Batch 1, the last token of a full context, after a cache of all tokens before it.",
        ("class", *(f"context {context:,}" for context in plan.contexts)),
        rows,
    )


def tables(plan: Plan, scale: Scale) -> list[Table]:
    """Return all tables of one scale."""
    measured = {}
    for liv in plan.classes:
        note(scale.name, "side by side:", liv.name)
        measured[liv.name] = measure_class(plan, scale, liv)
    found = [attention_table(plan, scale, measured), reference_table(plan, scale, measured)]
    return [*found, length_table(plan, scale), decoding_table(plan, scale)]


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=PAGES, default="cpu")
    parser.add_argument("--scales", nargs="+", choices=SCALES, default=["nano", "micro"], metavar="SCALE")
    parser.add_argument("--classes", nargs="+", choices=CLASSES, default=list(CLASSES), metavar="CLASS")
    parser.add_argument("--tokens", type=int, default=LONGEST, help=f"of a training step, a multiple of {LONGEST}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="two rounds and two lengths, to see that it works")
    parser.add_argument("--out", type=Path, help="write the page to this file")
    parser.add_argument("--write", action="store_true", help="write the page under docs/")
    given = parser.parse_args()
    if given.tokens < 1 or given.tokens % LONGEST:
        parser.error(f"--tokens is {given.tokens}, but must be a multiple of the greatest length, {LONGEST}")
    return given


def main() -> None:
    given = read_arguments()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    logging.set_verbosity_error()
    device = torch.device(given.device)
    plan = Plan(device, tuple(CLASSES[name] for name in given.classes), given.tokens, given.rounds)
    if given.quick:
        plan = replace(plan, rounds=2, lengths=(128, 512), doublings=(512, 1024), contexts=(128, 512))
    found = [table for name in given.scales for table in tables(plan, find_scale(name))]
    reading = READING.format(tokens=plan.tokens, rounds=plan.rounds, fewest=FEWEST, too_slow=TOO_SLOW)
    page = Page("Speed of operators", reading, found, device)
    page.deliver(PAGES[given.device] if given.write else given.out)


if __name__ == "__main__":
    main()
