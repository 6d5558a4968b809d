"""Exported models in the hands of people: traced, exported by torch, run in every mode, and on a command line."""

import importlib.util
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load, save
from torch._subclasses.fake_tensor import FakeTensorMode

from star.architecture.genome import decode, parse
from star.architecture.spec import BackboneConfig, Dimensions
from star.architecture.structures import specify
from star.export.single_file import ExportHeader, export_model
from star.metrics.weights import opened
from star.model.language_model import LanguageModel
from star.storage.arrays import pack_arrays, unpack_arrays

DIMS = Dimensions(d_model=32, head_dim=8, vocab_size=256, seq_len=48)
MODELS = {
    "attention": ("11111-91111-201112-91111-11112", DIMS),
    "relative": ("11111-91111", replace(DIMS, style=BackboneConfig(positions="relative"))),
    "alibi": ("11111-91111", replace(DIMS, style=BackboneConfig(positions="alibi"))),
    "latent": ("211111-91111", DIMS),
    "linear": ("231111-251111-291111", DIMS),
    "recurrences": ("51111-301111-71111-81111", DIMS),
    "differential": ("101111-391111", DIMS),
}
SPECS = {name: specify(decode(parse(genome)), dims) for name, (genome, dims) in MODELS.items()}


def export(genome: str, dims: Dimensions, folder: Path) -> Path:
    spec = specify(decode(parse(genome)), dims)
    torch.manual_seed(3)
    weights = {name: tensor.numpy() for name, tensor in LanguageModel(spec).weights().items()}
    header = ExportHeader(genome=parse(genome), facts=(), context=48, dtype_bytes=2)
    export_model(spec, weights, header, folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    out = tmp_path_factory.mktemp("models")
    return {name: export(genome, dims, out / name) for name, (genome, dims) in MODELS.items()}


@pytest.fixture(params=MODELS)
def module(request, folders):
    """The module of an exported file, imported anew, so that it has kept nothing yet."""
    found = importlib.util.spec_from_file_location("model", folders[request.param] / "model.py")
    module = sys.modules["model"] = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    module.exported_from, module.folder = SPECS[request.param], folders[request.param]
    yield module
    del sys.modules["model"]


def draw(num_tokens: int) -> torch.Tensor:
    return torch.randint(0, 256, (2, num_tokens), generator=torch.Generator().manual_seed(num_tokens))


def check_lengths(module, *lengths: int) -> None:
    """Logits are plain tensors, those of a model that nobody traced, and train every weight."""
    model, twin = module.load(), LanguageModel(module.exported_from)
    with opened(module.folder / "model.safetensors") as stored, torch.no_grad():
        for name, tensor in twin.weights().items():
            tensor.copy_(stored.read(name))
    for length in lengths:
        logits = model(draw(length))
        assert type(logits) is torch.Tensor and not logits.is_inference()
        torch.testing.assert_close(logits, twin.eval()(draw(length)))
        model.zero_grad()
        logits.square().mean().backward()
        assert all(type(weight.grad) is torch.Tensor for weight in model.parameters())


def test_a_model_that_was_exported_runs_at_any_length(module):
    program = torch.export.export(module.load(), (draw(6),))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(draw(6)), module.load()(draw(6)))
    check_lengths(module, 6, 5, 9, 3)


@pytest.mark.filterwarnings(
    "ignore:`torch.jit:DeprecationWarning", "ignore::torch.jit.TracerWarning", "ignore:.*autograd.Function:UserWarning"
)
def test_a_model_that_was_traced_runs_at_any_length(module):
    with torch.no_grad():
        traced = torch.jit.trace(module.load(), (draw(6),), check_trace=False)
        torch.testing.assert_close(traced(draw(6)), module.load()(draw(6)))
    check_lengths(module, 6, 5, 9, 3)


def test_a_model_that_ran_in_inference_mode_trains(module):
    with torch.inference_mode():
        for length in (5, 9, 3):
            module.load()(draw(length))
        module.load().generate(draw(4), 6)
    check_lengths(module, 9, 16, 5, 3)


