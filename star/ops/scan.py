"""The linear recurrence  h_t = a_t h_{t-1} + b_t,  elementwise, for all t at once.

Time is cut into chunks of about sqrt(T) tokens. All chunks advance together, one token a step: once from a zero
state to find what each chunk adds and how much it forgets, then, the states between chunks being known, from
its true start. Only products of decays are formed, never quotients, so a decay that underflows to zero is exact
forgetting and nothing overflows. The gradient is the same recurrence run backwards. Two-level scan after
Blelloch 1990; the backward recurrence after Martin and Cundy 2017, arXiv:1709.04057.
"""

import math

import torch
import torch.nn.functional as F

from star.ops.shapes import BDN, BTDN


def linear_scan(a: BTDN, b: BTDN, start: BDN | None = None) -> BTDN:
    """Every state h_1..h_T of the recurrence.

    Args:
        a: decays.
        b: inputs.
        start: h_0, zero if None.
    """
    if start is not None:
        b = torch.cat(((b[:, 0] + a[:, 0] * start)[:, None], b[:, 1:]), dim=1)
    return LinearScan.apply(a, b)


def linear_scan_naive(a: BTDN, b: BTDN, start: BDN | None = None) -> BTDN:
    """The same, one token after another."""
    h = torch.zeros_like(b[:, 0]) if start is None else start
    states = []
    for t in range(b.shape[1]):
        h = a[:, t] * h + b[:, t]
        states.append(h)
    return torch.stack(states, dim=1)


class LinearScan(torch.autograd.Function):
    """h = scan(a, b); with g_t = dh_t + a_{t+1} g_{t+1}:  db_t = g_t,  da_t = g_t h_{t-1}."""

    @staticmethod
    def forward(ctx, a, b):
        h = scan_forward(_to_chunks(a), _to_chunks(b)).flatten(1, 2)[:, : a.shape[1]]
        ctx.save_for_backward(a, h)
        return h

    @staticmethod
    def backward(ctx, dh):
        a, h = ctx.saved_tensors
        g = scan_backward(_to_chunks(a), _to_chunks(dh)).flatten(1, 2)[:, : a.shape[1]]
        da = torch.empty_like(a)
        da[:, 0] = 0
        torch.mul(g[:, 1:], h[:, :-1], out=da[:, 1:])
        return da, g


def _to_chunks(x):
    """(B, T, ...) -> (B, chunks, length, ...), padded with zeros at the end, a view where nothing is padded."""
    num_tokens = x.shape[1]
    length = 2 ** round(math.log2(num_tokens) / 2)
    if num_tokens % length:
        x = F.pad(x, (0, 0) * (x.dim() - 2) + (0, -num_tokens % length))
    return x.unflatten(1, (-1, length))


def scan_forward(a, b):
    """States of h_i = a_i h_{i-1} + b_i over chunks; arguments and result (B, chunks, length, ...)."""
    num_chunks, length = a.shape[1:3]
    added, kept = b[:, :, 0].clone(), a[:, :, 0].clone()
    for i in range(1, length):
        torch.addcmul(b[:, :, i], a[:, :, i], added, out=added)
        kept *= a[:, :, i]
    state = torch.zeros_like(added)
    for j in range(1, num_chunks):
        torch.addcmul(added[:, j - 1], kept[:, j - 1], state[:, j - 1], out=state[:, j])
    h = torch.empty_like(b)
    for i in range(length):
        torch.addcmul(b[:, :, i], a[:, :, i], state, out=h[:, :, i])
        state = h[:, :, i]
    return h


def scan_backward(a, dh):
    """g_i = dh_i + a_{i+1} g_{i+1}, from the end; with u_i = a_i g_i carried, so that no shifted copy is made."""
    num_chunks, length = a.shape[1:3]
    added, kept = torch.zeros_like(dh[:, :, 0]), torch.ones_like(a[:, :, 0])
    for i in reversed(range(length)):
        added = (added + dh[:, :, i]).mul_(a[:, :, i])
        kept *= a[:, :, i]
    carried = torch.zeros_like(added)
    for j in reversed(range(num_chunks - 1)):
        torch.addcmul(added[:, j + 1], kept[:, j + 1], carried[:, j + 1], out=carried[:, j])
    g = torch.empty_like(dh)
    for i in reversed(range(length)):
        torch.add(dh[:, :, i], carried, out=g[:, :, i])
        torch.mul(g[:, :, i], a[:, :, i], out=carried)
    return g
