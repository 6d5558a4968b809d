"""The backbone as a language model: embedding, residual slots with norms and sharings, norm, head.

x_0 = E[tokens],   x_{n+1} = x_n + LIV_n(norm(x_n)),   logits = norm(x_L) E^T

A style says otherwise: x + norm(LIV(x)), as in OLMo 2 (arXiv:2501.00656), or x + norm(LIV(norm(x))), as in Gemma 2
(arXiv:2408.00118), all slots alike or some classes otherwise, as in OLMo Hybrid; slots that read the same x, x +
LIV_n(norm(x)) + LIV_{n+1}(norm(x)), as in GPT-J and GPT-NeoX (arXiv:2204.06745); learned positions added to the
embedding, a norm after it, no norm before the head, a head of its own, capped logits; what operators add, and the
logits, times a number, as in Granite 3.0 (Granite Team, IBM 2024); a token shift of the input of every operator, as in
the Canon layers of Allen-Zhu 2025 (arXiv:2512.17351).
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from star.architecture.spec import BackboneConfig, Dimensions, ModelSpec
from star.model.operators.cache import OperatorCache
from star.model.operators.liv import Differential, Liv
from star.model.operators.maps import linear
from star.model.operators.shift import Shift
from star.model.ops.shapes import BS, BT, BTD, BTM


class Cache:
    """State of decoding after the tokens so far.

    Attributes:
        context: how many tokens it can hold.
        position: how many it holds.
        caches: that of every slot.
        shifts: that of every slot's shift; empty if there is none.
    """

    def __init__(self, context: int, caches: list[OperatorCache], shifts: list[OperatorCache]) -> None:
        self.context = context
        self.position = 0
        self.caches = caches
        self.shifts = shifts

    def tensors(self) -> Iterator[torch.Tensor]:
        """Yield every stored tensor once."""
        for cache in self.caches + self.shifts:
            for one in (cache, *cache.parts):
                yield from one.tensors.values()

    @property
    def num_bytes(self) -> int:
        """Return the size of all stored tensors in bytes."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors())

    def advance(self, num_tokens: int) -> None:
        """Prepare for `num_tokens` more tokens. Raise ValueError if they do not fit."""
        if self.position + num_tokens > self.context:
            raise ValueError(
                f"a cache for {self.context} tokens holds {self.position}: there is no room for {num_tokens} more"
            )
        for cache in self.caches:
            cache.begin(self.position)
        self.position += num_tokens

    def finish(self) -> None:
        """Release tensors that only the finished pass needed."""
        for cache in self.caches:
            cache.end()


class Norm(nn.Module):
    """Layer norm or RMS norm, each with an optional gain and bias."""

    def __init__(self, style: BackboneConfig, width: int) -> None:
        super().__init__()
        self.eps = style.norm_eps
        self.takes_mean = style.norm == "layer"
        self.weight = nn.Parameter(torch.ones(width)) if style.norm_gain else None
        self.bias = nn.Parameter(torch.zeros(width)) if style.norm_bias else None

    def forward(self, x: BTD) -> BTD:
        if self.takes_mean and self.weight is not None:
            return F.layer_norm(x, x.shape[2:], self.weight, self.bias, self.eps)
        form = F.layer_norm if self.takes_mean else F.rms_norm
        y = form(x, x.shape[2:], self.weight, eps=self.eps)
        return y if self.bias is None else y + self.bias


