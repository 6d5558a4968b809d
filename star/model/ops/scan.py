"""Selective scan: an input-varying linear recurrence with N states per channel, for all tokens at once.

    h_t = exp(-s_t r) h_{t-1} + s_t v_t b_t,   y_t = c_t . h_t        (Mamba's S6: Gu and Dao 2023, arXiv:2312.00752)

Time is cut into chunks of about sqrt(T / 3) tokens. All chunks advance together, one token a step: once from a zero
state to find what each chunk adds and how much it keeps, then, the states between chunks being known, from its
true start. Only products of decays are formed, never quotients, so a decay that underflows to zero is exact
forgetting and nothing overflows. The gradient is the same recurrence run backwards (Martin and Cundy 2017,
arXiv:1709.04057). Inside, states are laid out (B, T, N, D): the wide axis last keeps every pass vectorised.
"""

import math

import torch
import torch.nn.functional as F

from star.model.ops.shapes import BDN, BTD, BTN, DN


def selective_scan(s: BTD, v: BTD, b: BTN, c: BTN, r: DN, start: BDN) -> tuple[BTD, BDN]:
    """Return the outputs y and the last state.

    Args:
        s: step sizes, positive.
        v: values.
        b, c: input and readout features, one vector for all channels.
        r: decay rates, positive.
        start: the state before the first token.
    """
    y, last = SelectiveScan.apply(s, v, b, c, r.mT.contiguous(), start.mT.contiguous())
    return y, last.mT


class SelectiveScan(torch.autograd.Function):
    """Selective scan with a custom gradient. With g the gradient of h, found by the backward recurrence, and a = exp(-s
    r):

    dc = sum_D h dy,  db = sum_D g s v,  d(s v) = sum_N g b,  dr = -sum_BT g h_prev a s,  ds += -sum_N g h_prev a r
    """

    @staticmethod
    def forward(ctx, s, v, b, c, r, start):
        decay = (s[:, :, None] * -r).exp_()
        h = scan_forward(decay, (s * v)[:, :, None] * b[..., None], start)
        ctx.save_for_backward(s, v, b, c, r, start, h)
        return (c[:, :, None] @ h).squeeze(2), h[:, -1].clone()

    @staticmethod
    def backward(ctx, dy, dlast):
        s, v, b, c, r, start, h = ctx.saved_tensors
        decay = (s[:, :, None] * -r).exp_()  # cheaper made again than kept
        dh = dy[:, :, None] * c[..., None]
        dh[:, -1] += dlast
        g = scan_backward(decay, dh)
        dstart = g[:, 0] * decay[:, 0]
        dc = (h * dy[:, :, None]).sum(3)
        db = (g * (s * v)[:, :, None]).sum(3)
        du = (b[:, :, None] @ g).squeeze(2)
        decay[:, 1:] *= h[:, :-1]
        decay[:, 0] *= start
        dlog = decay.mul_(g)
        dr = -(dlog * s[:, :, None]).sum((0, 1))
        ds = du * v - dlog.mul_(r).sum(2)
        return ds, du * s, db, dc, dr, dstart


def to_chunks(x: torch.Tensor) -> torch.Tensor:
    """Reshape (B, T, ...) to (B, chunks, length, ...), padded with zeros at the end; a view if no padding is needed."""
    num_tokens = x.shape[1]
    length = 2 ** max(0, round(math.log2(num_tokens / 3) / 2))  # a step within chunks costs three between them
    if num_tokens % length:
        x = F.pad(x, (0, 0) * (x.dim() - 2) + (0, -num_tokens % length))
    return x.unflatten(1, (-1, length))


def scan_forward(a: torch.Tensor, b: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """Return all states of h_t = a_t h_{t-1} + b_t, elementwise; a, b and the result are (B, T, ...), start is (B,
    ...).
    """
    num_tokens = a.shape[1]
    a, b = to_chunks(a), to_chunks(b)
    num_chunks, length = a.shape[1:3]
    added, kept = b[:, :, 0].clone(), a[:, :, 0].clone()
    for i in range(1, length):
        torch.addcmul(b[:, :, i], a[:, :, i], added, out=added)
        kept *= a[:, :, i]
    state = torch.empty_like(added)
    state[:, 0] = start
    for j in range(1, num_chunks):
        torch.addcmul(added[:, j - 1], kept[:, j - 1], state[:, j - 1], out=state[:, j])
    h = torch.empty_like(b)
    for i in range(length):
        torch.addcmul(b[:, :, i], a[:, :, i], state, out=h[:, :, i])
        state = h[:, :, i]
    return h.flatten(1, 2)[:, :num_tokens]


def scan_backward(a: torch.Tensor, dh: torch.Tensor) -> torch.Tensor:
    """Return g_t = dh_t + a_{t+1} g_{t+1}, computed from the end. The loop carries a_t g_t, which avoids a shifted copy
    of `a`.
    """
    num_tokens = a.shape[1]
    a, dh = to_chunks(a), to_chunks(dh)
    num_chunks, length = a.shape[1:3]
    added, kept = torch.zeros_like(dh[:, :, 0]), torch.ones_like(a[:, :, 0])
    for i in reversed(range(length)):
        added += dh[:, :, i]
        added *= a[:, :, i]
        kept *= a[:, :, i]
    carried = torch.zeros_like(added)
    for j in reversed(range(num_chunks - 1)):
        torch.addcmul(added[:, j + 1], kept[:, j + 1], carried[:, j + 1], out=carried[:, j])
    g = torch.empty_like(dh)
    for i in reversed(range(length)):
        torch.add(dh[:, :, i], carried, out=g[:, :, i])
        torch.mul(g[:, :, i], a[:, :, i], out=carried)
    return g.flatten(1, 2)[:, :num_tokens]
