"""How far a decoded picture is from its original: PSNR, SSIM, MS-SSIM, PSNR-HVS, PSNR-HVS-M.

Every function takes two `(B, 3, H, W)` tensors on the 0..255 scale, of any dtype and on any device, and returns `(B,)`.
float64 is computed as float64 and everything else as float32. All are symmetric in the two pictures. A value in
decibels is at most `PSNR_CAP`, which identical pictures get, so that a mean over pictures stays finite.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.lapped import JPEG_LUMINANCE

PSNR_CAP = 100.0
"""Decibels given to identical pictures, as in the reference code of PSNR-HVS."""

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first (Wang, Simoncelli and Bovik, 2003)."""

WINDOW = 11
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
CENTRE = 127.5

CSF_GAIN = 25.735088


class PictureTooSmall(ValueError):
    """A picture has fewer pixels a side than the metric's window; the message names both and the way out."""


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio over all pixels and channels of a picture, in dB (0 to `PSNR_CAP`), peak 255."""
    a, b = _pair(a, b)
    return _decibel((a - b).square().mean(dim=(1, 2, 3)) / 255**2)


def psnr_ycbcr(a: Tensor, b: Tensor) -> Tensor:
    """PSNR of Y, Cb and Cr weighted 6:1:1, in dB (0 to `PSNR_CAP`); full-range BT.601, no subsampling, nothing rounded.

    Source: Ohm et al., "Comparison of the coding efficiency of video coding standards", 2012, equation 3.
    """
    a, b = _pair(a, b)
    planes = _decibel((_ycbcr(a) - _ycbcr(b)).square().mean(dim=(2, 3)) / 255**2)
    return planes @ planes.new_tensor([6 / 8, 1 / 8, 1 / 8])


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity (-1 to 1) with the window and constants of `ms_ssim`, at full resolution only.

    Source: Wang et al., 2004.

    Raises:
        PictureTooSmall: a side is shorter than the window's 11 pixels.
    """
    a, b = _pair(a, b)
    _require(a, WINDOW, "ssim", "pad or enlarge it")
    return _Scale(b - CENTRE).compare((a - CENTRE)[None], luminance=True)[0]


def ms_ssim(a: Tensor, b: Tensor, *, fewer_scales: bool = False) -> Tensor:
    """Multi-scale structural similarity (0 to 1) as Google's `msssim.py` computes it, the script behind the paper's
    numbers.

    An 11x11 Gaussian of deviation 1.5 without padding, K1 0.01, K2 0.03, five scales, 2x2 mean and decimation between
    scales (an odd last row or column is repeated). At each scale the map is averaged over pixels and channels jointly,
    then the scales are multiplied. A negative mean, which no real codec gives, counts as 0 and not as NaN.

    Args:
        fewer_scales: for a picture too small for five scales (a side under 161 pixels), use as many as fit and let
            their weights sum to 1. Such a value must not be compared with one of five scales, so it has to be asked
            for.

    Raises:
        PictureTooSmall: a side is under 161 pixels (with `fewer_scales`: under 11).
    """
    a, b = _pair(a, b)
    return MultiScaleTarget(b, fewer_scales=fewer_scales)(a[None])[0]


class MultiScaleTarget:
    """One of the two pictures of `ms_ssim`, `(B, 3, H, W)`, with its share of the work done once: for a loss over many
    reconstructions.

    Calling it with `(N, B, 3, H, W)` on the 0..255 scale gives the `ms_ssim` of each, `(N, B)`, in the type of the
    target.

    Raises:
        PictureTooSmall: as `ms_ssim` does.
    """

    def __init__(self, target: Tensor, *, fewer_scales: bool = False) -> None:
        if fewer_scales:
            _require(target, WINDOW, "ms_ssim", "pad or enlarge it")
        else:
            _require(
                target,
                smallest_side(len(MS_SSIM_WEIGHTS)),
                "ms_ssim with five scales",
                "use a larger one, or fewer_scales=True",
            )
        count = sum(min(target.shape[2:]) >= smallest_side(n) for n in range(1, len(MS_SSIM_WEIGHTS) + 1))
        total = sum(MS_SSIM_WEIGHTS[:count]) if count < len(MS_SSIM_WEIGHTS) else 1.0
        self.exponents = [weight / total for weight in MS_SSIM_WEIGHTS[:count]]
        self.scales = [_Scale(target - CENTRE)]
        for _ in range(1, count):
            self.scales.append(_Scale(_halve(self.scales[-1].picture)))

    def __call__(self, pictures: Tensor) -> Tensor:
        pictures = pictures.to(self.scales[0].picture.dtype) - CENTRE
        value = pictures.new_ones(pictures.shape[:2])
        for scale, exponent in zip(self.scales, self.exponents, strict=True):
            last = scale is self.scales[-1]
            factor = scale.compare(pictures, luminance=last)
            # Where it is not positive the power's gradient would be NaN; there both value and gradient are 0.
            positive = factor > 0
            value = value * torch.where(positive, torch.where(positive, factor, 1) ** exponent, 0)
            pictures = pictures if last else _halve(pictures.flatten(0, 1)).unflatten(0, value.shape)
        return value


