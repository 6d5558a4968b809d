"""The backbone as a language model: embedding, pre-norm residual slots with their sharings, norm, tied head.

x_0 = E[tokens],   x_{n+1} = x_n + LIV_n(RMSNorm(x_n)),   logits = RMSNorm(x_L) E^T
"""

from torch import nn

from star.operators.liv import Differential, Liv
from star.ops.shapes import BT, BTM
from star.spec import ModelSpec

NORM_EPS = 1e-6


class LanguageModel(nn.Module):
    """A decoder-only language model of any genome."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        dims = spec.dims
        self.embedding = nn.Embedding(dims.vocab_size, dims.d_model)
        self.norms = nn.ModuleList(nn.RMSNorm(dims.d_model, eps=NORM_EPS) for _ in spec.slots)
        self.final_norm = nn.RMSNorm(dims.d_model, eps=NORM_EPS)
        self.layers = nn.ModuleList()
        self.reads: list[dict[str, int]] = []  # per slot: role -> the earlier slot whose feature it reuses
        for i, slot in enumerate(spec.slots):
            make = Differential if slot.liv.differential else Liv
            owners = tuple(None if owner == i else self.layers[owner] for owner in slot.weights_from)
            self.layers.append(make(slot.liv, dims, owners, tuple(p != i for p in slot.features_from)))
            self.reads.append({g.role: p for g, p in zip(slot.liv.groups, slot.features_from, strict=True) if p != i})
        self.producers = {producer for reads in self.reads for producer in reads.values()}
        # N(1, 1) / sqrt(d): the mean gives every token a direction in common, which `look_back` reads.
        nn.init.normal_(self.embedding.weight, mean=dims.d_model**-0.5, std=dims.d_model**-0.5)

    def forward(self, tokens: BT) -> BTM:
        """Logits of the next token at every position."""
        x = self.embedding(tokens)
        features = {}
        for i, (norm, layer) in enumerate(zip(self.norms, self.layers, strict=True)):
            shared = {role: features[producer][role] for role, producer in self.reads[i].items()}
            y, made = layer(norm(x), shared)
            if i in self.producers:
                features[i] = made
            x = x + y
        return nn.functional.linear(self.final_norm(x), self.embedding.weight)
