"""Initial weights that two models have in common wherever they have a part in common."""

import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from star.model.operators.liv import Differential, Liv


@contextmanager
def paired_weights(seed: int) -> Iterator[None]:
    """Seed torch's generator of the CPU for each part of the models built inside: the embedding, and each feature and
    each map of each slot.

    What a part draws depends on the seed, on the number of its slot, on what is made before it there, and on its
    shapes, not on other slots. Models of genomes that differ in one slot begin with equal weights in all others, so
    that chance adds little to the difference between their losses.
    """
    slot, seen, generator = 0, Counter[str](), torch.default_generator

    def reseed(module: nn.Module, name: str, part: nn.Module | None) -> None:
        nonlocal slot
        if isinstance(module, nn.ModuleList) and isinstance(part, Liv | Differential):
            slot += 1
            seen.clear()
        seen[name] += 1  # both copies of a differential operator have parts of each name
        key = [seed, slot, zlib.crc32(name.encode()), seen[name]]
        generator.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1))

    generator.manual_seed(seed)
    hook = register_module_module_registration_hook(reseed)
    try:
        yield
    finally:
        hook.remove()
