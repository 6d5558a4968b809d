"""Base class of token-mixing structures, which combine features, named by their roles, into (B, T, width)."""

import torch
from torch import nn

from star.architecture.spec import Dimensions
from star.model.operators.cache import CacheTensor
from star.model.operators.maps import zero_linear


class Mixer(nn.Module):
    """Base class of token mixing. `width` is the number of output channels; `forward` takes one tensor per feature
    group by keyword, the role in lower case (c query, b key, v value in attention), and the cache when decoding.
    """

    width: int

    def start(self, features: dict[str, nn.Module]) -> None:
        """Adjust the initial weights of newly created features, by role. Most structures leave them unchanged."""

    def prepare(self, role: str, feature: torch.Tensor, position: int) -> torch.Tensor:
        """Return a feature as it is used, cached and shared; its first token has index `position`. Most structures
        return it unchanged.
        """
        return feature

    def cache_spec(self, context: int) -> dict[str, CacheTensor]:
        """Return the cache tensors, by name, for decoding up to `context` tokens."""
        return {}

    def make_out(self, dims: Dimensions, bias: bool) -> nn.Module:
        """Return the map back to the residual stream. It starts at zero, so that every slot begins as the identity."""
        return zero_linear(self.width, dims.d_model, bias)
