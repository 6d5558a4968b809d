"""The model as transformers has it: logits, loss, and generation with a cache.

Padding on the left never enters an operator: texts of a batch with equally many tokens of padding are computed
together, without these. Tokens to the right of a text cannot reach it, because every operator is causal.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from star.architecture.spec import Dimensions, ModelSpec
from star.export.hf.configuration_star import StarConfig
from star.model.language_model import Cache, LanguageModel

SPEC = ModelSpec(slots=(), dims=Dimensions(d_model=1, head_dim=1, vocab_size=256, seq_len=1))
ROOM = 256  # tokens more than needed for which a cache is made


class Group:
    """Texts of a batch with equally many tokens of padding: their rows, and their cache.

    Attributes:
        padding: tokens on the left that are left out.
        rows: of the batch; None for all of it.
        cache: of the tokens so far; None without one.
    """

    def __init__(self, padding: int, rows: Tensor | None, cache: Cache | None = None) -> None:
        self.padding, self.rows, self.cache = padding, rows, cache


class TextCache:
    """Cache of a batch: one for each group of texts with equally much padding."""

    is_compileable = False

    def __init__(self, groups: list[Group], batch_size: int) -> None:
        self.groups, self.batch_size = groups, batch_size
        self.seen = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the tokens so far, padding included."""
        return self.seen

    def get_max_cache_shape(self, layer_idx: int = 0) -> int:
        """Return -1: there is no limit."""
        return -1

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Let row i of the batch go on from what row `beam_idx[i]` was, which has equally much padding."""
        for group in self.groups:
            rows = torch.arange(self.batch_size) if group.rows is None else group.rows
            place = torch.full((self.batch_size,), -1, dtype=torch.long)
            place[rows] = torch.arange(len(rows))
            source = place[beam_idx.cpu()[rows]]
            for cache in operator_caches(group.cache) if group.cache else ():
                for tensor in cache.tensors.values():
                    tensor.copy_(tensor[source.to(tensor.device)])


class StarForCausalLM(PreTrainedModel, GenerationMixin):
    """A language model that star exported."""

    config_class = StarConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _is_stateful = True  # what was read cannot be taken back

    def __init__(self, config: StarConfig) -> None:
        super().__init__(config)
        self.model = LanguageModel(SPEC)
        self.gradient_checkpointing = False
        self.post_init()

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # forward makes its own

    def _init_weights(self, module: nn.Module) -> None:
        """Keep the weights that the modules began with, and count what experts did from zero."""
        if isinstance(getattr(module, "load", None), Tensor):
            module.load.zero_()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.embedding = value

    def get_output_embeddings(self) -> nn.Module | None:
        return getattr(self.model, "head", None)

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.model.head = new_embeddings

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: TextCache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast | tuple:
        """Return logits (B, T, vocabulary), the loss if there are labels, and the cache if it is used.

        `labels` are tokens to predict, as `input_ids`, of which -100 is ignored. Only zeros on the left of
        `attention_mask` matter.
        """
        batch_size, num_tokens = input_ids.shape
        keeps = self.config.use_cache if use_cache is None else use_cache
        groups = past_key_values.groups if past_key_values else group_by_padding(attention_mask, num_tokens)
        if keeps and past_key_values is None and not (self.training and labels is not None):
            past_key_values = TextCache(groups, batch_size)
        with self._checkpointed():
            logits = self._logits(input_ids, groups, past_key_values)
        if past_key_values is not None:
            past_key_values.seen += num_tokens
        loss = None
        if labels is not None:
            wanted = without_first(labels, groups)
            loss = self.loss_function(logits=logits, labels=wanted, vocab_size=logits.shape[2], **kwargs)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        output = CausalLMOutputWithPast(loss=loss, logits=logits[:, kept], past_key_values=past_key_values)
        return output if return_dict is not False else output.to_tuple()

    def _logits(self, tokens: Tensor, groups: list[Group], cache: TextCache | None) -> Tensor:
        if len(groups) == 1 and groups[0].rows is None:
            return self._read(tokens, groups[0], cache is not None)
        logits = None
        for group in groups:
            start = 0 if cache and cache.seen else group.padding  # padding stands in the first tokens alone
            if start == tokens.shape[1]:
                continue
            found = self._read(tokens[group.rows, start:], group, cache is not None)
            if logits is None:
                logits = found.new_zeros(*tokens.shape, found.shape[2])
            logits[group.rows, start:] = found
        if logits is None:
            raise ValueError("there are no tokens besides padding")
        return logits

    def _read(self, tokens: Tensor, group: Group, keeps: bool) -> Tensor:
        """Return the logits of texts without padding, which continue their cache."""
        if keeps:
            known = group.cache.position if group.cache else 0
            group.cache = grow(self.model, group.cache, known + tokens.shape[1], tokens.shape[0])
        return self.model(tokens, group.cache if keeps else None)

    @contextmanager
    def _checkpointed(self) -> Iterator[None]:
        """Compute the activations of slots again in the backward pass, if that was asked for."""
        if not (self.gradient_checkpointing and self.training):
            yield
            return
        forwards = [layer.forward for layer in self.model.layers]
        for layer, forward in zip(self.model.layers, forwards, strict=True):
            layer.forward = partial(self._gradient_checkpointing_func, forward)
        try:
            yield
        finally:
            for layer in self.model.layers:
                del layer.forward


def operator_caches(cache: Cache) -> Iterator[Any]:
    """Yield the caches of operators and shifts, and those that are parts of them."""
    for one in (*cache.caches, *getattr(cache, "shifts", ())):
        yield one
        yield from getattr(one, "parts", ())


def group_by_padding(mask: Tensor | None, num_tokens: int) -> list[Group]:
    """Return the groups of texts with equally many zeros on the left of a mask (B, T)."""
    if mask is None or bool(mask[:, -num_tokens:].all()):
        return [Group(0, None)]
    padding = (mask.cumsum(dim=1) == 0).sum(dim=1)
    sizes = padding.unique().tolist()
    if sizes == [0]:
        return [Group(0, None)]
    return [Group(size, (padding == size).nonzero()[:, 0]) for size in sizes]


def without_first(labels: Tensor, groups: list[Group]) -> Tensor:
    """Return labels without the first token of each text that has padding before it, from which nothing follows."""
    padded = [group for group in groups if 0 < group.padding < labels.shape[1]]
    wanted = labels.clone() if padded else labels
    for group in padded:
        wanted[group.rows, group.padding] = -100
    return wanted


def grow(model: LanguageModel, cache: Cache | None, num_tokens: int, batch_size: int) -> Cache:
    """Return a cache with room for so many tokens, that goes on from another one."""
    if cache is not None and num_tokens <= cache.context:
        return cache
    larger = model.new_cache(2 * num_tokens + ROOM, batch_size)
    if cache is not None:
        larger.position = cache.position
        for one, other in zip(operator_caches(cache), operator_caches(larger), strict=True):
            for name, tensor in one.tensors.items():
                other.tensors[name][:, : tensor.shape[1]] = tensor
    return larger
