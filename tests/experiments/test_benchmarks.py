"""The scripts of experiments/benchmarks that make pages: they run, and the page has the tables that it should have."""

import re
import subprocess
import sys

import pytest
import torch
from support.paths import ROOT

SCRIPTS = ROOT / "experiments" / "benchmarks"
RATIO = re.compile(r"[\d.,]+ \([\d.,]+ to [\d.,]+\)")
NEEDS_A_GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
ON_EACH_DEVICE = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_A_GPU)])


def run(script, device, path, *options):
    """The page that a script writes, as title -> rows of cells, the head of the table first."""
    command = [sys.executable, SCRIPTS / script, "--device", device, "--out", path, *options]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    page = path.read_text()
    for word in (f"`python experiments/benchmarks/{script} --device {device}", "1 thread", "torch 2.", "Date: 20"):
        assert word in page
    tables = {}
    for part in page.split("\n## ")[1:]:
        title, *lines = part.splitlines()
        head, rule, *rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
        assert set("".join(rule)) == set("-:")
        tables[title] = [head, *rows]
    return tables


@pytest.mark.slow
@ON_EACH_DEVICE
def test_the_page_of_operators(device, tmp_path):
    """GLA has no reference, so it is not in the second table."""
    options = ["--quick", "--scales", "nano", "--classes", "GConv-1", "GLA"]
    tables = run("operators.py", device, tmp_path / "page.md", *options)
    heads = [table[0] for table in tables.values()]
    assert heads == [
        ["class", "128 tokens", "512 tokens"],
        ["class", "module", "128 tokens", "512 tokens"],
        ["class", "512", "1,024", "1,024 / 512", "time"],
        ["class", "context 128", "context 512"],
    ]
    names = [[row[0] for row in table[1:]] for table in tables.values()]
    assert names == [["SA-1 in ms", "GConv-1", "GLA"], ["GConv-1"], ["GConv-1", "GLA"], ["GConv-1", "GLA"]]
    for head, *rows in tables.values():
        for row in rows:
            assert len(row) == len(head)
    beside, public, length, decoding = tables.values()
    cells = [cell for row in beside[1:] + decoding[1:] for cell in row[1:]] + public[1][2:]
    assert all(map(RATIO.fullmatch, cells + [row[3] for row in length[1:]]))
    assert public[1][1] == "Lfm2ShortConv"


@pytest.mark.slow
@ON_EACH_DEVICE
def test_the_page_of_whole_models(device, tmp_path):
    options = ["--scales", "nano", "--models", "gconv", "--rounds", "2"]
    tables = run("cuda_graphs.py", device, tmp_path / "page.md", *options)
    (table,) = tables.values()
    graphs = ["compiled, reduce-overhead / eager", "one CUDA graph / eager"] if device == "cuda" else []
    assert table[0] == ["model", "eager in ms", "compiled / eager", *graphs]
    assert len(table) == 2 and table[1][0] == "gconv" and all(map(RATIO.fullmatch, table[1][1:]))


@pytest.mark.slow
@ON_EACH_DEVICE
def test_the_page_of_workers_that_share_a_device(device, tmp_path):
    tables = run("gpu_workers.py", device, tmp_path / "page.md", "--workers", "1", "2", "--seconds", "20")
    (table,) = tables.values()
    assert table[0] == ["workers", "proxies an hour", "of one"]
    assert [row[0] for row in table[1:]] == ["1", "2"]
    assert all(float(row[1].replace(",", "")) > 0 for row in table[1:])
