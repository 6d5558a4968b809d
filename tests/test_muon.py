"""Batched Muon against torch's own, which takes one matrix at a time."""

import pytest
import torch

from star.muon import Muon, orthogonalise

SHAPES = ((12, 12), (12, 12), (5, 12), (12, 5), (12, 12), (12, 5), (1, 7))


def make_params() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def train(params: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer, steps: int = 6) -> None:
    generator = torch.Generator().manual_seed(2)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 / (step + 1)
        for param in params:
            param.grad = torch.randn(param.shape, generator=generator)
        optimizer.step()


def test_equals_torch_muon(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.float)  # so that torch's is exact enough to compare
    ours, theirs = make_params(), make_params()
    train(ours, Muon(ours, lr=0.05, weight_decay=0.3))
    train(theirs, torch.optim.Muon(theirs, lr=0.05, weight_decay=0.3))
    for before, a, b in zip(make_params(), ours, theirs, strict=True):
        assert (a - before).norm() > 0.1
        torch.testing.assert_close(a, b, rtol=0, atol=2e-5)


@pytest.mark.parametrize("rows, columns", [(1, 1), (8, 8), (8, 30), (30, 8)])
def test_orthogonalise_keeps_singular_vectors_and_levels_values(rows, columns):
    torch.manual_seed(0)
    u, _ = torch.linalg.qr(torch.randn(3, rows, min(rows, columns)))
    v, _ = torch.linalg.qr(torch.randn(3, columns, min(rows, columns)))
    values = torch.linspace(1.0, 0.05, u.shape[-1])
    levelled = u.mT @ orthogonalise(1e-3 * u * values @ v.mT) @ v
    diagonal = levelled.diagonal(dim1=-2, dim2=-1)
    assert ((diagonal > 0.6) & (diagonal < 1.3)).all()
    assert (levelled - torch.diag_embed(diagonal)).abs().max() < 1e-4


def test_a_zero_gradient_only_decays():
    param = torch.nn.Parameter(torch.ones(3, 4))
    optimizer = Muon([param], lr=0.1, weight_decay=0.5)
    param.grad = torch.zeros_like(param)
    optimizer.step()
    torch.testing.assert_close(param.detach(), torch.full((3, 4), 0.95))


def test_takes_matrices_only():
    with pytest.raises(AssertionError, match="matrices"):
        Muon([torch.nn.Parameter(torch.ones(3))], lr=0.1, weight_decay=0.0)
