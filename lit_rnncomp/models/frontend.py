"""The fixed transform around the recurrent layers: none, or an 8x8 DCT of decorrelated colours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import CodecConfig, assert_never
from .dct import BLOCK, COEFFICIENTS, block_basis, coefficient_deviations


class Frontend(nn.Module):
    """No transform: pixels are what the network sees. `analysis` and `synthesis` are linear and inverse to each
    other."""

    channels = 3
    stride = 1

    def analysis(self, image: Tensor) -> Tensor:
        return image

    def synthesis(self, coefficients: Tensor) -> Tensor:
        return coefficients


class BlockDCT(Frontend):
    """RGB to 192 coefficients at 1/8 resolution and back: colour rotation, 8x8 DCT-II, each coefficient over its
    deviation.

    Both the colour rotation (luma, blue-red, green-magenta) and the DCT are orthonormal, so an error in pixels weighs
    what it weighs in coefficients times `scale`. Channel `64 p + 8 u + v` is colour plane `p`, vertical frequency `u`,
    horizontal frequency `v`.
    """

    channels = COEFFICIENTS
    stride = BLOCK
    forward_matrix: Tensor
    inverse_matrix: Tensor

    def __init__(self) -> None:
        super().__init__()
        basis, scale = torch.tensor(block_basis()), torch.tensor(coefficient_deviations())
        # Constants of the architecture: they travel with the code, not with the weights.
        self.register_buffer("forward_matrix", (basis / scale[:, None]).float()[:, :, None, None], persistent=False)
        self.register_buffer("inverse_matrix", (basis.T * scale[None]).float()[:, :, None, None], persistent=False)

    def analysis(self, image: Tensor) -> Tensor:
        """`(B, 3, H, W)` to `(B, 192, H / 8, W / 8)`."""
        return F.conv2d(F.pixel_unshuffle(image, BLOCK), self.forward_matrix)

    def synthesis(self, coefficients: Tensor) -> Tensor:
        """The inverse of `analysis`."""
        return F.pixel_shuffle(F.conv2d(coefficients, self.inverse_matrix), BLOCK)


def make_frontend(config: CodecConfig) -> Frontend:
    """The transform named in `config`."""
    if config.frontend == "conv":
        return Frontend()
    if config.frontend == "dct":
        return BlockDCT()
    assert_never(config.frontend)
