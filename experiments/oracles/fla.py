"""Compare star's scans with the naive functions of flash-linear-attention: values and gradients in single precision.

    make oracles

fla-core cannot live in the environment of the tests: with it installed, transformers' Qwen3-Next looks for its kernels
and fails on a CPU. Its naive functions need only torch and einops, so they are loaded from the files of an unpacked
wheel. Exits with 1 if any difference exceeds the tolerance.
"""

import argparse
import importlib.util
import sys
from pathlib import Path

import torch

from star.model.ops.delta import gated_delta_rule
from star.model.ops.linear_attention import linear_attention

TOLERANCE = 2e-5
SIZES = {"batch": 2, "tokens": 150, "heads": 4, "keys": 16, "values": 8}


def load(folder: Path, operator: str):
    """Load the module of naive functions of one operator."""
    path = folder / "fla" / "ops" / operator / "naive.py"
    spec = importlib.util.spec_from_file_location(f"fla_{operator}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_inputs(generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Queries, keys of unit length, values, decays by head and by key channel, correction rates."""
    b, t, h, k, v = SIZES.values()
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    return {
        "q": draw(b, t, h, k),
        "k": torch.nn.functional.normalize(draw(b, t, h, k), dim=3),
        "v": draw(b, t, h, v),
        "by_head": -draw(b, t, h).exp(),
        "by_key": -draw(b, t, h, k).exp() / 4,
        "beta": draw(b, t, h).sigmoid(),
    }


def comparisons(folder: Path):
    """(name, ours, theirs, names of their inputs). Theirs scale queries by 1 / sqrt(K)."""
    scale, start = SIZES["keys"] ** -0.5, torch.zeros(*(SIZES[name] for name in ("batch", "heads", "keys", "values")))
    names = ("gla", "simple_gla", "linear_attn", "gated_delta_rule")
    gla, simple, linear, delta = (load(folder, name) for name in names)
    yield (
        "gated linear attention, a decay for each key channel",
        lambda q, k, v, g: linear_attention(q * scale, k, v, g, start)[0],
        lambda *x: gla.naive_recurrent_gla(*x)[0],
        ("q", "k", "v", "by_key"),
    )
    yield (
        "simple gated linear attention, a decay for each head",
        lambda q, k, v, g: linear_attention(q * scale, k, v, g, start)[0],
        lambda *x: simple.naive_recurrent_simple_gla(*x)[0],
        ("q", "k", "v", "by_head"),
    )
    yield (
        "linear attention without decay",
        lambda q, k, v: linear_attention(q * scale, k, v, torch.zeros(v.shape[:3]), start)[0],
        lambda *x: linear.naive_recurrent_linear_attn(*x)[0],
        ("q", "k", "v"),
    )
    yield (
        "gated delta rule",
        lambda q, k, v, beta, g: gated_delta_rule(q * scale, k, v, g, beta, start)[0],
        lambda *x: delta.naive_recurrent_gated_delta_rule(*x)[0],
        ("q", "k", "v", "beta", "by_head"),
    )


def largest_difference(ours, theirs, tensors) -> float:
    """Return the largest difference of outputs, and of gradients of a projection, relative to entries above 1."""
    results = []
    for function in (ours, theirs):
        places = [tensor.clone().requires_grad_() for tensor in tensors]
        y = function(*places)
        weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        results.append([y.detach(), *torch.autograd.grad((y * weight).sum(), places)])
    pairs = zip(*results, strict=True)
    return max(((a - b).abs().max() / max(1.0, b.abs().max())).item() for a, b in pairs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where fla-core and einops are unpacked")
    folder = parser.parse_args().folder
    sys.path.append(str(folder))  # for einops; nothing imports the package fla itself
    worst = 0.0
    for name, ours, theirs, names in comparisons(folder):
        inputs = make_inputs(torch.Generator().manual_seed(0))
        difference = largest_difference(ours, theirs, [inputs[key] for key in names])
        worst = max(worst, difference)
        print(f"{name:<56}{difference:.1e}")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
