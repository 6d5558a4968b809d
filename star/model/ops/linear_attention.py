"""Linear attention with decay: a linear recurrence whose state is a matrix of K keys by V values per head.

    S_t = diag(exp(g_t)) S_{t-1} + k_t v_t^T,   y_t = q_t S_t

One decay for a head: Mamba-2's SSD (Dao and Gu 2024, arXiv:2405.21060); the same at every token: retention (Sun et al.
2023, arXiv:2307.08621); none: linear attention (Katharopoulos et al. 2020, arXiv:2006.16236). One decay for every key
channel: gated linear attention (Yang et al. 2023, arXiv:2312.06635).

Within a chunk every pair of tokens j <= i is scored, sum_k q_ik k_jk exp(g_{j+1} + .. + g_i)_k, and the scores are
applied to the values; what earlier chunks say arrives through the state. The decay between j and i is a product of two,
from j to a boundary and from there to i: blocks of 1, 2, 4, .. tokens are merged in pairs until one is left, and every
pair of tokens is parted by the boundary of exactly one merger. Only products of decays are formed, never quotients, so
a decay that underflows to zero is exact forgetting and nothing overflows.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from star.model.ops.shapes import BHKV, BTGK, BTH, BTHK, BTHV

LINEAR_ATTENTION_CHUNK = 32  # most tokens whose pairs are scored; a power of two


def linear_attention(
    q: BTGK, k: BTGK, v: BTHV, log_decay: BTH | BTHK, start: BHKV, by_key: bool | None = None
) -> tuple[BTHV, BHKV]:
    """Return outputs y, of the type of v, and the last state, of the type of start. The computation uses at least
    single precision.

    Args:
        q, k: queries and keys; each of their G heads serves H / G neighbouring heads of v.
        v: values.
        log_decay: g, at most zero, for every head or every key channel of it; -inf forgets all before that token.
        start: the state before the first token.
        by_key: whether there is a decay for every key channel; None: as the shape of g says.
    """
    if by_key is None:
        by_key = bool(log_decay.dim() == 4 and log_decay.shape[3] > 1)
    dtype = v.dtype
    precise = torch.promote_types(dtype, torch.float32)
    before, (q, k, v, log_decay, start) = start, (x.to(precise) for x in (q, k, v, log_decay, start))
    with torch.autocast(v.device.type, enabled=False):
        if v.shape[1] == 1:
            y, last = linear_attention_naive(q, k, v, log_decay, start)
        else:
            y, last = linear_attention_by_chunks(q, k, v, log_decay, start, by_key)
    return y.to(dtype), last.to(before.dtype)


def linear_attention_naive(q: BTGK, k: BTGK, v: BTHV, log_decay: BTH | BTHK, start: BHKV) -> tuple[BTHV, BHKV]:
    """Compute linear attention one token at a time."""
    shared = v.shape[2] // k.shape[2]
    q, k = (x.repeat_interleave(shared, dim=2) for x in (q, k))
    decay = log_decay.exp().reshape(*v.shape[:3], -1, 1)  # one for all K rows of a state, or one for each
    state, y = start, []
    for t in range(v.shape[1]):
        state = decay[:, t] * state + k[:, t, :, :, None] * v[:, t, :, None]
        y.append((q[:, t, :, None] @ state).squeeze(2))
    return torch.stack(y, dim=1), state


def linear_attention_by_chunks(
    q: BTGK, k: BTGK, v: BTHV, log_decay: BTH | BTHK, start: BHKV, by_key: bool
) -> tuple[BTHV, BHKV]:
    """Compute linear attention for all chunks at once; only the state passes sequentially from chunk to chunk."""
    num_tokens, groups = k.shape[1:3]
    length = min(LINEAR_ATTENTION_CHUNK, 1 << (int(num_tokens) - 1).bit_length())
    log_decay = log_decay.reshape(*v.shape[:3], -1)
    chunks = (head_chunks(x, length).unflatten(2, (groups, -1)) for x in (q, k, v, log_decay))
    form = KeyDecayChunks if by_key else HeadDecayChunks
    y, last = form.apply(*chunks, start.unflatten(1, (groups, -1)))
    y = y.flatten(2, 3).permute(1, 0, 3, 2, 4).flatten(1, 2)
    return y[:, :num_tokens], last.flatten(1, 2)


def head_chunks(x: torch.Tensor, length: int) -> torch.Tensor:
    """Reshape (B, T, H, ...) to (chunks, B, H, length, ...). Zeros fill the last chunk and leave
    the state unchanged.
    """
    if x.shape[1] % length:
        x = F.pad(x, (0, 0, 0, 0, 0, -x.shape[1] % length))
    return x.unflatten(1, (-1, length)).permute(1, 0, 3, 2, 4).contiguous()


class HeadDecayChunks(torch.autograd.Function):
    """Linear attention on chunks (chunks, B, G, heads served, length, ...) with one decay a head; q and k have size 1
    in the axis of heads served.

    With A the scores, D the gradient of the state after a chunk and S the state before it, and with q and k decayed
    from the chunk's first and to its last token where they meet a state:

        dv = A^T dy + k D,   dA = dy v^T,   dq = dA k + dy S^T,   dk = dA^T q + v D^T,   D_- = exp(g_1 + ..) D + q^T dy

    The logarithm of the decay from any earlier token to i scales q_i, and that from j to any later token k_j. So the
    gradient of g_t is the sum of q_i dq_i - k_i dk_i over i from t to the chunk's end, where the state adds S D.
    """

    @staticmethod
    def forward(ctx, q, k, v, log_decay, start):
        table, since, until = pair_decays(log_decay.exp())
        return attend_to_chunks(ctx, q, k, v, table, (q @ k.mT) * table, since, until, start)

    @staticmethod
    def backward(ctx, dy, dlast):
        return attend_to_chunks_backward(ctx, dy, dlast, head_scores_backward)


class KeyDecayChunks(torch.autograd.Function):
    """Linear attention on chunks with a decay for every key channel."""

    @staticmethod
    def forward(ctx, q, k, v, log_decay, start):
        decay = log_decay.exp()
        return attend_to_chunks(ctx, q, k, v, decay, *pair_scores(q, k, decay), start)

    @staticmethod
    def backward(ctx, dy, dlast):
        return attend_to_chunks_backward(ctx, dy, dlast, pair_scores_backward)


def attend_to_chunks(ctx, q, k, v, table, scores, since, until, start):
    """Return the outputs of all chunks and the last state. `table` is what the gradient of the scores is made from."""
    states = carry_state(since[..., -1, :, None], (k * until).mT @ v, start)
    ctx.save_for_backward(q, k, v, table, since, until, scores, states)
    return scores @ v + (q * since) @ states[:-1], states[-1].clone()


def attend_to_chunks_backward(ctx, dy, dlast, scores_backward):
    """Return the gradients of q, k, v, the logarithms of decays and the first state."""
    q, k, v, table, since, until, scores, states = ctx.saved_tensors
    reads = (q * since).mT @ dy
    dstates = carry_state(since[..., -1, :, None].flip(0), reads.flip(0), dlast).flip(0)
    dstart, dends = dstates[0], dstates[1:]
    dv = scores.mT @ dy + (k * until) @ dends
    dq, dk = scores_backward(dy @ v.mT, q, k, table)
    dq.addcmul_(dy @ states[:-1].mT, since)
    dk.addcmul_(v @ dends.mT, until)
    dlog = q * dq - k * dk
    dlog[..., -1, :] += (states[1:] * dends).sum(-1)
    from_here_on = torch.ones_like(scores[0, 0, 0, 0]).triu()  # a product is faster than a flipped running sum
    dlog = from_here_on @ dlog.sum_to_size(since.shape)
    return dq.sum_to_size(q.shape), dk.sum_to_size(k.shape), dv, dlog, dstart


def head_scores_backward(
    dscores: torch.Tensor, q: torch.Tensor, k: torch.Tensor, decays: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients of q and k, for every head that they serve, where a head has one decay."""
    dscores *= decays
    return dscores @ k, dscores.mT @ q


