"""Naive twins of tensor functions and of mixers: their equations in loops, one token, head or expert at a time."""

import torch
import torch.nn.functional as F

from star.model.operators.attention import Attention
from star.model.operators.delta import L2_EPS
from star.model.operators.featurizer import NORM_EPS, DeferredFeature
from star.model.operators.gated_linear_attention import TEMPERATURE
from star.model.operators.latent_attention import LatentAttention
from star.model.operators.linear_attention import WEIGHT_EPS
from star.model.operators.positions import Alibi, Positions, Relative
from star.model.operators.routed import Routed
from star.model.ops.delta import gated_delta_rule_naive
from star.model.ops.gated_recurrence import RATE_SCALE
from star.model.ops.linear_attention import linear_attention_naive
from star.model.ops.positions import alibi_slopes, distance_table
from star.model.ops.rotary import ROTARY_THETA
from star.model.ops.shapes import BD, BDN, BTD, BTE, BTH, BTHK, BTN, DN, WD, D


def convolution_naive(x: BTD, kernel: WD) -> BTD:
    """Compute either convolution by two loops over time."""
    y = torch.zeros_like(x)
    for t in range(x.shape[1]):
        for s in range(min(t + 1, kernel.shape[0])):
            y[:, t] = y[:, t] + kernel[s] * x[:, t - s]
    return y


def rotate_naive(x: BTHK, theta: float = ROTARY_THETA, channels: int | None = None) -> BTHK:
    """Rotate by complex multiplication in a loop over positions and pairs."""
    out = x.clone()
    rope_dim = x.shape[3] if channels is None else channels
    half = rope_dim // 2
    for t in range(x.shape[1]):
        for k in range(half):
            angle = torch.tensor(t * theta ** (-2 * k / rope_dim), dtype=torch.float64)
            pair = torch.complex(x[:, t, :, k].double(), x[:, t, :, k + half].double()) * torch.exp(1j * angle)
            out[:, t, :, k], out[:, t, :, k + half] = pair.real.to(x.dtype), pair.imag.to(x.dtype)
    return out


def selective_scan_naive(s: BTD, v: BTD, b: BTN, c: BTN, r: DN, start: BDN) -> tuple[BTD, BDN]:
    """Compute the selective scan one token at a time."""
    h, y = start, []
    for t in range(v.shape[1]):
        h = torch.exp(-s[:, t, :, None] * r) * h + (s[:, t] * v[:, t])[..., None] * b[:, t, None]
        y.append((h * c[:, t, None]).sum(-1))
    return torch.stack(y, dim=1), h


def linear_recurrence_naive(a: BTD, b: BTD, start: BD) -> tuple[BTD, BD]:
    """Compute the linear recurrence one token at a time."""
    states = [start]
    for t in range(a.shape[1]):
        states.append(a[:, t] * states[-1] + b[:, t])
    return torch.stack(states[1:], dim=1), states[-1]


def gated_recurrence_naive(v: BTD, input_gate: BTD, recurrence_gate: BTD, rate: D, start: BD | None) -> tuple[BTD, BD]:
    """Compute the gated recurrence one token at a time."""
    h, states = start, []
    for t in range(v.shape[1]):
        a = torch.exp(-RATE_SCALE * torch.log1p(rate.exp()) / (1 + torch.exp(-recurrence_gate[:, t])))
        u = v[:, t] / (1 + torch.exp(-input_gate[:, t]))
        h = u if h is None else a * h + torch.sqrt(1 - a**2) * u
        states.append(h)
    return torch.stack(states, dim=1), states[-1]


def added_scores_naive(positions: Positions, q: torch.Tensor, head: int, num_keys: int) -> torch.Tensor | float:
    """Return the term added to the scores (B, S) of one head of a query (B, H, K), the last of `num_keys` tokens."""
    if isinstance(positions, Alibi):
        return torch.tensor([-alibi_slopes(q.shape[1])[head] * t for t in reversed(range(num_keys))]).to(q)
    if isinstance(positions, Relative):
        sinusoids = distance_table(num_keys, positions.map.in_features, q.device, positions.theta).to(q).flip(0)
        maps = positions.map.weight.unflatten(0, (q.shape[1], -1))[head]
        return positions.scale * torch.stack([q[:, head] @ maps @ one for one in sinusoids], dim=1)
    return 0.0


