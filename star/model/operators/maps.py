"""Linear maps with the initial weights of this project."""

from torch import nn


def linear(fan_in: int, fan_out: int, bias: bool = False) -> nn.Linear:
    """Return a linear map with weights from N(0, 1 / fan_in)."""
    layer = nn.Linear(fan_in, fan_out, bias=bias)
    nn.init.normal_(layer.weight, std=fan_in**-0.5)
    return layer


def zero_linear(fan_in: int, fan_out: int, bias: bool = False) -> nn.Linear:
    """Return a linear map that is zero before training."""
    layer = nn.Linear(fan_in, fan_out, bias=bias)
    nn.init.zeros_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
