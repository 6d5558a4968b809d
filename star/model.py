"""The backbone as a language model: embedding, pre-norm residual slots with their sharings, norm, tied head.

x_0 = E[tokens],   x_{n+1} = x_n + LIV_n(RMSNorm(x_n)),   logits = RMSNorm(x_L) E^T
"""

from collections.abc import Iterator

import torch
from torch import nn

from star.operators.featurizer import NORM_EPS
from star.operators.liv import Differential, Liv
from star.operators.memory import Memory
from star.ops.shapes import BS, BT, BTM
from star.spec import ModelSpec


class Cache:
    """What decoding keeps of the tokens so far: the memory of every slot.

    Attributes:
        context: how many tokens it can hold.
        position: how many it holds.
    """

    def __init__(self, context: int, memories: list[tuple[Memory, ...]]) -> None:
        self.context = context
        self.position = 0
        self.memories = memories

    def tensors(self) -> Iterator[torch.Tensor]:
        """Every tensor it keeps, each once."""
        for slot in self.memories:
            for memory in slot:
                yield from memory.tensors.values()

    @property
    def num_bytes(self) -> int:
        """Bytes of all its tensors."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors())

    def advance(self, num_tokens: int) -> None:
        """Make ready for `num_tokens` more. ValueError if it cannot hold them."""
        if self.position + num_tokens > self.context:
            raise ValueError(
                f"a cache for {self.context} tokens holds {self.position}: there is no room for {num_tokens} more"
            )
        for slot in self.memories:
            for memory in slot:
                memory.begin(self.position)
        self.position += num_tokens

    def settle(self) -> None:
        """Drop what only the pass that is over needed."""
        for slot in self.memories:
            for memory in slot:
                memory.end()


class LanguageModel(nn.Module):
    """A decoder-only language model of any genome."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        dims = spec.dims
        self.embedding = nn.Embedding(dims.vocab_size, dims.d_model)
        self.norms = nn.ModuleList(nn.RMSNorm(dims.d_model, eps=NORM_EPS) for _ in spec.slots)
        self.final_norm = nn.RMSNorm(dims.d_model, eps=NORM_EPS)
        self.layers = nn.ModuleList()
        self.makers: list[dict[str, int]] = []  # per slot: role -> the slot that computes this feature
        for i, slot in enumerate(spec.slots):
            make = Differential if slot.liv.differential else Liv
            owners = tuple(None if owner == i else self.layers[owner] for owner in slot.weights_from)
            self.layers.append(make(slot.liv, dims, owners, tuple(p != i for p in slot.features_from)))
            self.makers.append({g.role: p for g, p in zip(slot.liv.groups, slot.features_from, strict=True)})
        self.producers = {maker for i, makers in enumerate(self.makers) for maker in makers.values() if maker != i}
        # N(1, 1) / sqrt(d): the mean gives every token a direction in common, which `look_back` reads.
        nn.init.normal_(self.embedding.weight, mean=dims.d_model**-0.5, std=dims.d_model**-0.5)

    def forward(self, tokens: BT, cache: Cache | None = None) -> BTM:
        """Logits of the next token at every position. With a cache the tokens continue those that it holds, and are
        added to it. ValueError if they do not fit."""
        if cache is not None:
            cache.advance(tokens.shape[1])
        x = self.embedding(tokens)
        features = {}
        for i, (norm, layer) in enumerate(zip(self.norms, self.layers, strict=True)):
            shared = {role: features[maker][role] for role, maker in self.makers[i].items() if maker != i}
            y, made = layer(norm(x), shared, cache.memories[i] if cache else None)
            if i in self.producers:
                features[i] = made
            x = x + y
        if cache is not None:
            cache.settle()
        return nn.functional.linear(self.final_norm(x), self.embedding.weight)

    def new_cache(self, context: int, batch_size: int = 1) -> Cache:
        """An empty cache for up to `context` tokens, of the parameters' type and device."""
        first: dict[tuple[str, tuple[int, ...]], int] = {}  # (name, makers of its features) -> the slot that keeps it
        memories: list[tuple[Memory, ...]] = []
        for i, layer in enumerate(self.layers):
            keepers = {}
            for name, one in layer.keeps(context).items():
                key = name, tuple(self.makers[i][role] for role in one.roles)
                if one.roles and first.setdefault(key, i) != i:
                    keepers[name] = memories[first[key]]
            memories.append(layer.new_memory(batch_size, context, keepers))
        return Cache(context, memories)

    @torch.no_grad()
    def generate(
        self, tokens: BT, num_tokens: int, temperature: float = 0.0, generator: torch.Generator | None = None
    ) -> BS:
        """`tokens`, each row continued by `num_tokens` drawn from softmax(logits / temperature); the likeliest at 0."""
        cache = self.new_cache(tokens.shape[1] + num_tokens, tokens.shape[0])
        found, latest = [tokens], tokens
        for _ in range(num_tokens):
            logits = self(latest, cache)[:, -1]
            if temperature > 0:
                chances = (logits.float() / temperature).softmax(dim=1)
                latest = torch.multinomial(chances, 1, generator=generator)
            else:
                latest = logits.argmax(dim=1, keepdim=True)
            found.append(latest)
        return torch.cat(found, dim=1)
