"""A model as graphs that other programs run: ONNX, or torch.export.

Two graphs are written: `forward`, from tokens (B, T) to logits (B, T, M), and `step`, from one token (B, 1) and the
cache to the logits of the next one (B, 1, M) and the new cache. Each is run on tokens that it was not made with, and
compared with the model. Where an operator allows no other number of tokens than the one that a graph was made with, the
forward pass is written for one length.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

from star.architecture.codes import Sparsity
from star.architecture.spec import LivSpec, ModelSpec, Slot
from star.errors import UserError, disk_errors_reported
from star.export.formats import ONNX, SUFFIXES
from star.model.language_model import Cache, LanguageModel
from star.model.operators.cache import OperatorCache
from star.records import Arrays

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
TOLERANCE = 1e-3  # of the largest logit, in float32
MADE, LONGER, SHORTER = 24, 37, 5  # tokens that a graph is made with, and compared on, beyond the longest window


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor of the cache: where it lies, the slots being counted from 0 and the caches of one slot too, and whether
    it has a row (dimension 1) for each token."""

    slot: int
    part: int
    name: str
    is_history: bool

    @property
    def label(self) -> str:
        """A name that is unique in the graph."""
        return f"slot{self.slot + 1}_{self.part}_{''.join(c if c.isalnum() else '_' for c in self.name)}"


class Step(nn.Module):
    """One step of decoding, with the tensors of the cache as arguments and results: histories as long as the tokens
    so far, states and columns as they are, zero at first."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model, self.entries = model, list_entries(model)

    def forward(self, tokens: Tensor, past: list[Tensor]) -> list[Tensor]:
        """Return the logits (B, 1, M) after one more token (B, 1), and the new tensors of the cache."""
        position = next((one.shape[1] for entry, one in zip(self.entries, past, strict=True) if entry.is_history), 0)
        cache = self.model.new_cache(2)  # whose tensors are all replaced
        cache.context, cache.position = position + 1, position
        for entry, one in zip(self.entries, past, strict=True):
            # A place for the new row, and a copy of what is overwritten.
            own = F.pad(one, (0, 0, 0, 1)) if entry.is_history else one.clone()
            _caches_of(cache, entry.slot)[entry.part].tensors[entry.name] = own
        logits = self.model(tokens, cache)
        return [logits, *self._read(cache)]

    def start(self, prompt: Tensor) -> list[Tensor]:
        """Return the tensors of the cache after the tokens of a prompt (B, T)."""
        cache = self.model.new_cache(prompt.shape[1], prompt.shape[0])
        self.model(prompt, cache)
        return self._read(cache)

    def _read(self, cache: Cache) -> list[Tensor]:
        return [_caches_of(cache, one.slot)[one.part].tensors[one.name] for one in self.entries]


def list_entries(model: LanguageModel) -> list[Entry]:
    """Return the tensors of the cache of a model."""
    small, large = model.new_cache(2), model.new_cache(3)
    return [
        Entry(i, j, name, one.shape != _caches_of(large, i)[j].tensors[name].shape)
        for i in range(len(small.caches))
        for j, cache in enumerate(_caches_of(small, i))
        for name, one in cache.tensors.items()
    ]


def _caches_of(cache: Cache, slot: int) -> list[OperatorCache]:
    """Return the caches of a slot: its own, that of its shift, and those of their parts."""
    found = [cache.caches[slot], *cache.shifts[slot : slot + 1]]
    for one in found:
        found += one.parts
    return found


class Names(NamedTuple):
    """Names of tensors: of the arguments of a graph, and of its results."""

    inputs: list[str]
    outputs: list[str]


class Graph:
    """A module as a graph.

    Args:
        kind: one of `GRAPHS`.
        module: takes and returns tensors, or lists of them.
        arguments: with which the graph is made.
        shapes: which dimensions of the arguments may be other ones, as torch.export has it.
        names: of the tensors.

    Raises:
        Exception: of whatever kind the exporter has, if it cannot express the module.
    """

    def __init__(self, kind: str, module: nn.Module, arguments: tuple, shapes: tuple, names: Names):
        self._program = torch.export.export(module, arguments, dynamic_shapes=shapes, strict=False)
        self._onnx = None
        if kind == ONNX:
            inputs, outputs = names
            made = torch.onnx.export(
                self._program, input_names=inputs, output_names=outputs, dynamo=True, optimize=False, verbose=False
            )
            assert made, "it returns the program"
            for node in made.model.graph.all_nodes():
                node.metadata_props.clear()  # where each was in the source, with paths of this machine
            self._onnx = made

    def run(self, *arguments: Any) -> list[Tensor]:
        """Return the results for other arguments."""
        if self._onnx is None:
            return _flatten(self._program.module()(*arguments))
        import onnxruntime

        session = onnxruntime.InferenceSession(
            self._onnx.model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        given = [one.numpy() for one in _flatten(arguments)]
        inputs = {one.name: value for one, value in zip(session.get_inputs(), given, strict=True)}
        return list(map(torch.from_numpy, session.run(None, inputs)))

    def save(self, path: Path) -> None:
        """Write the graph with its weights."""
        if self._onnx is None:
            torch.export.save(self._program, path)
        else:
            self._onnx.save(path)


@torch.no_grad()
def load_model(spec: ModelSpec, weights: Arrays) -> LanguageModel:
    """Return the model with these weights, in evaluation mode."""
    model = LanguageModel(spec)
    for name, one in model.weights().items():
        one.copy_(torch.from_numpy(weights[name]))
    return model.eval()


def export_graphs(spec: ModelSpec, model: LanguageModel, kind: str, out: Path) -> list[str]:
    """Write the graphs of a model in evaluation mode to the folder `out`. Return sentences on what is fixed or missing.

    Raises:
        UserError: the forward pass cannot be exported, a package of the format is missing, or `out` cannot be written.
    """
    if kind == ONNX and not all(map(find_spec, PACKAGES)):
        raise UserError("--format onnx needs packages that are not installed: pip install 'star[onnx]'")
    forward, step = (out / f"{name}{SUFFIXES[kind]}" for name in ("forward", "step"))
    context = spec.dims.seq_len
    lengths, fixed = lengths_for(spec), (context, context)
    notes = []
    with torch.no_grad(), _quiet(), disk_errors_reported(f"write {out}"):
        out.mkdir(parents=True, exist_ok=True)
        step.unlink(missing_ok=True)  # of an earlier export
        if graph := make_forward(kind, model, lengths):
            graph.save(forward)
        elif graph := make_forward(kind, model, fixed):
            graph.save(forward)
            blamed = _blame(spec, lambda one: make_forward(kind, one, lengths))
            notes.append(f"{forward.name} takes {context:,} tokens, no more and no fewer, because of {blamed}")
        else:
            raise UserError(f"{kind} cannot express {_blame(spec, lambda one: make_forward(kind, one, fixed))}")
        if graph := make_step(kind, model, lengths):
            graph.save(step)
        else:
            blamed = _blame(spec, lambda one: make_step(kind, one, lengths))
            notes.append(f"there is no {step.name}: {kind} cannot express a decoding step of {blamed}")
    return notes


def lengths_for(spec: ModelSpec) -> tuple[int, ...]:
    """Return the number of tokens that a graph is made with, and those on which it is compared: more, and fewer."""
    banded = [spec.dims.of(slot.liv).band for slot in spec.slots if slot.liv.sparsity is Sparsity.BANDED]
    window = max(banded, default=0)  # made within it, a graph would have no end of it
    return MADE + window, LONGER + window, SHORTER


def make_forward(kind: str, model: LanguageModel, lengths: Sequence[int]) -> Graph | None:
    """Return the graph of a forward pass, made with one number of tokens and compared on others, which may be the
    same; None if there is none, or it computes something else."""
    arguments = [(_draw(batch, length),) for batch, length in enumerate(lengths, start=2)]
    length = Dim.STATIC if lengths[0] == lengths[1] else Dim.AUTO
    return _make(kind, _Forward(model), arguments, ({0: Dim.AUTO, 1: length},), Names(["tokens"], ["logits"]))


def make_step(kind: str, model: LanguageModel, lengths: Sequence[int]) -> Graph | None:
    """Return the graph of a decoding step, made after one prompt and compared after others; None as above."""
    step = Step(model)
    prompts = [_draw(batch, length) for batch, length in enumerate(lengths, start=2)]
    arguments = [(prompt[:, :1], step.start(prompt)) for prompt in prompts]
    past = [{0: Dim.AUTO, 1: Dim.AUTO} if one.is_history else {0: Dim.AUTO} for one in step.entries]
    labels = [one.label for one in step.entries]
    names = Names(["tokens", *labels], ["logits", *(f"new_{one}" for one in labels)])
    return _make(kind, step, arguments, ({0: Dim.AUTO}, past), names)


class _Forward(nn.Module):
    """The forward pass without a cache."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        return self.model(tokens)


