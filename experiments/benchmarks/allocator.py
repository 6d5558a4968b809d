"""How much CPU time proxies save where the C library keeps the memory that they free.

The same trainings go on in turn, a few steps with the library's defaults and a few with `keep_freed_memory`; what is
printed is the median and range of the ratios of their CPU seconds.

    python experiments/benchmarks/allocator.py [--rounds 15]
"""

import argparse
import ctypes
import statistics
import time
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch

from star.architecture.genome import Space, decode
from star.architecture.scales import SCALES
from star.architecture.structures import specify
from star.data.corpus import load_corpus
from star.model.language_model import LanguageModel
from star.training.allocator import keep_freed_memory
from star.training.batches import Windows
from star.training.loop import Training

NANO = SCALES["nano"]
GENOMES, STEPS = 6, 2  # uniform samples of the paper's deck; steps of each in a round
DEFAULT = 128 << 10  # bytes of glibc's thresholds before anything is allocated


def restore_defaults() -> AbstractContextManager[None]:
    library = ctypes.CDLL(None)
    for parameter in (-1, -3):
        library.mallopt(parameter, DEFAULT)
    return nullcontext()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    corpus, rng = load_corpus(("stdlib",), 1 << 20), np.random.default_rng(0)
    trainings = []
    for _ in range(GENOMES):
        model = LanguageModel(specify(decode(Space(NANO.num_slots).sample(rng)), NANO.dims))
        trainings.append(Training(model, Windows(corpus.train, NANO.recipe), NANO.recipe, seed=0))
    step, ratios = 0, []
    for number in range(rounds + 1):
        seconds = []
        for manage in (keep_freed_memory, restore_defaults):
            step += STEPS
            begun = time.process_time()
            with manage():
                for training in trainings:
                    training.advance(step)
            seconds.append(time.process_time() - begun)
        if number:  # the first round warms up
            ratios.append(seconds[0] / seconds[1])
    print(f"CPU seconds, kept / default: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
