"""How the decoder's outputs add up to a picture (section 2.2): one-shot, additive, residual scaling, scheduled gain.

A framework answers two questions: is the last reconstruction added (`additive`), and by which gain is the residual multiplied before
the encoder and the output divided after the decoder (`gain`, None for 1).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cells import PaddedConv2d
from .config import CodecConfig
from .frontend import coefficient_deviations


class GainEstimator(nn.Module):
    """Pictures `(B, 3, H, W)` to gains `(B, 1, H / 32, W / 32)` in (1, inf): the last paragraph of section 2.2.

    Four 3x3 convolutions to 32 channels and one 2x2 to 1 channel, all of stride 2, each with ELU; then 2 is added.
    """

    def __init__(self) -> None:
        super().__init__()
        channels = [3, 32, 32, 32, 32]
        self.convs = nn.ModuleList(PaddedConv2d(i, o, 3, 2) for i, o in pairwise(channels))
        self.last = nn.Conv2d(32, 1, 2, 2)

    def forward(self, image: Tensor) -> Tensor:
        for conv in self.convs:
            image = F.elu(conv(image))
        return F.elu(self.last(image)) + 2


class Additive(nn.Module):
    """`x_t = D_t + x_{t-1}` (eq 1 with gamma 1)."""

    additive = True

    def gain(self, t: int, estimate: Tensor | None = None) -> Tensor | None:
        """The gain of iteration `t`; `estimate` is the picture that the gain estimator sees. None is a gain of 1."""
        return None


class OneShot(Additive):
    """`x_t = D_t`: each output is the whole picture (eq 1 with gamma 0)."""

    additive = False


class ResidualScaling(Additive):
    """Equations 16-19: a gain for each 32x32 block, estimated from what the decoder knows, held constant over the block."""

    def __init__(self, config: CodecConfig, stride: int) -> None:
        super().__init__()
        self.estimator = GainEstimator()
        self.from_reconstruction = config.gain_input == "reconstruction"
        self.zoom = 32 // stride

    def gain(self, t: int, estimate: Tensor | None = None) -> Tensor | None:
        if estimate is None:
            return None
        gain = self.estimator(estimate)
        return gain.repeat_interleave(self.zoom, 2).repeat_interleave(self.zoom, 3)


class ScheduledGain(Additive):
    """Learned gains that depend on the iteration alone.

    One for each iteration starts as 1, 3, 3.3, 3.63, ...: residuals shrink fast at first, then slowly. One for each coefficient starts
    by reverse water-filling: after iteration t a coefficient's error is what it was, or the level `0.126 t ** -0.4` (24 dB after the
    first eighth of a bit per pixel, 34 dB at 2) if that is less; its gain brings it back to the size of 1.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        if config.gains == "coefficient":
            level = 0.126 * torch.arange(1, config.iterations, dtype=torch.float64) ** -0.4
            later = (coefficient_deviations() / level[:, None]).log().clamp_min(0)
            start = torch.cat((torch.zeros(1, later.shape[1]), later))
        else:
            start = torch.tensor([0.0, *(math.log(3 * 1.1**t) for t in range(config.iterations - 1))])
        self.log_gain = nn.Parameter(start.float())

    def gain(self, t: int, estimate: Tensor | None = None) -> Tensor | None:
        return self.log_gain[t].exp().reshape(-1, 1, 1)


def make_reconstruction(config: CodecConfig, stride: int) -> Additive:
    """The framework named in `config`; `stride` is that of the domain in which residuals live."""
    if config.reconstruction == "one_shot":
        return OneShot()
    if config.reconstruction == "additive":
        return Additive()
    if config.reconstruction == "residual_scaling":
        return ResidualScaling(config, stride)
    return ScheduledGain(config)
