"""What the decoder of ternary codes also learns from: iterations that end early, and the similarity of pictures."""

from __future__ import annotations

import torch
from torch import Tensor

from ..evaluation import metrics
from ..models import ternary
from ..models.lapped import COEFFICIENTS
from ..models.ternary import PASSES, groups

# Keeps the weight of a picture that is all but perfect finite.
_LEAST = 1e-4


def reached(count: int, share: float, rows: int, columns: int, device: torch.device) -> Tensor:
    """Which codes of `count` pictures of `rows` x `columns` blocks have been read, `(count, 192, rows, columns)`, bool.

    With the probability `share` a picture's file ends within the iteration, at a place that is uniform over the passes;
    else it has all codes.
    """
    odd = torch.from_numpy(ternary.parity(rows, columns)).to(device)
    ends = torch.rand(count, device=device) * len(PASSES)
    ends = torch.where(torch.rand(count, device=device) < share, ends, len(PASSES))
    place = torch.empty(
        2, COEFFICIENTS, device=device
    )  # in passes, at which a coefficient of even and odd blocks comes
    for number, (group, parity) in enumerate(PASSES):
        chosen = torch.from_numpy(groups()[group]).to(device)
        place[int(parity), chosen] = number + torch.arange(len(chosen), device=device) / len(chosen)
    comes = torch.where(odd, place[1][:, None, None], place[0][:, None, None])
    return comes < ends.reshape(-1, 1, 1, 1)


def relative_dissimilarity(truth: Tensor, decoded: Tensor, middles: Tensor) -> Tensor:
    """`1 - MS-SSIM` of `decoded` over that of `middles`, `(B,)`; pictures `(B, 3, H, W)` on the 0..255 scale, on as
    many scales as they have room for."""
    with torch.no_grad():
        unrefined = (1 - metrics.ms_ssim(truth, middles, fewer_scales=True)).clamp_min(_LEAST)
    return (1 - metrics.ms_ssim(truth, decoded, fewer_scales=True)) / unrefined
