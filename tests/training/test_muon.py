"""Batched Muon against torch's own, which takes one matrix at a time."""

import pytest
import torch

from star.training.muon import Muon, orthogonalise

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


@pytest.mark.parametrize("shape", [(3, 5, 12), (3, 12, 5), (1, 6, 6), (2, 3, 4, 6)])
def test_a_batch_of_matrices_is_each_of_them(shape):
    """Whatever their number, beside one more parameter of the same shape and a plain matrix."""
    generator = torch.Generator().manual_seed(1)
    values = [torch.randn(size, generator=generator) for size in (shape, shape, shape[-2:])]
    batches = [torch.nn.Parameter(value.clone()) for value in values]
    matrices = [[torch.nn.Parameter(one.clone()) for one in value.view(-1, *shape[-2:])] for value in values]
    together = Muon(batches, lr=0.05, weight_decay=0.3)
    apart = Muon([one for group in matrices for one in group], lr=0.05, weight_decay=0.3)
    for _ in range(6):
        for batch, group in zip(batches, matrices, strict=True):
            batch.grad = torch.randn(batch.shape, generator=generator)
            for one, grad in zip(group, batch.grad.view(-1, *shape[-2:]), strict=True):
                one.grad = grad.clone()
        together.step()
        apart.step()
    for before, batch, group in zip(values, batches, matrices, strict=True):
        assert (batch - before).norm() > 0.1
        torch.testing.assert_close(batch, torch.stack(group).view(batch.shape), rtol=0, atol=1e-5)


def test_a_matrix_without_gradient_in_a_batch_only_decays():
    """An expert that no token went through must not inherit the step of the others."""
    param = torch.nn.Parameter(torch.ones(2, 3, 4))
    optimizer = Muon([param], lr=0.1, weight_decay=0.5)
    param.grad = torch.zeros_like(param)
    param.grad[0, 1, 2] = 1.0
    optimizer.step()
    torch.testing.assert_close(param[1].detach(), torch.full((3, 4), 0.95))
    assert not torch.allclose(param[0], param[1])


def test_a_zero_gradient_only_decays():
    param = torch.nn.Parameter(torch.ones(3, 4))
    optimizer = Muon([param], lr=0.1, weight_decay=0.5)
    param.grad = torch.zeros_like(param)
    optimizer.step()
    torch.testing.assert_close(param.detach(), torch.full((3, 4), 0.95))


def test_takes_matrices_only():
    with pytest.raises(AssertionError, match="matrices"):
        Muon([torch.nn.Parameter(torch.ones(3))], lr=0.1, weight_decay=0.0)
