"""The fixed transform around the recurrent layers: none, or an 8x8 DCT of decorrelated colours."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK = 8
COEFFICIENTS = 3 * BLOCK * BLOCK


class Frontend(nn.Module):
    """No transform: pixels are what the network sees. `analysis` and `synthesis` are linear and inverse to each other."""

    channels = 3
    stride = 1

    def analysis(self, image: Tensor) -> Tensor:
        return image

    def synthesis(self, coefficients: Tensor) -> Tensor:
        return coefficients


class BlockDCT(Frontend):
    """RGB to 192 coefficients at 1/8 resolution and back: colour rotation, 8x8 DCT-II, each coefficient over its deviation.

    Both the colour rotation (luma, blue-red, green-magenta) and the DCT are orthonormal, so an error in pixels weighs what it weighs
    in coefficients times `scale`. Channel `64 p + 8 u + v` is colour plane `p`, vertical frequency `u`, horizontal frequency `v`.
    """

    channels = COEFFICIENTS
    stride = BLOCK
    scale: Tensor
    basis: Tensor

    def __init__(self) -> None:
        super().__init__()
        colour = torch.tensor([[1.0, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=torch.float64)
        colour = colour / colour.norm(dim=1, keepdim=True)
        position = torch.arange(BLOCK, dtype=torch.float64)
        dct = torch.cos(math.pi / BLOCK * position[:, None] * (position[None] + 0.5)) * math.sqrt(2 / BLOCK)
        dct[0] /= math.sqrt(2)
        basis = torch.kron(colour, torch.kron(dct, dct)).float()
        self.register_buffer("basis", basis, persistent=False)
        self.register_buffer("scale", torch.ones(COEFFICIENTS))

    @torch.no_grad()
    def fit_scale(self, images: Iterable[Tensor]) -> None:
        """Set `scale` to each coefficient's root mean square over `images` (`(B, 3, H, W)` in [-1, 1]), plus 0.02."""
        total, count = torch.zeros(COEFFICIENTS, dtype=torch.float64), 0
        for image in images:
            coefficients = F.conv2d(F.pixel_unshuffle(image, BLOCK), self.basis[:, :, None, None])
            total += coefficients.double().square().sum((0, 2, 3)).cpu()
            count += coefficients.numel() // COEFFICIENTS
        self.scale.copy_((total / max(count, 1)).sqrt() + 0.02)

    def analysis(self, image: Tensor) -> Tensor:
        """`(B, 3, H, W)` to `(B, 192, H / 8, W / 8)`."""
        matrix = self.basis / self.scale[:, None]
        return F.conv2d(F.pixel_unshuffle(image, BLOCK), matrix[:, :, None, None])

    def synthesis(self, coefficients: Tensor) -> Tensor:
        """The inverse of `analysis`."""
        matrix = self.basis.T * self.scale[None]
        return F.pixel_shuffle(F.conv2d(coefficients, matrix[:, :, None, None]), BLOCK)
