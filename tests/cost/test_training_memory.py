"""The memory that a training is said to need, against that which it takes."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from support.paths import importing

from star.architecture.genome import Space, decode, parse
from star.architecture.scales import SCALES
from star.architecture.spec import BackboneConfig, Dimensions
from star.cost import training_memory as memory
from star.cost.training_memory import check_memory, free_memory, needed_memory

DIMS = Dimensions(d_model=192, head_dim=24, vocab_size=256, seq_len=256)
RECIPE = replace(SCALES["micro"].recipe, batch_size=6, seq_len=256, tokens=2 * 6 * 256)
FACTOR = 1.8  # either way: what the allocator keeps for itself differs from run to run
# Attention, banded, latent, convolution, long convolution, scans of three kinds, experts, shared features, a mixture.
GENOMES = {
    "attention": "11111-11111-11111-11111",
    "banded": "19.1.1.1.1-19.1.1.1.1-19.1.1.1.1",
    "latent": "21.1.1.1.1-21.1.1.1.1-21.1.1.1.1",
    "convolution": "71111-71111-71111-71111",
    "long-convolution": "81111-81111-81111",
    "recurrence": "51111-51111",
    "wide-recurrence": "28.1.1.1.1-28.1.1.1.1",
    "delta-rule": "29.1.1.1.1-29.1.1.1.1",
    "experts": "33.1.1.1.1-33.1.1.1.1",
    "differential": "10.1.1.1.1-17.1.1.1.1-14.1.1.1.1",
    "mixture": "11111-35.1.1.1.1-71111-25.1.1.1.1-23.1.1.1.1-30.1.1.1.1",
    "shifted": "11111-91111-71111-91111",
}
STYLES = {"shifted": BackboneConfig(shift=8)}
# Trains each in a process forked from one that has everything loaded, and states by how much its peak is above that.
MEASURE = """
import ctypes, json, os
from dataclasses import replace
from pathlib import Path
import numpy as np
import torch
import torch._dynamo
from star.architecture.genome import decode, parse
from star.architecture.structures import specify
from star.model.language_model import LanguageModel
from star.training.batches import Windows
from star.training.loop import Training
from test_training_memory import GENOMES, RECIPE, dims_of

def peak():
    return next(1024 * int(l.split()[1]) for l in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in l)

def train(genome, dims):
    model = LanguageModel(specify(decode(parse(genome)), dims))
    text = np.random.default_rng(0).integers(0, 256, 10_000, dtype=np.uint8)
    Training(model, Windows(text, RECIPE), RECIPE, 0).advance(2)
    return {name: tensor.float().numpy() for name, tensor in model.weights().items()}

torch.set_num_threads(1)
for name, genome in GENOMES.items():
    if os.fork() == 0:
        train(genome, replace(dims_of(name), d_model=48))  # what is loaded once
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = peak()
        weights = train(genome, dims_of(name))
        print(json.dumps([name, peak() - before]), flush=True)
        os._exit(0)
    os.wait()
"""


def dims_of(name):
    """The sizes at which the genome of that name is trained."""
    return replace(DIMS, style=STYLES.get(name, DIMS.style))


def run(code):
    """Run code that may import this file, in a process of its own."""
    environment = importing(Path(__file__).parent)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


def test_what_is_needed_is_what_a_training_takes():
    done = run(MEASURE)
    measured = dict(map(json.loads, done.stdout.splitlines()))
    assert measured.keys() == GENOMES.keys(), done.stderr
    for name, genome in GENOMES.items():
        needed = needed_memory(decode(parse(genome)), dims_of(name), RECIPE)
        assert measured[name] / FACTOR < needed < measured[name] * FACTOR, (name, needed, measured[name])


def test_more_of_anything_needs_more():
    rng = np.random.default_rng(0)
    for _ in range(20):
        slots = decode(Space(4, "extended").sample(rng))
        needed = needed_memory(slots, DIMS, RECIPE)
        assert needed_memory(slots, DIMS, replace(RECIPE, batch_size=12)) > needed
        assert needed_memory(slots, replace(DIMS, d_model=2 * DIMS.d_model), RECIPE) > needed
        assert needed_memory(slots, replace(DIMS, vocab_size=1000), RECIPE) > needed
        assert needed > 16 * 256 * DIMS.d_model, "the embedding with its gradient and moments"


def test_what_a_process_lacks_is_told_before_anything_is_built():
    """In a process of its own, whose memory is bounded as a worker's is."""
    code = """
from star.architecture.genome import decode, parse
from star.cost.training_memory import check_memory, free_memory
from star.workers.actor import bounded
from test_training_memory import DIMS, RECIPE
assert free_memory() == float("inf")
with bounded(1 << 30):
    print(0.5e9 < free_memory() <= 1 << 30)
    check_memory(decode(parse("11111-11111")), DIMS, RECIPE)
    try:
        check_memory(decode(parse("-".join(["28.1.1.1.1"] * 30))), DIMS, RECIPE)
    except MemoryError as error:
        print(error)
"""
    done = run(code)
    first, second = done.stdout.splitlines()
    assert first == "True"
    needed, free = (float(part.split(" GB")[0]) for part in second.replace("a worker has", "about").split("about")[1:])
    assert second.startswith("needs about ") and needed > 2 and 0.5 < free < 1.074


def test_an_unbounded_process_may_take_all(monkeypatch):
    monkeypatch.setattr(memory.resource, "getrlimit", lambda kind: (memory.resource.RLIM_INFINITY,) * 2)
    assert free_memory() == float("inf")
    check_memory(decode(parse("11111")), replace(DIMS, vocab_size=10**9), RECIPE)
