"""Assembly: a linear input-varying operator from its codes, and its differential variant.

    y = W mix(C(x), B(x), V(x), ...)

The featurizer makes the features, the token-mixing structure assembles them, W is the channel map back to the
residual stream. To add a token-mixing structure: one file beside this one, one row in MIXERS, its roles in the
deck and its formulas in star/cost.py.
"""

import torch
from torch import nn

from star.operators.attention import Attention
from star.operators.convolution import GatedConvolution
from star.operators.featurizer import FEATURES
from star.operators.memoryless import Memoryless
from star.operators.recurrence import Recurrence
from star.ops.shapes import BTD
from star.spec import ChannelMixing, Dimensions, LivSpec, Nonlinearity, Sparsity, TokenMixing

# (token mixing, sparsity, nonlinearity, channel mixing) -> the module that computes this structure.
MIXERS = {
    (TokenMixing.DIAGONAL, Sparsity.NONE, Nonlinearity.SWISH, ChannelMixing.DENSE): Memoryless,
    (TokenMixing.LOW_RANK, Sparsity.NONE, Nonlinearity.SOFTMAX, ChannelMixing.GROUPED): Attention,
    (TokenMixing.TOEPLITZ, Sparsity.NONE, Nonlinearity.NONE, ChannelMixing.DIAGONAL): GatedConvolution,
    (TokenMixing.SEMI_SEPARABLE, Sparsity.NONE, Nonlinearity.NONE, ChannelMixing.DIAGONAL): Recurrence,
}


class Liv(nn.Module):
    """One operator.

    Args:
        liv: its codes.
        dims: its sizes.
        owners: per feature group, the operator whose weights make it (featurizer sharing), itself if None.
        reused: per feature group, whether the feature comes ready-made from an earlier slot (feature sharing).
    """

    def __init__(
        self, liv: LivSpec, dims: Dimensions, owners: tuple["Liv | None", ...], reused: tuple[bool, ...]
    ) -> None:
        super().__init__()
        self.roles = tuple(group.role for group in liv.groups)
        self.featurizer = nn.ModuleDict()
        made = {}
        for group, owner, ready in zip(liv.groups, owners, reused, strict=True):
            if owner and not ready:
                self.featurizer[group.role] = owner.featurizer[group.role]
            elif not ready:
                make = FEATURES[group.token_mixing, group.channel_mixing]
                self.featurizer[group.role] = made[group.role] = make(group, dims)
        self.mixer = MIXERS[liv.token_mixing, liv.sparsity, liv.nonlinearity, liv.channel_mixing](liv, dims)
        self.mixer.start(made)
        self.out = nn.Linear(self.mixer.width, dims.d_model, bias=False)
        nn.init.zeros_(self.out.weight)  # every slot begins as the identity

    def forward(self, x: BTD, shared: dict[str, torch.Tensor]) -> tuple[BTD, dict[str, torch.Tensor]]:
        """Output, and the features for later slots to reuse; `shared` holds those that this one reuses."""
        features = {role: shared[role] if role in shared else self.featurizer[role](x) for role in self.roles}
        return self.out(self.mixer(*features.values())), features


class Differential(nn.Module):
    """y = a(x) - b(x): two copies of an operator, alike but for their weights."""

    def __init__(
        self,
        liv: LivSpec,
        dims: Dimensions,
        owners: tuple["Differential | None", ...],
        reused: tuple[bool, ...],
    ) -> None:
        super().__init__()
        self.a = Liv(liv, dims, tuple(owner and owner.a for owner in owners), reused)
        self.b = Liv(liv, dims, tuple(owner and owner.b for owner in owners), reused)

    def forward(
        self, x: BTD, shared: dict[str, tuple[torch.Tensor, torch.Tensor]]
    ) -> tuple[BTD, dict[str, tuple[torch.Tensor, torch.Tensor]]]:
        """As for one operator; every shared feature is a pair."""
        y_a, features_a = self.a(x, {role: pair[0] for role, pair in shared.items()})
        y_b, features_b = self.b(x, {role: pair[1] for role, pair in shared.items()})
        return y_a - y_b, {role: (features_a[role], features_b[role]) for role in features_a}