def ms_ssim_db(a: Tensor, b: Tensor, *, fewer_scales: bool = False) -> Tensor:
    """MS-SSIM as `-10 log10(1 - ms_ssim)`, 0 to `PSNR_CAP` dB: spreads the values near 1. Raises as `ms_ssim` does."""
    return _decibel(1 - ms_ssim(a, b, fewer_scales=fewer_scales))


def psnr_hvs(a: Tensor, b: Tensor) -> Tensor:
    """PSNR of luma in the 8x8 DCT domain weighted by contrast sensitivity, in dB (to `PSNR_CAP`).

    Computed on the luma (full-range BT.601, not rounded) of non-overlapping blocks; rows and columns beyond a multiple
    of 8 are left out, as in the authors' code. Source: Egiazarian et al., 2006. The "PSNR-HVS" of the paper's Table 1
    is another metric (Gupta et al., 2011, on RGB, formula not public), so values here must not be set beside that
    column.

    Raises:
        PictureTooSmall: a side is shorter than 8 pixels.
    """
    a, b = _luma_dct(a, b)
    return _decibel(((a - b) * _csf(a)).square().mean(dim=(1, 2, 3)) / 255**2)


def psnr_hvs_m(a: Tensor, b: Tensor) -> Tensor:
    """`psnr_hvs` with contrast masking between the DCT coefficients of a block, in dB (to `PSNR_CAP`).

    Source: Ponomarenko et al., "On between-coefficient contrast masking of DCT basis functions", 2007.

    Raises:
        PictureTooSmall: a side is shorter than 8 pixels.
    """
    a, b = _luma_dct(a, b)
    mask = torch.maximum(_masking(a), _masking(b))[..., None, None]
    threshold = mask * (_table(a) / 10).square()
    threshold[..., 0, 0] = 0
    visible = ((a - b).abs() - threshold).clamp_min(0)
    return _decibel((visible * _csf(a)).square().mean(dim=(1, 2, 3)) / 255**2)


def smallest_side(scales: int) -> int:
    """Pixels a side for so many scales of `ms_ssim`: the window must fit after `scales - 1` halvings (five: 161)."""
    return ((WINDOW - 1) << (scales - 1)) + 1


