"""The gates of one layer's step in plain PyTorch, with the backward pass by hand: what `layer_step.py` runs on a CPU.

Activations are kept, not what they were made of, so nothing is computed twice and less is held than autograd holds. All
tensors are `(B, channels, H, W)`; the formulas are those of `reference.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .reference import LSTMUpdate, ResidualGRUUpdate

Gradient = Tensor | None
Kept = tuple[Tensor | None, ...]
Alphas = tuple[float, float] | None  # alpha_h and alpha_x of a residual GRU; None of a GRU

_sigmoid_slope = torch.ops.aten.sigmoid_backward.grad_input
_tanh_slope = torch.ops.aten.tanh_backward.grad_input


def lstm_forward(gates: Tensor, c: Tensor | None, hidden_gates: Tensor | None) -> tuple[LSTMUpdate, Kept]:
    """Keeps s(f), s(i) and s(o) in one tensor, tanh(j), tanh(c') and c."""
    total = gates if hidden_gates is None else gates + hidden_gates
    channels = total.shape[1] // 4
    opened, j = torch.sigmoid(total[:, : 3 * channels]), torch.tanh(total[:, 3 * channels :])
    f, i, o = opened.split(channels, 1)
    new_c = i * j
    if c is not None:
        new_c.addcmul_(f, c)
    t = torch.tanh(new_c)
    return LSTMUpdate(o * t, new_c), (opened, j, t, c)


def lstm_backward(kept: Kept, grad_h: Gradient, grad_c: Gradient, into: Tensor) -> Gradient:
    """Writes the gradient of the gates' sum; returns that of c."""
    opened, j, t, c = kept
    assert opened is not None and j is not None and t is not None
    f, i, o = opened.split(j.shape[1], 1)
    d_f, d_i, d_o, d_j = into.split(j.shape[1], 1)
    if grad_h is None:
        d_o.zero_()
        d_c = torch.zeros_like(t)
    else:
        _sigmoid_slope(grad_h * t, o, grad_input=d_o)
        d_c = torch.ops.aten.tanh_backward(grad_h * o, t)
    if grad_c is not None:
        d_c += grad_c
    _sigmoid_slope(d_c * j, i, grad_input=d_i)
    _tanh_slope(d_c * i, j, grad_input=d_j)
    if c is None:
        d_f.zero_()
        return None
    _sigmoid_slope(d_c * c, f, grad_input=d_f)
    return d_c.mul_(f)


def gru_reset_forward(gates: Tensor, hidden_gates: Tensor, h: Tensor) -> tuple[Tensor, Kept]:
    """Keeps s(r) and h."""
    channels = h.shape[1]
    r = gates[:, channels : 2 * channels] + hidden_gates[:, channels : 2 * channels]
    r = r.sigmoid_()
    return r * h, (r, h, None)


def gru_reset_backward(kept: Kept, grad: Tensor, gates: Tensor, hidden_gates: Tensor, h: Tensor) -> None:
    """Writes the blocks of r into the gradients of both convolutions' outputs, and adds to that of the state."""
    r, old, _ = kept
    assert r is not None and old is not None
    here = slice(r.shape[1], 2 * r.shape[1])
    _sigmoid_slope(grad * old, r, grad_input=gates[:, here])
    hidden_gates[:, here] = gates[:, here]
    h.addcmul_(grad, r)


def gru_update_forward(
    alphas: Alphas, gates: Tensor, hidden_gates: Tensor | None, candidate: Tensor | None, h: Tensor | None
) -> tuple[ResidualGRUUpdate, Kept]:
    """Keeps s(z), tanh(n) and h. A GRU's two results are one tensor."""
    channels = gates.shape[1] // (4 if alphas else 3)
    z, n = gates[:, :channels], gates[:, 2 * channels : 3 * channels]
    if hidden_gates is None or candidate is None or h is None:
        z, n = torch.sigmoid(z), torch.tanh(n)
        new = z * n
    else:
        z, n = (z + hidden_gates[:, :channels]).sigmoid_(), (n + candidate).tanh_()
        new = torch.lerp(h, n, z)
        if alphas:
            new.add_(hidden_gates[:, 2 * channels :], alpha=alphas[0])
    out = torch.add(new, gates[:, 3 * channels :], alpha=alphas[1]) if alphas else new
    return ResidualGRUUpdate(new, out), (z, n, h, None)


def gru_update_backward(
    alphas: Alphas,
    kept: Kept,
    grad_h: Gradient,
    grad_out: Gradient,
    gates: Tensor,
    hidden: Gradient,
    candidate: Gradient,
) -> Gradient:
    """Writes the gradients of gates, hidden gates and candidate, with a state all but the blocks of r; returns that of
    the state."""
    z, n, h, _ = kept
    assert z is not None and n is not None
    channels = z.shape[1]
    d = grad_out if grad_h is None else grad_h if grad_out is None else grad_h + grad_out
    assert d is not None
    d_z, d_r, d_n, *d_skip = gates.split(channels, 1)
    if alphas:
        d_skip[0].zero_() if grad_out is None else torch.mul(grad_out, alphas[1], out=d_skip[0])
    through = d * z
    _tanh_slope(through, n, grad_input=d_n)
    if h is None or hidden is None or candidate is None:
        _sigmoid_slope(d * n, z, grad_input=d_z)
        d_r.zero_()
        return None
    _sigmoid_slope((n - h).mul_(d), z, grad_input=d_z)
    candidate.copy_(d_n)
    hidden[:, :channels] = d_z
    if alphas:
        torch.mul(d, alphas[0], out=hidden[:, 2 * channels :])
    return d - through
