"""An exported file beside the model that it was made from: the same weights, logits and gradients, no idle line."""

import ast
import importlib.util
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, TextIO

import pytest
import torch
from safetensors.torch import save

from star.architecture.genome import parse
from star.architecture.spec import ModelSpec
from star.cost.cost import price
from star.export.single_file import ExportHeader, export_model, model_source, specialise
from star.model.language_model import LanguageModel

TOKENS, PROMPT, MORE = 45, 20, 27  # of a sequence; of its prompt; decoded when single tokens begin
ALIKE = 1e-6  # of logits in single precision, where an order of operations changes
EXACT = 1e-10  # of gradients in double precision


class Lines:
    """Notes the lines of a file that run."""

    def __init__(self, path: Path) -> None:
        self.path, self.seen = str(path), set()

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename != self.path:
            return None
        self.seen.add(frame.f_lineno)
        return self

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note lines while the context lasts."""
        before = sys.gettrace()
        sys.settrace(self)
        try:
            yield
        finally:
            sys.settrace(before)

    def idle(self) -> list[str]:
        """Return the statements inside of functions of which no line ran."""
        text = Path(self.path).read_text()
        lines, found = text.splitlines(), []
        for function in ast.walk(ast.parse(text)):
            if not isinstance(function, ast.FunctionDef):
                continue
            for node in ast.walk(function):
                is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                if isinstance(node, ast.stmt) and not isinstance(node, ast.FunctionDef) and not is_text:
                    last = max(node.lineno, node.end_lineno if not hasattr(node, "body") else node.lineno)
                    if not self.seen & set(range(node.lineno, last + 1)):
                        found.append(f"{function.name}: {lines[node.lineno - 1].strip()}")
        return found


def import_file(path: Path) -> ModuleType:
    """Return an exported file as a module."""
    found = importlib.util.spec_from_file_location("exported_model", path)
    assert found and found.loader
    module = sys.modules[found.name] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def check_file(spec: ModelSpec, folder: Path) -> Lines:
    """Compare the exported file of a model with the model: weights from a seed, logits in training and evaluation and
    token by token, gradients, the number of parameters. Return the lines that ran.
    """
    header = ExportHeader(genome=parse("91111"), facts=(), context=48, dtype_bytes=2)
    code = specialise(spec, header)
    path = folder / "model.py"
    path.write_text(model_source(spec, header, code))
    assert path.read_text() == model_source(spec, header), "it depends on what was exported before"
    module, lines = import_file(path), Lines(path)
    torch.manual_seed(3)
    model = LanguageModel(spec)
    drawn = torch.get_rng_state()
    torch.manual_seed(3)
    with lines.watched():
        twin = module.LanguageModel()
    assert torch.equal(drawn, torch.get_rng_state())
    own, theirs = model.weights(), twin.weights()
    assert {code.name(name) for name in own} == theirs.keys()
    for name, tensor in own.items():
        assert torch.equal(tensor, theirs[code.name(name)]), name
        tensor += 0.1 * torch.randn_like(tensor)
        theirs[code.name(name)].copy_(tensor)
    params = sum(one.numel() for one in twin.parameters())
    assert params == price(spec.slots, spec.dims).params == module.PARAMETERS
    tokens = torch.randint(0, spec.dims.vocab_size, (2, TOKENS))
    _compare_whole(model, twin, tokens, code.name, lines)
    _compare_steps(model, twin, tokens, lines)
    weights = {name: tensor.numpy() for name, tensor in model.eval().weights().items()}
    export_model(spec, weights, header, folder)
    with lines.watched():
        _use(module, folder)
    return lines


def _compare_whole(
    model: LanguageModel, twin: Any, tokens: torch.Tensor, name_of: Callable[[str], str], lines: Lines
) -> None:
    for training in (True, False):
        model.train(training), twin.train(training)
        with lines.watched():
            found = twin(tokens)
            found.square().mean().backward()
        assert torch.equal(model(tokens), found)
    torch.set_default_dtype(torch.float64)
    try:
        for one in (model.double().train(), twin.double().train()):
            one.zero_grad()
            one(tokens).square().mean().backward()
    finally:
        torch.set_default_dtype(torch.float32)
    theirs = dict(twin.named_parameters())
    for name, parameter in model.named_parameters():
        gradient = theirs[name_of(name)].grad
        assert (gradient is None) == (parameter.grad is None), name
        if gradient is not None:
            scale = parameter.grad.abs().max()
            torch.testing.assert_close(gradient / scale, parameter.grad / scale, rtol=0, atol=EXACT, equal_nan=True)
    model.float().eval(), twin.float().eval()


@torch.no_grad()
def _compare_steps(model: LanguageModel, twin: Any, tokens: torch.Tensor, lines: Lines) -> None:
    caches = model.new_cache(TOKENS, 2), twin.new_cache(TOKENS, 2)
    steps = [(0, PROMPT), (PROMPT, MORE)] + [(i, i + 1) for i in range(MORE, TOKENS)]
    for start, stop in steps:
        with lines.watched():
            found = twin(tokens[:, start:stop], caches[1])
        expected = model(tokens[:, start:stop], caches[0])
        torch.testing.assert_close(found, expected, rtol=ALIKE, atol=ALIKE)
    assert sum(one.nbytes for one in find_tensors(caches[1])) == caches[0].num_bytes


def find_tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors that a cache holds, those that it shares with other caches once."""
    if isinstance(value, torch.Tensor):
        yield value
    for name, one in vars(value).items() if hasattr(value, "__dict__") else ():
        if name != "owners":
            yield from find_tensors(one)
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from find_tensors(one)


