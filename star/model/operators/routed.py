"""Diagonal token mixing, routed: a mixture of experts, perhaps beside an expert that serves every token.

    y_i = sum_{e in top_i} g_ie W_e (f(C_ie) * V_ie) + W_S (f(S_i) * U_i)
    s_i = sigmoid(R_i),   top_i = the k largest of s_ie + b_e,   g_ie = s_ie / sum_{top_i} s

Each expert is a gated memoryless unit; with the squared ReLU there is no V and no U. The bias b chooses only, and no
gradient reaches it: it rises by a step for experts with less than the mean load and falls for those with more (Wang et
al. 2024, arXiv:2408.15664; DeepSeek-AI 2024, arXiv:2412.19437). With k = 1 the gate is s itself, because a normalised
one would be 1 whatever the router says, and teach it nothing (as in Fedus et al. 2021, arXiv:2101.03961). The other way
to balance is their loss, E sum_e f_e P_e: f_e is the share of all choices that fell on an expert, P_e the mean over
tokens of s_ie / sum_e s_ie. No expert has a capacity: every token gets the k that it chooses.

A scale may score by s_i = softmax(R_i), leave the gates as they are scored or multiply all by a number, and put a
sigmoid of the experts' input before what the shared ones add (as in Qwen1.5-MoE and Qwen3-Next). The bias that chooses
is among the parameters where a scale counts it (as in ERNIE 4.5), and no gradient reaches it there either.
C and V take the roles of query and value in attention.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from star.architecture.spec import Dimensions, LivSpec
from star.architecture.structures.memoryless import scoring_of
from star.model.operators.cache import OperatorCache
from star.model.operators.featurizer import DeferredFeature
from star.model.operators.maps import zero_linear
from star.model.operators.memoryless import ACTIVATIONS
from star.model.operators.mixer import Mixer
from star.model.ops.shapes import BTD


class ExpertMaps(nn.Module):
    """Linear maps, one matrix per expert, optionally with a bias; zero before training."""

    def __init__(self, num_experts: int, fan_in: int, fan_out: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_experts, fan_out, fan_in))
        self.bias = nn.Parameter(torch.zeros(num_experts, fan_out)) if bias else None

    def forward(self, rows: torch.Tensor, counts: list[int]) -> torch.Tensor:
        return map_by_expert(rows, self.weight, self.bias, counts)


class Routed(Mixer):
    """Mixture of experts chosen by a router for each token. It includes the map back to the residual stream.

    Attributes:
        load: choices that fell on each expert in training since the last `rebalance`.
        balance_loss: of the last pass in training; None after one in evaluation. 1 if the load is even.
    """

    load: torch.Tensor
    selection_bias: torch.Tensor

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__()
        router, overrides = liv.group("R"), liv.overrides
        self.width = dims.d_model
        self.num_chosen = router.repeat
        self.scoring, self.is_normalised = scoring_of(liv)
        self.scale = overrides.routed_scale
        self.activation = ACTIVATIONS[liv.nonlinearity]
        bias = torch.zeros(router.expansion)
        if overrides.selection_bias:
            self.selection_bias = nn.Parameter(bias, requires_grad=False)
        else:
            self.register_buffer("selection_bias", bias)
        self.out = ExpertMaps(router.expansion, liv.group("C").width(dims), dims.d_model, overrides.out_bias)
        self.shared_out = None
        if liv.has("S"):
            self.shared_out = zero_linear(liv.group("S").width(dims), dims.d_model, overrides.out_bias)
        self.shared_gate = nn.Parameter(torch.zeros(dims.d_model)) if overrides.shared_gate else None
        self.register_buffer("load", torch.zeros(router.expansion, dtype=torch.long), persistent=False)
        self.balance_loss: torch.Tensor | None = None

    def prepare(self, role: str, feature: DeferredFeature | torch.Tensor, position: int) -> Any:
        return feature

    def make_out(self, dims: Dimensions, bias: bool) -> nn.Module:
        """Return the identity, since the experts map back to the residual stream."""
        return nn.Identity()

    def forward(
        self,
        *,
        c: DeferredFeature,
        r: torch.Tensor,
        v: DeferredFeature | None = None,
        s: torch.Tensor | None = None,
        u: torch.Tensor | None = None,
        cache: OperatorCache | None = None,
    ) -> BTD:
        batch_size, num_tokens, num_experts = r.shape
        logits = r.flatten(0, 1).to(self.selection_bias.dtype)
        gates, chosen = route(logits, self.selection_bias, self.num_chosen, self.scoring, self.is_normalised)
        load = count_choices(chosen, num_experts)
        self._note(logits, load)
        order = chosen.flatten().argsort(stable=True)  # the N k choices of N tokens, expert after expert
        counts = load.tolist()
        hidden = self._unit(*(None if one is None else make_chosen(one, order, counts) for one in (c, v)))
        results = self.out(hidden, counts).index_select(0, order.argsort()).unflatten(0, gates.shape)
        y = (results * (self.scale * gates)[:, :, None]).sum(dim=1).view(batch_size, num_tokens, -1)
        if self.shared_out is None:
            return y
        added = self.shared_out(self._unit(s, u))
        if self.shared_gate is not None:
            added = added * torch.sigmoid(c.x @ self.shared_gate)[:, :, None]
        return y + added

    @torch.no_grad()
    def rebalance(self, rate: float) -> None:
        """Raise the bias of experts with less than the mean load by `rate`, lower the others', and count anew."""
        self.selection_bias.add_((self.load.sum() - self.load * len(self.load)).sign(), alpha=rate)
        self.load.zero_()

    def _unit(self, c: torch.Tensor, v: torch.Tensor | None = None) -> torch.Tensor:
        return self.activation(c) if v is None else self.activation(c) * v

    def _note(self, logits: torch.Tensor, load: torch.Tensor) -> None:
        self.balance_loss = None
        if self.training:
            self.load += load
            self.balance_loss = find_balance_loss(logits, load, self.scoring)


