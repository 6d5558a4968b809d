"""What every token-mixing structure is: it assembles features, in the order of the deck's roles, into (B, T, width)."""

from torch import nn


class Mixer(nn.Module):
    """`width` is the number of channels it returns; `forward` takes one tensor a feature group."""

    width: int

    def start(self, made: dict[str, nn.Module]) -> None:
        """Adjust the initial weights of the features just made for it, by role. Most structures keep them."""
