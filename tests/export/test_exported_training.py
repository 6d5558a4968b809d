"""train.py beside an exported model: it learns, and what it writes is read by the model and by star."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from support.exported import import_file

from star.architecture.genome import decode, parse
from star.architecture.spec import Dimensions
from star.architecture.structures import specify
from star.export.single_file import TRAINING, ExportHeader, export_model
from star.model.language_model import LanguageModel

DIMS = Dimensions(d_model=32, head_dim=8, vocab_size=256, seq_len=48)
GENOME = "31111-331111"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("model")
    spec = specify(decode(parse(GENOME)), DIMS)
    torch.manual_seed(3)
    weights = {name: tensor.numpy() for name, tensor in LanguageModel(spec).weights().items()}
    export_model(spec, weights, ExportHeader(genome=parse(GENOME), facts=(), context=48, dtype_bytes=2), out)
    (out / "book.txt").write_text("abcdefgh" * 500)
    return out


def run(folder, *options):
    command = [sys.executable, "-W", "ignore", *options]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    return found.stdout


def losses(text):
    return [float(one) for one in re.findall(r"loss (\d+\.\d+)", text)]


def test_it_learns_and_goes_on_from_what_it_wrote(folder):
    options = ("book.txt", "--length", "32", "--device", "cpu")
    first = losses(run(folder, "train.py", *options, "--steps", "200", "--out", "trained.safetensors"))
    assert first[-1] < first[0] < 5.6
    again = losses(run(folder, "train.py", *options, "--steps", "1", "--from", "trained.safetensors", "--out", "more"))
    assert again[0] < first[0]
    assert run(folder, "model.py", "abcdefgh", "--weights", "trained.safetensors", "--bytes", "4").startswith(
        "abcdefgh"
    )
    module = import_file(folder / "model.py")
    assert all(np.isfinite(one.numpy()).all() for one in module.read_safetensors(folder / "more").values())


def test_a_text_that_is_too_short_is_one_line(folder):
    (folder / "short.txt").write_text("ab")
    found = subprocess.run([sys.executable, "train.py", "short.txt"], cwd=folder, capture_output=True, text=True)
    assert found.returncode == 2 and found.stderr.splitlines()[-1].startswith("short.txt has 2 tokens")


def test_it_is_short_and_the_readme_names_what_is_there(folder):
    assert len(TRAINING.read_text().splitlines()) < 100
    text = (folder / "README.md").read_text()
    for name in re.findall(r"python (\S+)", text):
        assert (folder / name).is_file()
    for option in re.findall(r" (--\w+)", text):
        assert option in run(folder, "train.py", "--help") + run(folder, "model.py", "--help")
