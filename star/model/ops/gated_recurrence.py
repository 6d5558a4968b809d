"""Gated linear recurrence of Griffin (RG-LRU), elementwise in the channels.

    a_t = exp(-8 softplus(rate) sigmoid(r_t)),   h_t = a_t h_{t-1} + sqrt(1 - a_t^2) sigmoid(i_t) v_t

De et al. 2024, arXiv:2402.19427. The factor sqrt(1 - a^2) keeps the size of h whatever is forgotten. A token with
none before it has nothing to keep: its a is zero and its factor one, as in the authors' code.
"""

import torch
import torch.nn.functional as F

from star.model.ops.scan import scan_backward, scan_forward
from star.model.ops.shapes import BD, BTD, D

RATE_SCALE = 8.0  # the constant of the equation


def gated_recurrence(v: BTD, input_gate: BTD, recurrence_gate: BTD, rate: D, start: BD | None) -> tuple[BTD, BD]:
    """Return all states h, of the type of v, and the last, of single precision at least.

    Args:
        v: values.
        input_gate, recurrence_gate: i and r, before their sigmoids.
        rate: how fast a channel forgets, before its softplus.
        start: the state before the first token, or None where no token came before: that is not a state of zeros.
    """
    precise = torch.promote_types(v.dtype, torch.float32)
    u = input_gate.to(precise).sigmoid() * v
    log_a = -RATE_SCALE * F.softplus(rate.to(precise)) * recurrence_gate.to(precise).sigmoid()
    a = log_a.exp()
    # 1 - a^2 without cancellation. Its root is steep at zero, but log a there vanishes faster in every gradient; the
    # bound matters only where log a underflows, and makes zero of what would be zero times infinity.
    rest = (-torch.expm1(2 * log_a)).clamp(min=torch.finfo(precise).tiny)
    if start is None:
        a, rest = (F.pad(x[:, 1:], (0, 0, 1, 0), value=first) for x, first in ((a, 0.0), (rest, 1.0)))
        start = torch.zeros_like(u[:, 0])
    h, last = linear_recurrence(a, rest.sqrt() * u, start.to(precise))
    return h.to(v.dtype), last


def linear_recurrence(a: BTD, b: BTD, start: BD) -> tuple[BTD, BD]:
    """Return all states of h_t = a_t h_{t-1} + b_t, and the last."""
    return LinearRecurrence.apply(a, b, start)


class LinearRecurrence(torch.autograd.Function):
    """Linear recurrence with a custom gradient. With g the gradient of h, found by the backward recurrence: da_t = g_t
    h_{t-1}, db = g, dstart = a_1 g_1.
    """

    @staticmethod
    def forward(ctx, a, b, start):
        h = scan_forward(a, b, start)
        ctx.save_for_backward(a, h, start)
        return h, h[:, -1].clone()

    @staticmethod
    def backward(ctx, dh, dlast):
        a, h, start = ctx.saved_tensors
        dh = dh.clone()
        dh[:, -1] += dlast
        g = scan_backward(a, dh)
        before = torch.cat((start[:, None], h[:, :-1]), dim=1)
        return g * before, g, a[:, 0] * g[:, 0]
