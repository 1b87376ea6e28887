"""From features to bits: 1x1 convolution, tanh, sign."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import rnncomp_kernels as ops

from .cells import PaddedConv2d
from .config import Binarize


class Binarizer(nn.Module):
    """`(B, in_channels, h, w)` features to `(B, bits, h, w)` codes in {-1, +1} (Toderici et al., ICLR 2016, section 3.2).

    In training mode with `binarize="stochastic"` a code is +1 with probability `(1 + y) / 2`, `y = tanh(conv(x))`; otherwise it is
    the sign of `y`, zero giving +1. The gradient passes straight through to `y`. The noise depends only on torch's global seed.
    """

    def __init__(self, in_channels: int, bits: int, binarize: Binarize = "stochastic") -> None:
        super().__init__()
        self.conv = PaddedConv2d(in_channels, bits, 1)
        self.stochastic = binarize == "stochastic"

    def forward(self, features: Tensor) -> Tensor:
        x = self.conv(features)
        if self.training and self.stochastic:
            # A seed that stays on the device: the host does not wait, and each replay of a CUDA graph draws another.
            return ops.binarize(x, stochastic=True, seed=torch.randint(2**31 - 1, (), device=x.device))
        return ops.binarize(x)