class LanguageModel(nn.Module):
    """A decoder-only language model of any genome."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        dims, style = spec.dims, spec.dims.style
        self.style = style
        self.embedding = nn.Embedding(dims.vocab_size, dims.d_model)
        self.rounds = style.rounds(len(spec.slots))  # per slot: the first that reads the same input
        self.norm_places = [slot.liv.norm_place(style) for slot in spec.slots]
        self.norms = nn.ModuleList()  # before slots, or after them
        for i, first in enumerate(self.rounds):
            is_shared = style.shared_norm and first != i
            self.norms.append(self.norms[first] if is_shared else Norm(style, dims.d_model))
        self.final_norm = Norm(style, dims.d_model) if style.final_norm else nn.Identity()
        self.layers = nn.ModuleList()
        self.feature_slots: list[dict[str, int]] = []  # per slot: role -> the slot that computes this feature
        for i, slot in enumerate(spec.slots):
            make = Differential if slot.liv.differential else Liv
            owners = tuple(None if owner == i else self.layers[owner] for owner in slot.weights_from)
            self.layers.append(make(slot.liv, dims, owners, tuple(p != i for p in slot.features_from)))
            self.feature_slots.append({g.role: p for g, p in zip(slot.liv.groups, slot.features_from, strict=True)})
        self.shared_slots = {
            source for i, slots in enumerate(self.feature_slots) for source in slots.values() if source != i
        }
        # N(1, 1) / sqrt(d): the mean gives every token a direction in common, which `look_back` reads.
        nn.init.normal_(self.embedding.weight, mean=dims.d_model**-0.5, std=dims.d_model**-0.5)
        self._add_options(dims)

    def _add_options(self, dims: Dimensions) -> None:
        """Add the modules and parameters that only some styles have."""
        style = dims.style
        self.shifts = nn.ModuleList(Shift(style.shift, dims.d_model) for _ in self.layers if style.shift)
        if "both" in self.norm_places:
            self.post_norms = nn.ModuleList(
                Norm(style, dims.d_model) if place == "both" else nn.Identity() for place in self.norm_places
            )
        if style.embedding_norm:
            self.embedding_norm = Norm(style, dims.d_model)
        if style.positions == "learned":
            self.positions = nn.Embedding(dims.seq_len, dims.d_model)
            nn.init.normal_(self.positions.weight, std=dims.d_model**-0.5)
        if not style.tied:
            self.head = linear(dims.d_model, dims.vocab_size)
        self.head_bias = nn.Parameter(torch.zeros(dims.vocab_size)) if style.head_bias else None

    def forward(self, tokens: BT, cache: Cache | None = None) -> BTM:
        """Return the logits of the next token at every position. With a cache, the tokens continue the cached ones and
        are added to the cache. Raise ValueError if there are no tokens or they do not fit.
        """
        if not tokens.numel():
            raise ValueError(f"there are no tokens in a batch of shape {tuple(tokens.shape)}")
        x = self._embed(tokens, cache.position if cache else 0)
        if cache is not None:
            cache.advance(tokens.shape[1])
        features, residual, layer_input = {}, x, x
        for i, layer in enumerate(self.layers):
            if self.rounds[i] == i:
                residual = x
            if self.rounds[i] == i or not self.style.shared_norm:
                layer_input = self._before(i, residual)
            shared = {role: features[source][role] for role, source in self.feature_slots[i].items() if source != i}
            y, new_features = layer(self._shift(i, layer_input, cache), shared, cache.caches[i] if cache else None)
            if i in self.shared_slots:
                features[i] = new_features
            x = x + self._after(i, y)
        if cache is not None:
            cache.finish()
        return self._logits(self.final_norm(x))

    def _embed(self, tokens: BT, position: int) -> BTD:
        style, x = self.style, self.embedding(tokens)
        if style.embedding_scale != 1:
            x = x * style.embedding_scale
        if style.positions == "learned":
            stop = position + tokens.shape[1]
            if stop > self.positions.num_embeddings:
                raise ValueError(f"{stop} tokens, but the model has {self.positions.num_embeddings} learned positions")
            x = x + self.positions.weight[position:stop]
        return self.embedding_norm(x) if style.embedding_norm else x

    def _before(self, i: int, x: BTD) -> BTD:
        """Return the input of a slot, normalised where its norm stands before it."""
        return x if self.norm_places[i] == "after" else self.norms[i](x)

    def _shift(self, i: int, x: BTD, cache: Cache | None) -> BTD:
        """Return the input of a slot after its shift, if the style has one. Slots that read the same have kernels of
        their own.
        """
        return self.shifts[i](x, cache.shifts[i] if cache else None) if self.style.shift else x

    def _after(self, i: int, y: BTD) -> BTD:
        """Return the term that a slot adds to the residual stream."""
        match self.norm_places[i]:
            case "after":
                y = self.norms[i](y)
            case "both":
                y = self.post_norms[i](y)
        return y if self.style.residual_scale == 1 else y * self.style.residual_scale

    def _logits(self, x: BTD) -> BTM:
        logits = F.linear(x, self.embedding.weight if self.style.tied else self.head.weight, self.head_bias)
        if self.style.logit_scale != 1:
            logits = logits * self.style.logit_scale
        cap = self.style.logit_cap
        return cap * torch.tanh(logits / cap) if cap else logits

    def weights(self) -> dict[str, torch.Tensor]:
        """Return all trained tensors by name: parameters and persistent buffers, shared ones once."""
        lasting = self.state_dict().keys()
        buffers = {name: buffer for name, buffer in self.named_buffers() if name in lasting}
        return {name: tensor.detach() for name, tensor in self.named_parameters()} | buffers

    def new_cache(self, context: int, batch_size: int = 1) -> Cache:
        """Return an empty cache for up to `context` tokens, with the parameters' type and device."""
        # (name, slots that compute its features) -> the first slot with this tensor, which stores it
        first: dict[tuple[str, tuple[int, ...]], int] = {}
        caches: list[OperatorCache] = []
        for i, layer in enumerate(self.layers):
            owners = {}
            for name, one in layer.cache_spec(context).items():
                key = name, tuple(self.feature_slots[i][role] for role in one.roles)
                if one.roles and first.setdefault(key, i) != i:
                    owners[name] = caches[first[key]]
            caches.append(layer.new_cache(batch_size, context, owners))
        return Cache(context, caches, [shift.new_cache(batch_size) for shift in self.shifts])

    @torch.no_grad()
    def generate(
        self, tokens: BT, num_tokens: int, temperature: float = 0.0, generator: torch.Generator | None = None
    ) -> BS:
        """Return `tokens` with `num_tokens` more in each row, sampled from softmax(logits / temperature), or the most
        likely ones at temperature 0. Raise ValueError if there are no tokens or a number is below 0.
        """
        if num_tokens < 0:
            raise ValueError(f"the number of tokens to add must be 0 or more, not {num_tokens}")
        if not temperature >= 0:
            raise ValueError(f"the temperature must be 0 or more, not {temperature}")
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