class TunedRouted(Routed):
    """Mixture of experts whose activation has parameters or constants of its own, shared by all experts."""

    def __init__(self, liv: LivSpec, dims: Dimensions) -> None:
        super().__init__(liv, dims)
        self.activation = ACTIVATIONS[liv.nonlinearity](liv.overrides)

    def _unit(self, c: torch.Tensor, v: torch.Tensor | None = None) -> torch.Tensor:
        return self.activation(c, v)


def route(
    logits: torch.Tensor, bias: torch.Tensor, num_chosen: int, scoring: str, is_normalised: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gates and indices, each (N, k), of the experts chosen by the logits (N, E) of N tokens."""
    chosen = (affinities(logits.detach(), scoring) + bias).topk(num_chosen, dim=1).indices
    if not is_normalised:
        return affinities(logits, scoring).gather(1, chosen), chosen
    return shares_of(logits.gather(1, chosen), scoring), chosen


def affinities(logits: torch.Tensor, scoring: str) -> torch.Tensor:
    """Return the affinity s of every expert, (N, E)."""
    return logits.sigmoid() if scoring == "sigmoid" else logits.softmax(dim=1)


def shares_of(logits: torch.Tensor, scoring: str) -> torch.Tensor:
    """Return s / sum(s) over the experts of these logits. It is computed as a softmax of log s, which is exact even if
    every s underflows.
    """
    return (F.logsigmoid(logits) if scoring == "sigmoid" else logits).softmax(dim=1)


def count_choices(chosen: torch.Tensor, num_experts: int) -> torch.Tensor:
    """Return the number of choices of each expert, (E,)."""
    flat = chosen.flatten()
    return flat.new_zeros(num_experts).index_add_(0, flat, torch.ones_like(flat))


def find_balance_loss(logits: torch.Tensor, load: torch.Tensor, scoring: str) -> torch.Tensor:
    """Return E sum_e f_e P_e of the logits (N, E) and the resulting load (E,)."""
    shares = shares_of(logits, scoring).mean(dim=0)
    return len(load) * (load * shares).sum() / load.sum()


def make_chosen(feature: DeferredFeature, order: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """Return a feature of every choice by its expert's matrix, (N k, W), where `order` sorts the N
    k choices by expert.
    """
    x = feature.x.flatten(0, 1)
    # Copied k times, then permuted: the gradient of indexing a token k times adds up in no certain order.
    copies = x[:, None].expand(-1, len(order) // len(x), -1).flatten(0, 1)
    return map_by_expert(copies.index_select(0, order), feature.weight, feature.bias, counts)


def map_by_expert(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, counts: list[int]
) -> torch.Tensor:
    """Map rows sorted by expert, `counts` of each, by the matrix of their expert in `weight` (E, out, in) and its row
    of `bias` (E, out).
    """
    shifts = [None] * len(counts) if bias is None else bias.unbind()
    parts = zip(rows.split(counts), weight.unbind(), shifts, strict=True)
    return torch.cat([F.linear(part, matrix, shift) for part, matrix, shift in parts if len(part)])
