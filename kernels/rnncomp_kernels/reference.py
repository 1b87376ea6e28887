"""The definition of every op in plain PyTorch.

This file is the mathematics: the oracle of the tests, the path taken on a CPU and the path taken where Triton is absent. Every
tensor is `(B, channels, H, W)`; a state of `None` is a state of zeros. Sources: Toderici et al., CVPR 2017, section 2.1 (units),
section 2.2 (reconstruction); Toderici et al., ICLR 2016, section 3.2 (binarizer).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class LSTMUpdate(NamedTuple):
    """New hidden state (also the layer's output) and new cell, both `(B, C, H, W)`."""

    h: Tensor
    c: Tensor


class ResidualGRUUpdate(NamedTuple):
    """New state `h` (what recurs) and layer output `out` (what the next layer sees), both `(B, C, H, W)`."""

    h: Tensor
    out: Tensor


class ResidualStep(NamedTuple):
    """`reconstruction`, the next `residual` and the scalar sum `l1` of the residual's absolute values."""

    reconstruction: Tensor
    residual: Tensor
    l1: Tensor


def lstm_update(gates: Tensor, c: Tensor | None = None, hidden_gates: Tensor | None = None) -> LSTMUpdate:
    """`c' = s(f) c + s(i) tanh(j)`, `h = s(o) tanh(c')`; `gates` `(B, 4C, H, W)` in the order f, i, o, j (eqs 4-6)."""
    if hidden_gates is not None:
        gates = gates + hidden_gates
    channels = gates.shape[1] // 4
    f, i, o, j = gates.split(channels, dim=1)
    new_c = torch.sigmoid(i) * torch.tanh(j)
    if c is not None:
        new_c = torch.addcmul(new_c, torch.sigmoid(f), c)
    return LSTMUpdate(torch.sigmoid(o) * torch.tanh(new_c), new_c)


def complex_bound(re: Tensor, im: Tensor) -> tuple[Tensor, Tensor]:
    """`z / max(1, |z|)` for `z = re + i im`: the bounding function of the associative LSTM."""
    scale = (re * re + im * im).clamp_min(1).rsqrt()
    return re * scale, im * scale


def associative_lstm_update(gates: Tensor, c: Tensor | None = None, hidden_gates: Tensor | None = None) -> LSTMUpdate:
    """Eqs 7-10. `gates` `(B, 9K, H, W)`, K complex units: f, i, o (K each), then j, r_i, r_o as re | im (2K each).

    `c` and `h` are `(B, 2K, H, W)`, re | im. One gate multiplies the real and the imaginary part alike.
    """
    if hidden_gates is not None:
        gates = gates + hidden_gates
    f, i, o, j_re, j_im, ri_re, ri_im, ro_re, ro_im = gates.split(gates.shape[1] // 9, dim=1)
    j_re, j_im = complex_bound(j_re, j_im)
    ri_re, ri_im = complex_bound(ri_re, ri_im)
    ro_re, ro_im = complex_bound(ro_re, ro_im)
    write = torch.sigmoid(i)
    c_re = write * (ri_re * j_re - ri_im * j_im)
    c_im = write * (ri_re * j_im + ri_im * j_re)
    if c is not None:
        keep = torch.sigmoid(f)
        old_re, old_im = c.split(c.shape[1] // 2, dim=1)
        c_re = c_re + keep * old_re
        c_im = c_im + keep * old_im
    h_re, h_im = complex_bound(ro_re * c_re - ro_im * c_im, ro_re * c_im + ro_im * c_re)
    read = torch.sigmoid(o)
    return LSTMUpdate(torch.cat((read * h_re, read * h_im), 1), torch.cat((c_re, c_im), 1))


def gru_reset(gates: Tensor, hidden_gates: Tensor, h: Tensor) -> Tensor:
    """`s(r) h`: what the candidate's hidden convolution reads (eq 13).

    `gates` holds z, r in its first 2C channels (input convolution), `hidden_gates` likewise (hidden convolution); `h` is `(B, C, H, W)`.
    """
    channels = h.shape[1]
    return torch.sigmoid(gates[:, channels : 2 * channels] + hidden_gates[:, channels : 2 * channels]) * h


def gru_update(
    gates: Tensor, hidden_gates: Tensor | None = None, hidden_candidate: Tensor | None = None, h: Tensor | None = None
) -> Tensor:
    """`h' = (1 - s(z)) h + s(z) tanh(n)` (eq 12).

    `gates` `(B, 3C, H, W)`: z, r, n of the input convolution; `hidden_gates` `(B, 2C, H, W)`: z, r of the hidden convolution;
    `hidden_candidate` `(B, C, H, W)`: the hidden convolution of `gru_reset`. The last three are given together or not at all.
    """
    return _blend(gates, gates.shape[1] // 3, hidden_gates, hidden_candidate, h)


def residual_gru_update(
    gates: Tensor,
    hidden_gates: Tensor | None = None,
    hidden_candidate: Tensor | None = None,
    h: Tensor | None = None,
    alpha_h: float = 0.1,
    alpha_x: float = 0.1,
) -> ResidualGRUUpdate:
    """Eqs 14-15: the GRU update, `h' += alpha_h W_h h`, `out = h' + alpha_x W_ox x`.

    `gates` `(B, 4C, H, W)`: z, r, n and `W_ox x` of the input convolution; `hidden_gates` `(B, 3C, H, W)`: z, r and `W_h h` of the
    hidden convolution; `hidden_candidate` and `h` as in `gru_update`.
    """
    channels = gates.shape[1] // 4
    new_h = _blend(gates, channels, hidden_gates, hidden_candidate, h)
    if hidden_gates is not None:
        new_h = torch.add(new_h, hidden_gates[:, 2 * channels :], alpha=alpha_h)
    return ResidualGRUUpdate(new_h, torch.add(new_h, gates[:, 3 * channels :], alpha=alpha_x))


def _blend(gates: Tensor, channels: int, hidden_gates: Tensor | None, hidden_candidate: Tensor | None, h: Tensor | None) -> Tensor:
    z, n = gates[:, :channels], gates[:, 2 * channels : 3 * channels]
    if h is None or hidden_gates is None or hidden_candidate is None:
        return torch.sigmoid(z) * torch.tanh(n)
    return torch.lerp(h, torch.tanh(n + hidden_candidate), torch.sigmoid(z + hidden_gates[:, :channels]))


class _StraightThroughSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y: Tensor, threshold: Tensor | None) -> Tensor:  # type: ignore[no-untyped-def]
        positive = y >= 0 if threshold is None else y > threshold
        return torch.where(positive, 1.0, -1.0).to(y.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        return grad, None


def binarize(x: Tensor, stochastic: bool = False, seed: int | None = None) -> Tensor:
    """Codes in {-1, +1} from pre-activations `x`; the gradient passes straight through to `y = tanh(x)`.

    Stochastic: +1 with probability `(1 + y) / 2`, so the mean is `y`; the noise is a function of `seed` and the element's index.
    Otherwise the sign, where zero maps to +1.
    """
    y = torch.tanh(x)
    if not stochastic:
        return _StraightThroughSign.apply(y, None)
    generator = torch.Generator().manual_seed(0 if seed is None else seed)
    threshold = torch.rand(x.shape, generator=generator).mul_(2).sub_(1).to(x.device, x.dtype)
    return _StraightThroughSign.apply(y, threshold)


def residual_step(image: Tensor, output: Tensor, previous: Tensor | None = None, gain: Tensor | None = None) -> ResidualStep:
    """`reconstruction = output / gain + previous`, `residual = image - reconstruction`, and the residual's L1 sum (eqs 1-3, 16-19).

    One-shot: no `previous`. Additive: the reconstruction before as `previous`. Residual scaling: its `gain` too, broadcastable to `image`.
    """
    reconstruction = output if gain is None else output / gain
    if previous is not None:
        reconstruction = reconstruction + previous
    residual = image - reconstruction
    return ResidualStep(reconstruction, residual, residual.abs().sum())