def _make(kind: str, module: nn.Module, arguments: Sequence[tuple], shapes: tuple, names: Names) -> Graph | None:
    """Return the graph of a module, made with the first arguments and compared on the others."""
    made, *compared = arguments
    try:
        graph = Graph(kind, module, made, shapes, names)
        found = [graph.run(*one) for one in compared]
    except Exception:  # exporters raise errors of many kinds
        return None
    wanted = [_flatten(module(*one)) for one in compared]
    pairs = (pair for a, b in zip(found, wanted, strict=True) for pair in zip(a, b, strict=True))
    agrees = all(_agree(*pair) for pair in pairs)
    return graph if agrees else None


def _agree(one: Tensor, other: Tensor) -> bool:
    largest = max(1e-3, other.abs().max().item()) if other.numel() else 1.0
    return one.shape == other.shape and bool(((one - other).abs() <= TOLERANCE * largest).all())


def _blame(spec: ModelSpec, make: Callable[[LanguageModel], Graph | None]) -> str:
    """Return the names of the operators of which a model of one slot alone cannot be made into a graph."""
    first: dict[LivSpec, int] = {}
    for i, slot in enumerate(spec.slots):
        first.setdefault(slot.liv, i)
    blamed = []
    for liv, place in first.items():
        own = (0,) * len(liv.groups)
        alone = replace(spec, slots=(Slot(spec.slots[place].class_id, liv, own, own),))
        if not make(LanguageModel(alone).eval()):
            slots = [str(i + 1) for i, slot in enumerate(spec.slots) if slot.liv == liv]
            blamed.append(f"{liv.name} (slot{'s' * (len(slots) > 1)} {', '.join(slots)})")
    return ", ".join(blamed) or "the way in which its slots share features"


def _draw(batch: int, length: int) -> Tensor:
    return torch.randint(256, (batch, length), generator=torch.Generator().manual_seed(length))


def _flatten(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    return [tensor for one in values for tensor in _flatten(one)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what exporters say of themselves from people."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
