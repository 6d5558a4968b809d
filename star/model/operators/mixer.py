"""What every token-mixing structure is: it assembles features, each named by its role, into (B, T, width)."""

import torch
from torch import nn

from star.architecture.spec import Dimensions
from star.model.operators.memory import CacheTensor


class Mixer(nn.Module):
    """`width` is the number of channels it returns; `forward` takes one tensor a feature group by keyword, the role in
    lower case, and when decoding the memory of what came before."""

    width: int

    def start(self, features: dict[str, nn.Module]) -> None:
        """Adjust the initial weights of the features just made for it, by role. Most structures keep them."""

    def prepare(self, role: str, feature: torch.Tensor, position: int) -> torch.Tensor:
        """A feature as it is used, kept and shared; its first token stands at `position`. Most are used as made."""
        return feature

    def cache_spec(self, context: int) -> dict[str, CacheTensor]:
        """What decoding up to `context` tokens keeps, by name."""
        return {}

    def make_out(self, dims: Dimensions, bias: bool) -> nn.Module:
        """The map back to the residual stream; it starts at zero, so that every slot begins as the identity."""
        out = nn.Linear(self.width, dims.d_model, bias=bias)
        for parameter in out.parameters():
            nn.init.zeros_(parameter)
        return out
