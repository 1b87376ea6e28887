"""A whole ConvGRU layer with residual connections in two kernels (paper, equations 14-15), for inference.

The kernels are those of `conv_gru_step` with what the unit adds. `W_ox x` is the fourth lane of the first kernel's
accumulator, which a GRU leaves empty; the kernel writes it as a fourth tensor beside s(z), `s(r) h` and n. `W_h h` is a
second accumulator of the second kernel. In units of C, beside x: the two kernels write 4 + 2 and read 1 + 5; three
convolutions, `gru_reset` and `residual_gru_update` write 4 + 3 + 1 + 1 + 2 and read 1 + 3 + 1 + 7. Without a state the
first kernel alone suffices, and writes 2.

Why `W_h h` isn't the first kernel's: h' needs it apart from what is within tanh, so it would be written and read again,
or `(1 - s(z)) h + alpha_h W_h h` in place of h: one more written. There the accumulator of four gates already fills the
registers; the second kernel's is a quarter of it, and h is read there in any case.

Limits: those of `conv_lstm_step`. Training takes the unfused path, as in `conv_gru_step`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._convolve import Geometry, empty_last
from ._launch import DEVICE_TYPES, needs_grad
from .conv_gru_step import check_layer, launch_layer, library_layer
from .conv_lstm_step import takes_layer
from .reference import ResidualGRUUpdate
from .residual_gru_update import residual_gru_update


def _launch_forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    hidden_weight: Tensor,
    candidate_weight: Tensor,
    h: Tensor | None,
    stride: int,
    alpha_h: float,
    alpha_x: float,
) -> tuple[Tensor, Tensor]:
    return launch_layer(x, weight, bias, hidden_weight, candidate_weight, h, stride, (alpha_h, alpha_x))


@torch.library.custom_op("rnncomp::conv_residual_gru_step", mutates_args=(), device_types=DEVICE_TYPES)
def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    hidden_weight: Tensor,
    candidate_weight: Tensor,
    h: Tensor | None,
    stride: int,
    alpha_h: float,
    alpha_x: float,
) -> tuple[Tensor, Tensor]:
    return _launch_forward(x, weight, bias, hidden_weight, candidate_weight, h, stride, alpha_h, alpha_x)


@_forward.register_fake
def _(x: Tensor, weight: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    g, channels = Geometry.of(x, others[4]), weight.shape[0] // 4
    return empty_last(x, channels, g), empty_last(x, channels, g)


def conv_residual_gru_step(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    hidden_weight: Tensor,
    candidate_weight: Tensor,
    h: Tensor | None = None,
    stride: int = 1,
    alpha_h: float = 0.1,
    alpha_x: float = 0.1,
) -> ResidualGRUUpdate:
    """One step of a residual ConvGRU layer: new state and output, `(B, C, ceil(H / stride), ceil(W / stride))`.

    `x`: `(B, in, H, W)`; `weight`: `(4C, in, k, k)`, odd k, filters of z, r, n and `W_ox`; `bias`: `(4C,)` or None;
    `hidden_weight`: `(3C, C, k', k')`, filters of z, r and `W_h`; `candidate_weight`: `(C, C, k', k')`, on the reset
    state; `h`: the state, None is zero. Padding is `(k - 1) / 2` zeros on each side. Raises `ValueError` when shapes,
    dtypes or devices do not fit.
    """
    channels = check_layer("conv_residual_gru_step", x, weight, bias, hidden_weight, candidate_weight, h, stride, 4, 3)
    layer = x, weight, bias, hidden_weight, candidate_weight, h
    if takes_layer(x, weight, hidden_weight, channels, stride) and not needs_grad(*layer):
        return ResidualGRUUpdate(*_forward(*layer, stride, alpha_h, alpha_x))
    return residual_gru_update(*library_layer(*layer, stride), alpha_h, alpha_x)