def carry_state(kept: torch.Tensor, added: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """The state before every chunk, and the last: S_{n+1} = kept_n S_n + added_n."""
    states = torch.cat((start[None], added))
    for n in range(len(added)):
        states[n + 1].addcmul_(kept[n], states[n])
    return states


def merge_blocks(since: torch.Tensor, until: torch.Tensor) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """Merge blocks of tokens (dimension -2) in pairs until one is left, and grow two products of decays in place.

    Args:
        since: for every token the product over its block up to the token itself; before any merger its own decay.
        until: for every token the product over its block after it; before any merger one.

    Yields:
        Before each merger the size of the blocks, `since` of the second block of every pair and `until` of the first,
        valid until the next step: their products are the decays between the two blocks.
    """
    size = 1
    while size < since.shape[-2]:
        (since_early, since_late), (until_early, _) = block_pairs(since, size), block_pairs(until, size)
        yield size, since_late, until_early
        until_early *= since_late[..., -1:, :]
        since_late *= since_early[..., -1:, :]
        size *= 2


def block_pairs(x: torch.Tensor, size: int) -> tuple[torch.Tensor, ...]:
    """Views (..., pairs, size, K) of the first and the second block of every pair, of x (..., length, K)."""
    return x.unflatten(-2, (-1, 2, size)).unbind(-3)


def between_blocks(matrix: torch.Tensor, size: int) -> torch.Tensor:
    """View (..., pairs, size, size): rows of the second block of every pair and columns of the first."""
    blocks = matrix.unflatten(-1, (-1, 2 * size)).unflatten(-3, (-1, 2 * size))
    return blocks.diagonal(dim1=-4, dim2=-2).movedim(-1, -3)[..., size:, :size]


def pair_decays(decay: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the decay from token j to token i at row i and column j, and `since` and `until` of the chunk."""
    length = decay.shape[-2]
    decays = torch.eye(length, dtype=decay.dtype, device=decay.device).expand(*decay.shape[:-1], length).clone()
    since, until = decay.clone(), torch.ones_like(decay)
    for size, late, early in merge_blocks(since, until):
        torch.mul(late, early.mT, out=between_blocks(decays, size))
    return decays, since, until


def pair_scores(q: torch.Tensor, k: torch.Tensor, decay: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the score of token j for token i at row i and column j, and `since` and `until` of the chunk."""
    scores = torch.diag_embed((q * k).sum(-1).expand(decay.shape[:-1]))
    since, until = decay.clone(), torch.ones_like(decay)
    for size, late, early in merge_blocks(since, until):
        late, early = block_pairs(q, size)[1] * late, block_pairs(k, size)[0] * early
        between_blocks(scores, size).copy_(late @ early.mT)
    return scores, since, until


def pair_scores_backward(
    dscores: torch.Tensor, q: torch.Tensor, k: torch.Tensor, decay: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients of q and k, for every head that they serve."""
    diagonal = dscores.diagonal(dim1=-2, dim2=-1)[..., None]
    dq, dk = diagonal * k, diagonal * q
    for size, late, early in merge_blocks(decay.clone(), torch.ones_like(decay)):
        dpairs = between_blocks(dscores, size)
        block_pairs(dq, size)[1].addcmul_(dpairs @ (block_pairs(k, size)[0] * early), late)
        block_pairs(dk, size)[0].addcmul_(dpairs.mT @ (block_pairs(q, size)[1] * late), early)
    return dq, dk
