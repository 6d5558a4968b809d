"""Muon for many small matrices: all matrices of one shape are updated in one batch.

`torch.optim.Muon` orthogonalises one matrix at a time in bfloat16, which most CPUs only imitate: for the
thirty small matrices of a proxy that takes longer than half of the whole forward and backward pass. Batched
in float32, it takes a tenth.

Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

MOMENTUM = 0.95
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # steepest at zero; singular values end within 0.7 to 1.2
TINY = 1e-7


class Muon(torch.optim.Optimizer):
    """Steepest descent in the spectral norm, with Nesterov momentum and decoupled weight decay.

    With gradient g, momentum m and an approximately orthogonal factor O of (1 - 0.95) g + 0.95 m:
    w <- (1 - lr * weight_decay) w - lr * sqrt(max(1, rows / columns)) O.

    A parameter of more than two dimensions is a batch of matrices, such as one for each head or expert: the last two
    dimensions are rows and columns. All parameters must have a gradient at every step.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        shapes: dict[torch.Size, list[Tensor]] = {}
        for param in params:
            assert param.ndim >= 2, "Muon is for matrices"
            shapes.setdefault(param.shape, []).append(param)
        groups = [{"params": same} for same in shapes.values()]
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]: no closure, as nobody needs one
        for group in self.param_groups:
            params, rate = group["params"], group["lr"]
            grad = torch.stack([param.grad for param in params])
            state = self.state[params[0]]  # one buffer for all matrices of the group
            if not state:
                state["momentum"] = torch.zeros_like(grad)
            momentum = state["momentum"].lerp_(grad, 1 - MOMENTUM)
            update = orthogonalise(grad.lerp_(momentum, MOMENTUM).flatten(0, -3)).view(grad.shape)
            rows, columns = params[0].shape[-2:]
            update.mul_(-rate * math.sqrt(max(1, rows / columns)))
            for param, change in zip(params, update.unbind(), strict=True):
                param.mul_(1 - rate * group["weight_decay"]).add_(change)


def orthogonalise(matrices: Tensor) -> Tensor:
    """Return approximately U V' for each matrix U S V' of a batch (batch, rows, columns), singular values near 1, by
    five Newton-Schulz iterations. A zero matrix stays zero.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=TINY)
    for _ in range(ITERATIONS):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