def attention_naive(mixer: Attention, c: BTD, b: torch.Tensor, v: torch.Tensor) -> BTE:
    """Compute attention from unrotated keys, one query and one head at a time."""
    q = c[:, :, : mixer.queries].unflatten(2, (-1, mixer.head_dim))
    k, v = b.unflatten(2, (-1, mixer.head_dim)), v.unflatten(2, (-1, mixer.value_head_dim))
    q, k = mixer.positions.rotate(q, 0), mixer.positions.rotate(k, 0)
    repeat = q.shape[2] // k.shape[2]
    y = q.new_zeros(*q.shape[:3], mixer.value_head_dim)
    for i in range(q.shape[1]):
        first = max(0, i + 1 - (mixer.window or i + 1))
        for head in range(q.shape[2]):
            keys, values = k[:, first : i + 1, head // repeat], v[:, first : i + 1, head // repeat]
            scores = mixer.scale * torch.einsum("bk,bjk->bj", q[:, i, head], keys)
            if cap := mixer.score_cap:
                scores = cap - 2 * cap / (1 + torch.exp(2 * scores / cap))
            weights = torch.exp(scores + added_scores_naive(mixer.positions, q[:, i], head, keys.shape[1]))
            rest = 0 if mixer.sinks is None else torch.exp(mixer.sinks[head])
            y[:, i, head] = torch.einsum("bj,bjk->bk", weights, values) / (weights.sum(1, keepdim=True) + rest)
    y = y.flatten(2)
    if not mixer.gate_repeat:
        return y
    numbers = y.shape[2] // mixer.gate_repeat
    gate = c[:, :, [mixer.queries + k * numbers // y.shape[2] for k in range(y.shape[2])]]
    return y / (1 + torch.exp(-gate))


def latent_attention_naive(mixer: LatentAttention, c: BTE, b: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Compute latent attention from unrotated B, one query at a time."""
    plain, q_rope = c.unflatten(2, (-1, mixer.total)).split((mixer.head_dim, mixer.rope_dim), dim=3)
    q_rope, b = mixer.positions.rotate(q_rope, 0), mixer.positions.rotate(b[:, :, None], 0)[:, :, 0]
    y = []
    for i in range(c.shape[1]):
        near = slice(max(0, i + 1 - (mixer.window or i + 1)), i + 1)
        keys = (v[:, near] @ mixer.up_key.weight.T).unflatten(2, (-1, mixer.head_dim))
        values = (v[:, near] @ mixer.up_value.weight.T).unflatten(2, (-1, mixer.value_head_dim))
        scores = torch.einsum("bhk,bjhk->bhj", plain[:, i], keys)
        scores = mixer.scale * (scores + torch.einsum("bhk,bjk->bhj", q_rope[:, i], b[:, near]))
        for head in range(scores.shape[1]):
            scores[:, head] += added_scores_naive(mixer.positions, q_rope[:, i], head, scores.shape[2])
        y.append(torch.einsum("bhj,bjhk->bhk", scores.softmax(dim=2), values).flatten(1))
    return torch.stack(y, dim=1)


def linear_attention_mixer_naive(c: BTD, b: BTE, v: BTE, head_dim: int) -> BTD:
    """Compute attention with weights f(C_i) . f(B_j), one query and one head at a time."""
    q, k, v = (x.unflatten(2, (-1, head_dim)) for x in (c, b, v))
    repeat = q.shape[2] // k.shape[2]
    y = torch.zeros_like(q)
    for i in range(q.shape[1]):
        for head in range(q.shape[2]):
            keys, values = k[:, : i + 1, head // repeat], v[:, : i + 1, head // repeat]
            weights = ((F.elu(q[:, i, None, head]) + 1) * (F.elu(keys) + 1)).sum(2)
            y[:, i, head] = (weights[..., None] * values).sum(1) / (weights.sum(1, keepdim=True) + WEIGHT_EPS)
    return y.flatten(2)


def gated_convolution_naive(c: BTD, b: BTD, v: BTD, kernel: WD) -> BTD:
    """Compute the gated convolution with a linear gate by two loops over time."""
    return c * convolution_naive(b * v, kernel)


def memoryless_naive(c: BTD, v: BTD) -> BTD:
    """Compute the memoryless unit from the definition of swish."""
    return c / (1 + (-c).exp()) * v


def recurrence_naive(c: BTN, b: BTN, v: BTD, a: BTD, log_rate: DN, step_bias: D, skip: D) -> BTD:
    """Compute the recurrence one token at a time."""
    step = torch.log1p(torch.exp(a + step_bias))
    start = v.new_zeros(v.shape[0], *log_rate.shape)
    y, _ = selective_scan_naive(step, v, b, c, log_rate.exp(), start)
    return y + skip * v


def gated_recurrence_mixer_naive(c: BTD, b: BTD, v: BTD, a: BTD, rate: D, input_bias: D, decay_bias: D) -> BTD:
    """Compute the gated recurrence with a linear gate, one token at a time."""
    h, _ = gated_recurrence_naive(v, b + input_bias, a + decay_bias, rate, None)
    return c * h


def gated_linear_attention_naive(
    c: BTE, b: BTE, v: BTD, a: BTE, z: BTD | None, bias: torch.Tensor, gain: torch.Tensor, head_dim: int
) -> BTD:
    """Compute gated linear attention one token at a time."""
    num_heads = c.shape[2] // head_dim
    log_decay = torch.log(1 / (1 + torch.exp(-a - bias))) / TEMPERATURE
    q, k, v, log_decay = (x.unflatten(2, (num_heads, -1)) for x in (c, b, v, log_decay))
    start = v.new_zeros(v.shape[0], num_heads, head_dim, v.shape[3])
    y, _ = linear_attention_naive(q / head_dim**0.5, k, v, log_decay, start)
    y = (y / (y.square().mean(3, keepdim=True) + NORM_EPS).sqrt() * gain).flatten(2)
    return y if z is None else y * z / (1 + torch.exp(-z))


def delta_rule_naive(
    c: BTE,
    b: BTE,
    v: BTD,
    a: BTH,
    w: BTH,
    z: BTD | None,
    log_rate: torch.Tensor,
    step_bias: torch.Tensor,
    gain: torch.Tensor,
    head_dim: int,
) -> BTD:
    """Compute the gated delta rule one token at a time, each value head with the key and query head that serve it."""
    num_heads = log_rate.shape[0]
    q, k = (x.unflatten(2, (-1, head_dim)) for x in (c, b))
    q, k = (x / (x.square().sum(3, keepdim=True) + L2_EPS).sqrt() for x in (q, k))
    q, k = (torch.stack([x[:, :, h * x.shape[2] // num_heads] for h in range(num_heads)], dim=2) for x in (q, k))
    v = v.unflatten(2, (num_heads, -1))
    log_decay = -log_rate.exp() * torch.log1p(torch.exp(a + step_bias))
    start = v.new_zeros(v.shape[0], num_heads, head_dim, v.shape[3])
    y, _ = gated_delta_rule_naive(q / head_dim**0.5, k, v, log_decay, 1 / (1 + torch.exp(-w)), start)
    y = (y / (y.square().mean(3, keepdim=True) + NORM_EPS).sqrt() * gain).flatten(2)
    return y if z is None else y * z / (1 + torch.exp(-z))


def state_space_naive(
    c: BTE,
    b: BTE,
    v: BTD,
    a: BTH,
    z: BTD | None,
    log_rate: torch.Tensor,
    step_bias: torch.Tensor,
    skip: torch.Tensor,
    gain: D | None,
    num_groups: int = 1,
    norm_groups: int = 1,
) -> BTD:
    """Compute the state space dual one token at a time."""
    num_heads = log_rate.shape[0]
    heads = v.unflatten(2, (num_heads, -1))
    step = torch.log1p(torch.exp(a + step_bias))
    q, k = (
        torch.stack([x.unflatten(2, (num_groups, -1))[:, :, h * num_groups // num_heads] for h in range(num_heads)], 2)
        for x in (c, b)
    )
    start = v.new_zeros(v.shape[0], num_heads, q.shape[3], heads.shape[3])
    y, _ = linear_attention_naive(q, k, heads * step[..., None], -step * log_rate.exp(), start)
    y = (y + skip[:, None] * heads).flatten(2)
    if z is not None:
        y = y * z / (1 + torch.exp(-z))
    if gain is None:
        return y
    parts = y.unflatten(2, (norm_groups, -1))
    return (parts / (parts.square().mean(3, keepdim=True) + NORM_EPS).sqrt()).flatten(2) * gain


def routed_naive(
    mixer: Routed,
    c: DeferredFeature,
    v: DeferredFeature | None,
    r: torch.Tensor,
    s: torch.Tensor | None = None,
    u: torch.Tensor | None = None,
) -> BTD:
    """Compute the mixture by its equation, one token and one expert at a time."""
    y = []
    for i in range(r.shape[0] * r.shape[1]):
        token = torch.zeros(mixer.width, dtype=r.dtype)
        for e, gate in gates_naive(mixer, r.flatten(0, 1)[i]).items():
            hidden = mixer.activation(expert_naive(c.weight, c.bias, e, c.x.flatten(0, 1)[i]))
            if v is not None:
                hidden = hidden * expert_naive(v.weight, v.bias, e, v.x.flatten(0, 1)[i])
            token = token + gate * expert_naive(mixer.out.weight, mixer.out.bias, e, hidden)
        if s is not None and mixer.shared_out is not None:
            hidden = mixer.activation(s.flatten(0, 1)[i])
            added = mixer.shared_out(hidden if u is None else hidden * u.flatten(0, 1)[i])
            if mixer.shared_gate is not None:
                added = added / (1 + torch.exp(-(c.x.flatten(0, 1)[i] @ mixer.shared_gate)))
            token = token + added
        y.append(token)
    return torch.stack(y).view(*r.shape[:2], mixer.width)


def gates_naive(mixer: Routed, logits: torch.Tensor) -> dict[int, torch.Tensor]:
    """The gate of each expert that one token with these logits goes through."""
    affinity = 1 / (1 + torch.exp(-logits)) if mixer.scoring == "sigmoid" else logits.exp() / logits.exp().sum()
    top = (affinity.detach() + mixer.selection_bias).argsort(descending=True)[: mixer.num_chosen].tolist()
    total = sum(affinity[e] for e in top) if mixer.is_normalised else 1
    return {e: mixer.scale * affinity[e] / total for e in top}


def expert_naive(weight: torch.Tensor, bias: torch.Tensor | None, e: int, x: torch.Tensor) -> torch.Tensor:
    """Return the image of one vector under the map of one expert."""
    return weight[e] @ x if bias is None else weight[e] @ x + bias[e]


def two_then_one(model, tokens, place, change=lambda i, x: x):
    """The logits of three slots, of which the first two read the same: norms stand before operators, after them, or
    both, and `change` is made to what slot i reads."""

    def term(i, x):
        y, _ = model.layers[i](change(i, x if place == "after" else model.norms[i](x)), {})
        return y if place == "before" else (model.norms if place == "after" else model.post_norms)[i](y)

    x = model.embedding(tokens)
    x = x + term(0, x) + term(1, x)
    return model.final_norm(x + term(2, x)) @ model.embedding.weight.T
