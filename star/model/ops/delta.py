"""Gated delta rule: a matrix-valued state per head that is corrected towards new values, and decays.

    S_t = exp(g_t) (I - beta_t k_t k_t^T) S_{t-1} + beta_t k_t v_t^T,   y_t = q_t S_t        per head; S is (K, V)

Gated delta rule: Yang et al. 2024, arXiv:2412.06464. Queries and keys arrive normalised and scaled as the caller wants.

Within a chunk every token writes k_i u_i^T, where u corrects v by what the state recalls after the earlier writes:

    u_i = beta_i (v_i - exp(G_i) k_i S - sum_{j < i} exp(G_i - G_j) (k_i . k_j) u_j),   G_i = g_1 + .. + g_i

with S the state before the chunk. This is a unit triangular system with one matrix for all columns (the parallel form
of the delta rule: Yang et al. 2024, arXiv:2406.06484), and u is affine in S: solved for both parts of its right side,
it makes each chunk an affine map of the state. Only these maps are applied one after another. G_i - G_j is summed
from its own terms, never formed as a difference, so a decay that underflows is exact forgetting.
"""

import torch

from star.model.ops.linear_attention import head_chunks
from star.model.ops.shapes import BHKV, BTH, BTHK, BTHV

DELTA_CHUNK = (16, 32)  # tokens solved for at once; in between, as many as a key has channels


def gated_delta_rule(q: BTHK, k: BTHK, v: BTHV, log_decay: BTH, beta: BTH, start: BHKV) -> tuple[BTHV, BHKV]:
    """Return outputs y, of the type of v, and the last state, of the type of start. The computation uses at least
    single precision.

    Args:
        q, k, v: queries, keys and values.
        log_decay: g, at most zero; where it is -inf, all before that token is forgotten.
        beta: how much of the error is corrected; 1 replaces what a key of unit length recalls.
        start: the state before the first token.
    """
    form = gated_delta_rule_naive if v.shape[1] == 1 else delta_by_chunks
    precise = torch.promote_types(v.dtype, torch.float32)
    with torch.autocast(v.device.type, enabled=False):
        y, last = form(*(x.to(precise) for x in (q, k, v, log_decay, beta, start)))
    return y.to(v.dtype), last.to(start.dtype)


def gated_delta_rule_naive(q: BTHK, k: BTHK, v: BTHV, log_decay: BTH, beta: BTH, start: BHKV) -> tuple[BTHV, BHKV]:
    """Compute the gated delta rule one token at a time."""
    state, y = start, []
    for t in range(v.shape[1]):
        state = log_decay[:, t, :, None, None].exp() * state
        error = v[:, t] - (k[:, t, :, :, None] * state).sum(2)
        state = state + k[:, t, :, :, None] * (beta[:, t, :, None] * error)[:, :, None]
        y.append((q[:, t, :, :, None] * state).sum(2))
    return torch.stack(y, dim=1), state


def delta_by_chunks(q: BTHK, k: BTHK, v: BTHV, log_decay: BTH, beta: BTH, start: BHKV) -> tuple[BTHV, BHKV]:
    """Compute the gated delta rule for all chunks at once; only the state passes sequentially from chunk to chunk."""
    num_tokens, widths = v.shape[1], (v.shape[3], k.shape[3])
    length = min(max(k.shape[3], DELTA_CHUNK[0]), DELTA_CHUNK[1], num_tokens)
    q, k, v, log_decay, beta = (head_chunks(x, length) for x in (q, k, v, log_decay[..., None], beta[..., None]))
    decay = decay_between(log_decay)
    since = log_decay.cumsum(-2).exp()
    weighted = beta * k
    sides = torch.cat((beta * v, weighted * since), dim=-1)
    writes = torch.linalg.solve_triangular((weighted @ k.mT) * decay, sides, upper=False, unitriangular=True)
    read, read_start = (((q @ k.mT) * decay) @ writes).split(widths, dim=-1)
    kept, kept_start = ((k * decay[..., -1, :, None]).mT @ writes).split(widths, dim=-1)
    identity = torch.eye(widths[1], dtype=k.dtype, device=k.device)
    states, last = ChunkStates.apply(identity * since[..., -1:, :] - kept_start, kept, start)
    y = read + (q * since - read_start) @ states
    return y.permute(1, 0, 3, 2, 4).flatten(1, 2)[:, :num_tokens], last


def decay_between(log_decay: torch.Tensor) -> torch.Tensor:
    """Return exp(g_{j+1} + .. + g_i) at row i and column j <= i, zero where j > i; from (..., L, 1) to (..., L, L)."""
    length = log_decay.shape[-2]
    return log_decay.expand(*log_decay.shape[:-1], length).tril(-1).cumsum(-2).exp().tril()


class ChunkStates(torch.autograd.Function):
    """State before every chunk, and the last: S_{c+1} = A_c S_c + B_c. The backward pass is G_c =
    dS_c + A_c^T G_{c+1}.
    """

    @staticmethod
    def forward(ctx, transition, update, start):
        states = torch.cat((start[None], update))
        for c in range(len(update)):
            states[c + 1] += transition[c] @ states[c]
        ctx.save_for_backward(transition, states)
        return states[:-1], states[-1].clone()

    @staticmethod
    def backward(ctx, dstates, dlast):
        transition, states = ctx.saved_tensors
        g = torch.cat((dstates, dlast[None]))
        for c in reversed(range(len(transition))):
            g[c] += transition[c].mT @ g[c + 1]
        return g[1:] @ states[:-1].mT, g[1:], g[0]
