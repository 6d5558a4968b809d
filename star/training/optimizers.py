"""The optimizers of a model: AdamW, and Muon for matrices."""

import torch
from torch import nn

from star.architecture.scales import Recipe
from star.training.muon import Muon


def make_optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Return AdamW for everything, or with "muon" Muon for the matrices of the slots and AdamW for the rest.

    A matrix, or a batch of them, is a parameter named `weight` of two or more dimensions. Matrices and the embedding
    decay; norms, biases, kernels and rates of recurrences do not: the last two may be stored in two dimensions, but
    mean a few numbers for each channel. What asks for no gradient is left alone.
    """
    decaying, plain, orthogonal = [], [], []
    for name, param in model.named_parameters():
        if not param.requires_grad:
            continue
        if param.ndim < 2 or name.rpartition(".")[2] != "weight":
            plain.append(param)
        elif recipe.optimizer == "muon" and name.startswith("layers."):
            orthogonal.append(param)
        else:
            decaying.append(param)
    groups = [
        {"params": decaying, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    # Fused, because otherwise AdamW's own Python costs more than its arithmetic at these sizes.
    adamw = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, fused=True)
    if not orthogonal:
        return [adamw]
    return [adamw, Muon(orthogonal, recipe.matrix_learning_rate, recipe.weight_decay)]


def update(optimizers: list[torch.optim.Optimizer], rate: float) -> None:
    """Take a step of each optimizer at a share of its peak rate, and drop the gradients."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = optimizer.defaults["lr"] * rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
