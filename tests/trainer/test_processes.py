"""Two processes that train together, as torchrun starts them, against one."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import torch.distributed as dist
from support.paths import ROOT
from support.tiny import TINY_TOML, write_text
from support.trained import TIMES

from star.storage.training_directory import TrainingDirectory
from star.trainer.processes import agree

STAR = Path(sys.executable).with_name("star")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]
TOLERANCE = 2e-3  # of losses, relative: sums in another order, over two hundred steps


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    (folder / "tiny.toml").write_text(TINY_TOML.replace("batch_size = 2", "batch_size = 4"))
    return [
        *("train", "lfm2-like", "--scale", str(folder / "tiny.toml"), "--corpus", write_text(folder)),
        *(
            "--tokens",
            "12800",
            "--checkpoint-tokens",
            "1280",
            "--device",
            "cpu",
            "--threads",
            "1",
            "--peak-flops",
            "1e9",
        ),
    ]


def start(options, path, processes, *launch):
    command = [*TORCHRUN, f"--nproc-per-node={processes}", *launch] if processes > 1 else []
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, str(STAR), *options, "--out", str(path)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows_of(path):
    rows = TrainingDirectory(path).read_curve()
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def finish(process):
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.count("bits/byte") == 1 and err.count("step 200/200") == 1  # the first process alone tells
    return err


@pytest.fixture(scope="module")
def together(tmp_path_factory, options):
    path = tmp_path_factory.mktemp("together") / "training"
    finish(start(options, path, 2))
    return rows_of(path)


def test_two_processes_agree_with_one(tmp_path, options, together):
    finish(start(options, tmp_path / "alone", 1))
    alone = rows_of(tmp_path / "alone")
    assert [row["step"] for row in together] == [row["step"] for row in alone] == list(range(20, 201, 20))
    for row, other in zip(together, alone, strict=True):
        for name in ("train_bpb", "valid_bpb"):
            assert row[name] == pytest.approx(other[name], rel=TOLERANCE)
    assert together[-1]["valid_bpb"] != alone[-1]["valid_bpb"]  # or nothing was divided


def test_a_killed_process_is_started_again_and_all_go_on_from_the_last_checkpoint(tmp_path, options, together):
    path = tmp_path / "killed"
    process = start(options, path, 2, "--max-restarts=2")
    while not TrainingDirectory(path).steps():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    ranks = [one for one in psutil.Process(process.pid).children() if "train" in one.cmdline()]
    os.kill(ranks[-1].pid, signal.SIGKILL)
    err = finish(process)
    assert err.count("training ") == 2 and "parameters: step " in err
    assert rows_of(path) == together


@pytest.mark.parametrize("first", [0, 1])
def test_processes_agree_on_a_name_that_former_ones_did_not_have(first):
    """Whoever comes first: one that finds the word of former processes waits for that of its own."""
    store, names = dist.HashStore(), []
    for _ in range(3):
        with ThreadPoolExecutor(3) as pool:
            begun = [pool.submit(agree, store, first, 3)]
            time.sleep(0.1)
            begun += [pool.submit(agree, store, rank, 3) for rank in range(3) if rank != first]
            found = {one.result(timeout=20) for one in begun}
        assert len(found) == 1
        names += found
    assert len(set(names)) == 3
