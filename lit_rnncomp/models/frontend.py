"""The fixed transform around the recurrent layers: none, or an 8x8 DCT of decorrelated colours."""

from __future__ import annotations

import math

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


# Deviation of each plane's coefficients over photographs in [-1, 1]: the mean's, then `a * (u^2 + v^2) ** -c`. The law fits the
# measured deviations within 20 % on average; it only has to bring the network's inputs to similar sizes.
_DEVIATIONS = ((7.1, 1.20, 0.68), (3.1, 0.42, 0.76), (1.3, 0.18, 0.67))
_FLOOR = 0.02


def coefficient_deviations() -> Tensor:
    """The typical size of each of the 192 coefficients, for pictures in [-1, 1]; what `BlockDCT` divides by. `(192,)` float64."""
    position = torch.arange(BLOCK, dtype=torch.float64)
    squared = (position[:, None] ** 2 + position[None] ** 2).flatten()
    return torch.cat([torch.cat((torch.tensor([mean]), a * squared[1:] ** -c)) for mean, a, c in _DEVIATIONS]) + _FLOOR


class BlockDCT(Frontend):
    """RGB to 192 coefficients at 1/8 resolution and back: colour rotation, 8x8 DCT-II, each coefficient over its deviation.

    Both the colour rotation (luma, blue-red, green-magenta) and the DCT are orthonormal, so an error in pixels weighs what it weighs
    in coefficients times `scale`. Channel `64 p + 8 u + v` is colour plane `p`, vertical frequency `u`, horizontal frequency `v`.
    """

    channels = COEFFICIENTS
    stride = BLOCK
    forward_matrix: Tensor
    inverse_matrix: Tensor

    def __init__(self) -> None:
        super().__init__()
        colour = torch.tensor([[1.0, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=torch.float64)
        colour = colour / colour.norm(dim=1, keepdim=True)
        position = torch.arange(BLOCK, dtype=torch.float64)
        dct = torch.cos(math.pi / BLOCK * position[:, None] * (position[None] + 0.5)) * math.sqrt(2 / BLOCK)
        dct[0] /= math.sqrt(2)
        basis = torch.kron(colour, torch.kron(dct, dct))
        scale = coefficient_deviations()
        # Constants of the architecture: they travel with the code, not with the weights.
        self.register_buffer("forward_matrix", (basis / scale[:, None]).float()[:, :, None, None], persistent=False)
        self.register_buffer("inverse_matrix", (basis.T * scale[None]).float()[:, :, None, None], persistent=False)

    def analysis(self, image: Tensor) -> Tensor:
        """`(B, 3, H, W)` to `(B, 192, H / 8, W / 8)`."""
        return F.conv2d(F.pixel_unshuffle(image, BLOCK), self.forward_matrix)

    def synthesis(self, coefficients: Tensor) -> Tensor:
        """The inverse of `analysis`."""
        return F.pixel_shuffle(F.conv2d(coefficients, self.inverse_matrix), BLOCK)