def _pair(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.shape != b.shape or a.dim() != 4 or a.shape[1] != 3:
        raise ValueError(
            f"metrics compare two (B, 3, H, W) tensors of one shape, not {tuple(a.shape)} and {tuple(b.shape)}"
        )
    dtype = torch.float64 if torch.float64 in (a.dtype, b.dtype) else torch.float32
    return a.to(dtype), b.to(dtype)


def _require(a: Tensor, side: int, metric: str, way_out: str) -> None:
    height, width = a.shape[2:]
    if min(height, width) < side:
        raise PictureTooSmall(
            f"{metric} needs at least {side} pixels a side and this picture has {width}x{height}: {way_out}"
        )


def _decibel(error: Tensor) -> Tensor:
    """`-10 log10(error)` for an error relative to the squared peak, at most `PSNR_CAP`."""
    return -10 * torch.log10(error.clamp_min(10 ** (-PSNR_CAP / 10)))


def _ycbcr(rgb: Tensor) -> Tensor:
    """Full-range BT.601 of JFIF without the offset of 128, which no difference sees."""
    matrix = rgb.new_tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    return torch.einsum("ij,bjhw->bihw", matrix, rgb)


class _Scale:
    """A target picture `(B, 3, H, W)` at one scale, less `CENTRE`, with the local means and variances that comparisons
    ask for.

    Variance does not see an offset, and float32 loses fewer digits of E[x^2] - E[x]^2 when the values are centred.
    """

    def __init__(self, picture: Tensor) -> None:
        self.picture = picture
        self.window = _Window(picture)
        self.mean, square = self.window(torch.stack((picture, picture * picture)))
        self.variance = square - self.mean * self.mean

    def compare(self, pictures: Tensor, luminance: bool) -> Tensor:
        """Mean contrast-structure term, with `luminance` mean similarity: `(N, B)` of `(N, B, 3, H, W)`."""
        mean, square, product = self.window(torch.stack((pictures, pictures * pictures, pictures * self.picture)))
        covariance = product - mean * self.mean
        similarity = (2 * covariance + C2) / (square - mean * mean + self.variance + C2)
        if luminance:
            mean, target = mean + CENTRE, self.mean + CENTRE
            similarity = similarity * (2 * mean * target + C1) / (mean * mean + target * target + C1)
        return similarity.mean(dim=(2, 3, 4))


class _Window:
    """The Gaussian window over the last two dimensions of `(..., H, W)`, only where it fits whole."""

    def __init__(self, like: Tensor) -> None:
        offset = torch.arange(WINDOW, dtype=like.dtype, device=like.device) - WINDOW // 2
        weights = torch.exp(-offset.square() / (2 * 1.5**2))
        self.weights = weights / weights.sum()
        # Of maps this small a product with a banded matrix, most of it zeros, is faster than a convolution: four times
        # at 16 pixels a side.
        self.small = max(like.shape[-2:]) <= 64
        if self.small:
            self.down, self.across = (self._matrix(side) for side in like.shape[-2:])

    def _matrix(self, side: int) -> Tensor:
        """`(side - 10, side)`: each row the window, one further than in the row above."""
        rows = side - WINDOW + 1
        return F.pad(self.weights.repeat(rows, 1), (0, rows)).flatten()[: rows * side].view(rows, side)

    def __call__(self, maps: Tensor) -> Tensor:
        with torch.autocast(maps.device.type, enabled=False):  # a variance is a small difference of large numbers
            return self._blur(maps)

    def _blur(self, maps: Tensor) -> Tensor:
        if self.small:
            return self.down @ (maps @ self.across.mT)
        # One channel a plane: on a CPU the depthwise convolution is six times as fast as a batch of single-channel
        # pictures.
        planes = maps.flatten(0, -3)
        window = self.weights.repeat(len(planes), 1, 1, 1)
        planes = F.conv2d(F.conv2d(planes, window, groups=len(planes)), window.mT, groups=len(planes))
        return planes.reshape(*maps.shape[:-2], *planes.shape[1:])


def _halve(a: Tensor) -> Tensor:
    height, width = a.shape[2:]
    return F.avg_pool2d(F.pad(a, (0, width % 2, 0, height % 2), mode="replicate"), 2)


def _table(like: Tensor) -> Tensor:
    return like.new_tensor(JPEG_LUMINANCE)


def _csf(like: Tensor) -> Tensor:
    """Contrast sensitivity of each DCT coefficient, `(8, 8)`: the published weights, `CSF_GAIN` over JPEG's table."""
    return CSF_GAIN / _table(like)


def _dct_basis(like: Tensor) -> Tensor:
    """Orthonormal DCT-II of length 8, `(8, 8)`, one frequency a row."""
    k = torch.arange(8, dtype=like.dtype, device=like.device)
    basis = torch.cos((2 * k + 1) * k[:, None] * math.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    return basis


def _luma_dct(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal DCT of the luma's whole 8x8 blocks, `(B, blocks, 8, 8)` each."""
    a, b = _pair(a, b)
    _require(a, 8, "psnr_hvs", "pad or enlarge it")
    basis = _dct_basis(a)
    height, width = (side // 8 * 8 for side in a.shape[2:])

    def transform(rgb: Tensor) -> Tensor:
        luma = _ycbcr(rgb[..., :height, :width])[:, 0]
        blocks = luma.unfold(1, 8, 8).unfold(2, 8, 8).flatten(1, 2)
        return basis @ blocks @ basis.T

    return transform(a), transform(b)


def _masking(dct: Tensor) -> Tensor:
    """How much error each block hides, `(B, blocks)`: energy of the weighted AC coefficients, less across an edge.

    An edge is told from a texture by the sum of the four 4x4 quarters' variances over the block's own variance.
    """
    weighted = (dct * (10 / _table(dct))).square()
    energy = weighted.sum(dim=(-1, -2)) - weighted[..., 0, 0]
    basis = _dct_basis(dct)
    pixels = basis.T @ dct @ basis
    quarters = pixels.unfold(-2, 4, 4).unfold(-2, 4, 4)
    scatter = pixels.var(dim=(-1, -2)) * 64
    within = (quarters.var(dim=(-1, -2)) * 16).sum(dim=(-1, -2))
    return (energy * torch.where(scatter > 0, within / scatter, 0)).sqrt() / 32