def test_a_model_runs_beside_one_of_fake_tensors(module):
    for _ in range(2):
        with FakeTensorMode():
            module.LanguageModel()(torch.zeros(2, 5, dtype=torch.long))
        check_lengths(module, 6, 5, 9, 3)


@pytest.mark.parametrize("shape", [(2, 0), (0, 4), (0, 0)])
def test_no_tokens_are_a_sentence(module, shape):
    tokens = torch.zeros(shape, dtype=torch.long)
    for use in (lambda model: model(tokens), lambda model: model.generate(tokens, 3)):
        with pytest.raises(ValueError, match="no tokens in a batch of shape"):
            use(module.load())


def run(folder: Path, *options: str | bytes, shell: str = "") -> subprocess.CompletedProcess:
    command = [sys.executable, "-I", "-W", "ignore", "model.py", *options]
    if shell:
        command = ["bash", "-o", "pipefail", "-c", f'"$@" {shell}', "bash", *command]
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=120)


@pytest.mark.parametrize(
    "options, words",
    [
        (["--bytes", "-3"], "the number of tokens to add must be 0 or more, not -3"),
        (["--bytes", str(10**15)], "memory"),
        (["--temperature", "-1"], "the temperature must be 0 or more, not -1.0"),
        (["--temperature", "nan"], "the temperature must be 0 or more, not nan"),
        (["--seed", str(10**30)], "verflow"),
        (["--weights", "missing"], "No such file or directory: 'missing'"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(folders, options, words):
    found = run(folders["recurrences" if "memory" not in words else "attention"], "a", *options)
    (line,) = found.stderr.decode().splitlines()
    assert found.returncode == 2 and line.startswith("model.py: ") and words in line
    assert not found.stdout


def test_the_command_line_draws_unless_asked_for_the_likeliest(folders):
    folder = folders["relative"]
    default, drawn, likeliest = (
        run(folder, "ab", *more).stdout for more in ([], ["--temperature", "0.8"], ["--temperature", "0"])
    )
    assert default == drawn != likeliest
    assert default.startswith(b"ab") and len(default.decode()) > 100
    text = run(folder, "--help").stdout.decode()
    assert "0 takes the likeliest (default: 0.8)" in " ".join(text.split())
    for option in ("prompt", "--bytes", "--temperature", "--seed", "--weights"):
        assert re.search(rf"^  {option}\b.*(\n {{8,}}.*)*default", text, re.MULTILINE), option


def test_odd_prompts_and_closed_pipes_do_no_harm(folders):
    folder = folders["alibi"]
    assert run(folder, "", "--bytes", "0").stdout == b"\n\n"
    assert run(folder, b"caf\xe9", "--bytes", "0").stdout.decode() == "caf\ufffd\n"
    closed = run(folder, "--bytes", "3", shell="| true")
    assert (closed.returncode, closed.stderr) == (0, b"")


def test_weights_of_equal_content_are_equal_files(tmp_path):
    genome, dims = MODELS["attention"]
    files = {(export(genome, dims, tmp_path / str(i)) / "model.safetensors").read_bytes() for i in range(8)}
    assert len(files) == 1
    arrays = load(files.pop())
    backwards = dict(reversed(arrays.items()))
    assert len({pack_arrays(given) for given in (arrays, backwards) * 8}) == 1
    assert unpack_arrays(pack_arrays(backwards)).keys() == arrays.keys()


def test_weights_written_with_two_notes_are_still_read(folders):
    path = folders["latent"] / "model.safetensors"
    found = run(folders["latent"], "ab").stdout
    path.write_bytes(save(load(path.read_bytes()), {"genome": "211111-91111", "hash": "00"}))
    assert run(folders["latent"], "ab").stdout == found


def test_the_text_refers_to_no_file_that_is_not_beside_it(folders):
    for folder in folders.values():
        text = (folder / "model.py").read_text().replace("`python model.py", "")
        assert not re.findall(r"docs/|star/|star\.\w|tests/|\w+\.(?:py|md)\b", text)


def test_import_of_the_export_loads_no_torch():
    code = "import sys, star.export.front, star.export.single_file; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
