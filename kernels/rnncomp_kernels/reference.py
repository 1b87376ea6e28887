"""The definition of every op in plain PyTorch.

This file is the mathematics: the oracle of the tests, the path taken on a CPU and the path taken where Triton is
absent. Every tensor is `(B, channels, H, W)`; a state of `None` is a state of zeros. Sources: Toderici et al., CVPR
2017, section 2.1 (units); Toderici et al., ICLR 2016, section 3.2 (binarizer).
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
    if re.dtype == torch.float16:  # whose squares overflow beyond 256
        wide_re, wide_im = re.float(), im.float()
        scale = (wide_re * wide_re + wide_im * wide_im).clamp_min(1).rsqrt()
        return (wide_re * scale).half(), (wide_im * scale).half()
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

    `gates` holds z, r in its first 2C channels (input convolution), `hidden_gates` likewise (hidden convolution); `h`
    is `(B, C, H, W)`.
    """
    channels = h.shape[1]
    return torch.sigmoid(gates[:, channels : 2 * channels] + hidden_gates[:, channels : 2 * channels]) * h


def gru_update(
    gates: Tensor, hidden_gates: Tensor | None = None, hidden_candidate: Tensor | None = None, h: Tensor | None = None
) -> Tensor:
    """`h' = (1 - s(z)) h + s(z) tanh(n)` (eq 12).

    `gates` `(B, 3C, H, W)`: z, r, n of the input convolution; `hidden_gates` `(B, 2C, H, W)`: z, r of the hidden
    convolution; `hidden_candidate` `(B, C, H, W)`: the hidden convolution of `gru_reset`. The last three are given
    together or not at all.
    """
    z, _, n = gates.split(gates.shape[1] // 3, dim=1)
    if hidden_gates is None or hidden_candidate is None or h is None:
        return torch.sigmoid(z) * torch.tanh(n)
    return torch.lerp(h, torch.tanh(n + hidden_candidate), torch.sigmoid(z + hidden_gates[:, : h.shape[1]]))


def residual_gru_update(
    gates: Tensor,
    hidden_gates: Tensor | None = None,
    hidden_candidate: Tensor | None = None,
    h: Tensor | None = None,
    alpha_h: float = 0.1,
    alpha_x: float = 0.1,
) -> ResidualGRUUpdate:
    """Eqs 14-15: the GRU update, `h' += alpha_h W_h h`, `out = h' + alpha_x W_ox x`.

    `gates` `(B, 4C, H, W)`: z, r, n and `W_ox x` of the input convolution; `hidden_gates` `(B, 3C, H, W)`: z, r and
    `W_h h` of the hidden convolution; `hidden_candidate` and `h` as in `gru_update`.
    """
    # `split`, not slices: the backward of n slices writes n tensors of the size of all gates, most of it zeros, and
    # adds them.
    z, _, n, skip = gates.split(gates.shape[1] // 4, dim=1)
    if hidden_gates is None or hidden_candidate is None or h is None:
        new_h = torch.sigmoid(z) * torch.tanh(n)
    else:
        hidden_z, _, hidden_skip = hidden_gates.split(h.shape[1], dim=1)
        new_h = torch.lerp(h, torch.tanh(n + hidden_candidate), torch.sigmoid(z + hidden_z))
        new_h = torch.add(new_h, hidden_skip, alpha=alpha_h)
    return ResidualGRUUpdate(new_h, torch.add(new_h, skip, alpha=alpha_x))


class _StraightThroughSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y: Tensor, threshold: Tensor | None) -> Tensor:  # type: ignore[no-untyped-def]
        positive = y >= 0 if threshold is None else y > threshold
        return torch.where(positive, 1.0, -1.0).to(y.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        return grad, None


_LOW = 0xFFFFFFFF


def philox(counter: Tensor, seed: int | Tensor) -> Tensor:
    """Philox4x32-10 (Salmon et al., SC 2011): four 32-bit words `(n, 4)` int64 for each `counter` `(n,)` int64 below
    2^32.

    The 64 bits of `seed` are the key. What Triton's `tl.philox(seed, counter, 0, 0, 0)` computes, bit for bit.
    """
    multipliers, steps = torch.tensor([[0xD2511F53, 0xCD9E8D57], [0x9E3779B9, 0xBB67AE85]], device=counter.device).view(
        2, 2, 1
    )
    key = (
        torch.stack((torch.as_tensor(seed & _LOW), torch.as_tensor((seed >> 32) & _LOW))).to(counter.device).view(2, 1)
    )
    keys = (key + steps * torch.arange(10, device=counter.device)) & _LOW
    evens = torch.stack((counter, torch.zeros_like(counter)))  # words 0 and 2
    odds = torch.zeros_like(evens)  # words 1 and 3
    for key in keys.split(1, dim=1):
        products = multipliers * evens  # wraps beyond 2^63: the 64 bits are right, the sign is not
        # word 0 comes of the product of word 2 and the other way about; so do words 1 and 3
        evens = ((products >> 32) & _LOW).flip(0) ^ odds ^ key
        odds = (products & _LOW).flip(0)
    return torch.stack((evens[0], odds[0], evens[1], odds[1]), dim=1)


def uniform(numel: int, seed: int | Tensor, device: torch.device) -> Tensor:
    """`numel` float32 numbers in [0, 1), a function of `seed` and of each one's index alone.

    Number `i` is word `i % 4` of Philox at counter `i // 4`, of which 31 bits are used, as in Triton's `tl.rand`.
    """
    words = philox(torch.arange((numel + 3) // 4, device=device), seed).view(-1)[:numel]
    return torch.where(words >= 1 << 31, _LOW - words, words).float() * 4.6566127342e-10


def binarize(x: Tensor, stochastic: bool = False, seed: int | Tensor | None = None) -> Tensor:
    """Codes in {-1, +1} from pre-activations `x`; the gradient passes straight through to `y = tanh(x)`.

    Stochastic: +1 with probability `(1 + y) / 2`, so the mean is `y`; the noise is a function of `seed` and the
    element's index. Otherwise the sign, where zero maps to +1.
    """
    y = torch.tanh(x)
    if not stochastic:
        return _StraightThroughSign.apply(y, None)
    noise = uniform(x.numel(), 0 if seed is None else seed, x.device).view(x.shape)
    return _StraightThroughSign.apply(y, noise * 2 - 1)


class _StraightThroughTernary(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        return torch.where(x.abs() >= 1, x.sign(), 0)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        return grad


def ternarize(x: Tensor) -> Tensor:
    """Codes in {-1, 0, +1}: the sign of `x` where `|x| >= 1`, 0 where not; the gradient passes straight through to
    `x`."""
    codes: Tensor = _StraightThroughTernary.apply(x)
    return codes