def _use(module: ModuleType, folder: Path) -> None:
    """Take every way through the file that an evaluation and a step of training leave out, errors included."""
    model = module.load()
    for temperature in (0.8, 0.0):
        module.generate(model, bytes([1, 2]), 2, temperature)
    (folder / "bad").write_bytes(b"no weights")
    (folder / "other").write_bytes(save({"x": torch.zeros(2)}))
    (folder / "short").write_bytes(save({"x": torch.zeros(2)})[:-4])
    with (folder / "out").open("w") as file:
        for stdout in (io.StringIO(), Closed(file)):
            with redirect_stdout(stdout), patched_argv("model.py", "a", "--bytes", "1"):
                module.main()
    with redirect_stderr(io.StringIO()), patched_argv("model.py", "--weights", str(folder / "bad")):
        refuse(module.main, SystemExit)
    for name in ("other", "short"):
        refuse(lambda name=name: module.load(folder / name), ValueError)
    for layer in model.modules():
        if hasattr(layer, "rebalance"):
            layer.rebalance(1e-3)
    tokens = torch.zeros(1, 2, dtype=torch.long)
    for refused in (
        lambda: model.generate(tokens, -1),
        lambda: model.generate(tokens, 1, -1.0),
        lambda: model(tokens[:, :0]),
        lambda: model(tokens, model.new_cache(1)),
        lambda: model(torch.zeros(1, 100, dtype=torch.long)) if hasattr(model, "positions") else model(tokens[:0]),
    ):
        refuse(refused, ValueError)


def refuse(action: Callable[[], Any], kind: type[BaseException]) -> None:
    """Expect an error."""
    with pytest.raises(kind):
        action()


@contextmanager
def patched_argv(*argv: str) -> Iterator[None]:
    """Give a program these arguments."""
    before, sys.argv = sys.argv, [*argv]
    try:
        yield
    finally:
        sys.argv = before


class Closed(io.StringIO):
    """Output that nobody reads any more."""

    def __init__(self, file: TextIO) -> None:
        super().__init__()
        self._file = file

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def fileno(self) -> int:
        return self._file.fileno()
