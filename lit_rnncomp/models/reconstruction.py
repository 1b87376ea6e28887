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
from .transform import coefficient_deviations


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

    def observe(self, t: int, residual: Tensor) -> None:
        """Called in training with the residual that iteration `t` encodes."""


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
    """Learned gains that depend on the iteration alone: one for each starts as 1, 3, 3.3, 3.63, ..., for residuals shrink fast at first.

    One for each coefficient of each iteration starts by reverse water-filling, see `expected_deviations`.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        if config.gains == "coefficient":
            start = -expected_deviations(config.iterations).log()
        else:
            start = torch.tensor([0.0, *(math.log(3 * 1.1**t) for t in range(config.iterations - 1))])
        self.log_gain = nn.Parameter(start.float())

    def gain(self, t: int, estimate: Tensor | None = None) -> Tensor | None:
        return self.log_gain[t].exp().reshape(-1, 1, 1)


class MeasuredGain(Additive):
    """Gains that bring each coefficient's residual to a root mean square of 1, whatever the iterations before left of it.

    A running mean over training batches, as in batch normalisation, and constants afterwards. (Learned gains can run away: one that is
    too high makes both the encoder's input and the decoder's target too large to be reached, and a coefficient that is not coded
    early is then never coded.)
    """

    deviation: Tensor

    def __init__(self, config: CodecConfig, momentum: float = 0.02) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("deviation", expected_deviations(config.iterations).float())

    def gain(self, t: int, estimate: Tensor | None = None) -> Tensor | None:
        return self.deviation[t].clamp_min(1e-3).reciprocal().reshape(-1, 1, 1)

    @torch.no_grad()
    def observe(self, t: int, residual: Tensor) -> None:
        square = residual.float().square().mean((0, 2, 3))
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(square)
            square /= torch.distributed.get_world_size()
        self.deviation[t].lerp_(square.sqrt(), self.momentum)


def expected_deviations(iterations: int) -> Tensor:
    """What is left of each DCT coefficient, relative to its deviation, before each iteration, by reverse water-filling.

    After iteration t a coefficient's error is what it was, or the level `0.126 t ** -0.4` (24 dB after the first eighth of a bit per
    pixel, 34 dB at 2) if that is less. `(iterations, 192)` float64 in (0, 1].
    """
    level = 0.126 * torch.arange(1, iterations, dtype=torch.float64) ** -0.4
    later = (level[:, None] / torch.tensor(coefficient_deviations())).clamp_max(1)
    return torch.cat((torch.ones(1, later.shape[1], dtype=torch.float64), later))


def make_reconstruction(config: CodecConfig, stride: int) -> Additive:
    """The framework named in `config`; `stride` is that of the domain in which residuals live."""
    if config.reconstruction == "one_shot":
        return OneShot()
    if config.reconstruction == "additive":
        return Additive()
    if config.reconstruction == "residual_scaling":
        return ResidualScaling(config, stride)
    return MeasuredGain(config) if config.gains == "measured" else ScheduledGain(config)
