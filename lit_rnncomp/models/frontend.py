"""The fixed transform around the recurrent layers: none, an 8x8 DCT of decorrelated colours, or a lapped one."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import dc_stage, lapped
from .config import CodecConfig, assert_never
from .dct import BLOCK, COEFFICIENTS, block_basis, coefficient_deviations
from .place import spread


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
        basis, scale = block_basis(), coefficient_deviations()
        forward, inverse = torch.tensor(basis / scale[:, None]), torch.tensor(basis.T * scale[None])
        # Constants of the architecture: they travel with the code, not with the weights.
        self.register_buffer("forward_matrix", forward.float()[:, :, None, None], persistent=False)
        self.register_buffer("inverse_matrix", inverse.float()[:, :, None, None], persistent=False)

    def analysis(self, image: Tensor) -> Tensor:
        """`(B, 3, H, W)` to `(B, 192, H / 8, W / 8)`."""
        return _exact_conv2d(F.pixel_unshuffle(image, BLOCK), self.forward_matrix)

    def synthesis(self, coefficients: Tensor) -> Tensor:
        """The inverse of `analysis`."""
        return F.pixel_shuffle(_exact_conv2d(coefficients, self.inverse_matrix), BLOCK)


class LappedDCT(Frontend):
    """The transform of `lapped`, whose coefficients are on the 0..255 scale, for pictures in [-1, 1].

    Args:
        tune: multiply coefficients by `lapped.coefficient_weights` of this one of `lapped.TUNES`; None: by nothing.
        size: pixels a side of the transform's blocks, 8 or 16; those of 16 may be split into four.
    """

    channels = lapped.COEFFICIENTS
    stride = lapped.BLOCK
    butterfly: Tensor
    forward_matrix: Tensor
    inverse_matrix: Tensor
    forward_split: Tensor
    inverse_split: Tensor

    def __init__(self, tune: str | None = None, size: int = lapped.BLOCK) -> None:
        super().__init__()
        self.size, self.parts = size, lapped.parts_of(size)
        weights = np.ones(lapped.COEFFICIENTS)
        if tune is not None:
            weights = lapped.coefficient_weights(size=size)[lapped.TUNES.index(tune)]
        # Blocks of 8x8 within one of the transform last, as in `pixel_shuffle`.
        count = self.parts**2
        order = np.arange(count * lapped.COEFFICIENTS).reshape(count, -1).T.ravel()
        weights = np.repeat(weights, count)
        self.register_buffer("butterfly", torch.tensor(lapped.butterfly()).float(), persistent=False)
        for name, split in {"matrix": False, **({"split": True} if self.parts > 1 else {})}.items():
            forward = torch.tensor(lapped.block_basis(size, split)[order] * (127.5 * weights[:, None]))
            inverse = torch.tensor(lapped.inverse_basis(size, split)[:, order] / (127.5 * weights[None]))
            self.register_buffer(f"forward_{name}", forward.float()[:, :, None, None], persistent=False)
            self.register_buffer(f"inverse_{name}", inverse.float()[:, :, None, None], persistent=False)

    def analysis(self, image: Tensor, split: Tensor | None = None) -> Tensor:
        """`(B, 3, H, W)` to `(B, 192, H / 8, W / 8)`; `split`: which blocks of 16x16 are, `(B, H / 16, W / 16)`."""
        if split is None:
            return self._transformed(image, self.forward_matrix)[0]
        whole, quarters = self.both(image)
        return torch.where(spread(split)[:, None], quarters, whole)

    def both(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients of whole blocks of 16x16, and those of split ones."""
        whole, quarters = self._transformed(image, self.forward_matrix, self.forward_split)
        return whole, quarters

    def _transformed(self, image: Tensor, *matrices: Tensor) -> list[Tensor]:
        blocks = F.pixel_unshuffle(_lapped(image, self.butterfly, self.size), self.size)
        return [F.pixel_shuffle(_exact_conv2d(blocks, matrix), self.parts) for matrix in matrices]

    def synthesis(self, coefficients: Tensor, split: Tensor | None = None) -> Tensor:
        """The inverse of `analysis`."""
        x = F.pixel_unshuffle(coefficients, self.parts)
        blocks = _exact_conv2d(x, self.inverse_matrix)
        if split is not None:
            blocks = torch.where(split[:, None], _exact_conv2d(x, self.inverse_split), blocks)
        return _lapped(F.pixel_shuffle(blocks, self.size), self.butterfly.T, self.size)


class DCStage(nn.Module):
    """The transform of `dc_stage`, of DC coefficients `(B, 3, h, w)`."""

    butterfly: Tensor
    matrix: Tensor

    def __init__(self) -> None:
        super().__init__()
        dct = lapped.block_dct(dc_stage.SIDE)
        basis = torch.tensor(np.kron(np.eye(3), np.kron(dct, dct))).float()[:, :, None, None]
        self.register_buffer("butterfly", torch.tensor(lapped.butterfly(dc_stage.SIDE)).float(), persistent=False)
        self.register_buffer("matrix", basis, persistent=False)

    def analysis(self, dc: Tensor) -> Tensor:
        """`(B, 48, h / 4, w / 4)`; what is repeated beyond the border fills the last ones."""
        side, (rows, columns) = dc_stage.SIDE, dc.shape[2:]
        whole = F.pad(dc, (0, -columns % side, 0, -rows % side), mode="replicate")
        return _exact_conv2d(F.pixel_unshuffle(_lapped(whole, self.butterfly, side), side), self.matrix)

    def synthesis(self, coarse: Tensor, rows: int, columns: int) -> Tensor:
        """The inverse, of so many blocks."""
        blocks = F.pixel_shuffle(_exact_conv2d(coarse, self.matrix.transpose(0, 1)), dc_stage.SIDE)
        return _lapped(blocks, self.butterfly.T, dc_stage.SIDE)[:, :, :rows, :columns]


def _exact_conv2d(x: Tensor, matrix: Tensor) -> Tensor:
    """Not under autocast: what a residual loses here, no iteration gets back."""
    with torch.autocast(x.device.type, enabled=False):
        return F.conv2d(x, matrix)


def _lapped(image: Tensor, matrix: Tensor, size: int) -> Tensor:
    """`matrix` applied across every inner border of blocks with sides of `size`, down the columns and along the
    rows."""
    reach = len(matrix) // 2
    for _ in range(2):
        first, rest, last = image.split([size - reach, image.shape[2] - size, reach], 2)
        if rest.numel():
            border, inner = rest.unflatten(2, (-1, size)).split([2 * reach, size - 2 * reach], 3)
            with torch.autocast(image.device.type, enabled=False):
                rest = torch.cat([matrix @ border, inner], 3).flatten(2, 3)
        image = torch.cat([first, rest, last], 2).transpose(2, 3)
    return image


def make_frontend(config: CodecConfig) -> Frontend:
    """The transform named in `config`."""
    if config.frontend == "conv":
        return Frontend()
    if config.frontend == "dct":
        return BlockDCT()
    if config.frontend == "lapped":
        return LappedDCT("psnr")
    assert_never(config.frontend)
