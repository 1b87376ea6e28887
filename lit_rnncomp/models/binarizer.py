"""From features to codes: 1x1 convolution, tanh, sign; or with ternary codes what is added to the residual."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import rnncomp_kernels as ops

from .cells import Convolve, convolve_now
from .config import CodecConfig
from .dct import COEFFICIENTS
from .projections import Shortcut, make_projection, start_at_zero

_SHARE = 1 / 256
"""Of a threshold, what the encoder's features add to a residual as they come: where a code is 0 that should not be, all
later ones together do not reach what is left, so that steps of learning have to be small."""


class Binarizer(nn.Module):
    """`(B, in_channels, h, w)` features to `(B, bits, h, w)` codes in {-1, +1} (Toderici et al., ICLR 2016, section
    3.2).

    In training mode with `binarize="stochastic"` a code is +1 with probability `(1 + y) / 2`, `y = tanh(conv(x))`;
    otherwise it is the sign of `y`, zero giving +1. The gradient passes straight through to `y`. The noise depends only
    on torch's global seed.

    With `codes="ternary"` a code is in {-1, 0, +1}: 0 inside (-1, 1) and the sign outside, always, and the gradient
    passes straight through.
    """

    def __init__(self, in_channels: int, config: CodecConfig) -> None:
        super().__init__()
        self.conv = make_projection(config, in_channels, config.bits)
        self.shortcut = Shortcut(config, COEFFICIENTS, config.bits) if config.shortcut else None
        self.ternary = {"binary": False, "ternary": True}[config.codes]
        if self.ternary:
            start_at_zero(self.conv)
        self.stochastic = {"stochastic": True, "sign": False}[config.binarize]

    def activation(self, features: Tensor, residual: Tensor, t: int = 0, convolve: Convolve = convolve_now) -> Tensor:
        """What iteration `t` takes the sign of; a shortcut sees the encoder's input, the scaled `residual`, itself.

        Ternary codes have the identity as shortcut.
        """
        x = self.conv(features, t, convolve)
        if self.ternary:
            return x * _SHARE + residual
        return x if self.shortcut is None else x + self.shortcut(residual, t)

    def forward(self, x: Tensor) -> Tensor:
        """Codes of an activation."""
        if self.ternary:
            # Beyond 2 the residual is out of this code's reach, whatever is added to it: nothing to be learned there.
            return ops.ternarize(x.clamp(-2, 2))
        if self.training and self.stochastic:
            # A seed that stays on the device: the host does not wait, and each replay of a CUDA graph draws another.
            return ops.binarize(x, stochastic=True, seed=torch.randint(2**31 - 1, (), device=x.device))
        return ops.binarize(x)
