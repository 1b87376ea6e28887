"""The gains of section 2.2: by what a residual is multiplied before the encoder, and the output divided after the
decoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import ternary
from .cells import PaddedConv2d
from .config import CodecConfig, assert_never
from .dct import coefficient_deviations
from .loop import Estimate


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
        return F.elu(self.last(image).to(image.dtype)) + 2


class Reconstruction(nn.Module):
    """One-shot and additive reconstruction: no gain."""

    def gain(self, estimate: Estimate, synthesis: Callable[[Tensor], Tensor]) -> Tensor | float | None:
        """The gain of the iteration after `estimate`, None for 1; `synthesis` makes pictures of what is in the front
        end's domain."""
        return None

    def observe(self, t: int, residual: Tensor) -> None:
        """Called in training with the residual that iteration `t` encodes."""

    def follow(self) -> None:
        """Called in training after the last iteration."""


class ResidualScaling(Reconstruction):
    """Equations 16-19: a gain for each 32x32 block, estimated from what the decoder knows, held constant over the
    block.

    `stride` is that of the domain in which residuals live.
    """

    def __init__(self, config: CodecConfig, stride: int) -> None:
        super().__init__()
        self.estimator = GainEstimator()
        self.from_reconstruction = {"residual": False, "reconstruction": True}[config.gain_input]
        self.zoom = 32 // stride

    def gain(self, estimate: Estimate, synthesis: Callable[[Tensor], Tensor]) -> Tensor | None:
        if estimate.t == 0:
            return None
        seen = estimate.value if self.from_reconstruction else estimate.value - estimate.previous
        return self.estimator(synthesis(seen)).repeat_interleave(self.zoom, 2).repeat_interleave(self.zoom, 3)


class ScheduledGain(Reconstruction):
    """Learned gains that depend on the iteration alone: one for each starts as 1, 3, 3.3, 3.63, ..., for residuals
    shrink fast at first.

    One for each coefficient of each iteration starts by reverse water-filling, see `expected_deviations`.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        if config.reconstruction == "coefficient_gain":
            start = -expected_deviations(config.iterations).log()
        else:
            start = torch.tensor([0.0, *(math.log(3 * 1.1**t) for t in range(config.iterations - 1))])
        self.log_gain = nn.Parameter(start.float())

    def gain(self, estimate: Estimate, synthesis: Callable[[Tensor], Tensor]) -> Tensor:
        return self.log_gain[estimate.t].exp().reshape(-1, 1, 1)


class MeasuredGain(Reconstruction):
    """Gains that bring each coefficient's residual to a root mean square of 1, whatever the iterations before left of
    it.

    A running mean over training batches, as in batch normalisation, and constants afterwards. (Learned gains can run
    away: one that is too high makes both the encoder's input and the decoder's target too large to be reached, and a
    coefficient that is not coded early is then never coded.) Each of several processes follows its own batches, until
    training averages what they found.
    """

    averaged = ("deviation",)
    deviation: Tensor

    def __init__(self, config: CodecConfig, momentum: float = 0.02) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("deviation", expected_deviations(config.iterations).float())
        self._squares: list[Tensor] = []

    def gain(self, estimate: Estimate, synthesis: Callable[[Tensor], Tensor]) -> Tensor:
        return self.deviation[estimate.t].clamp_min(1e-3).reciprocal().reshape(-1, 1, 1)

    @torch.no_grad()
    def observe(self, t: int, residual: Tensor) -> None:
        if t == 0:
            self._squares = []  # what a loop that was not run to its end has left
        self._squares.append(residual.float().square().mean((0, 2, 3)))

    @torch.no_grad()
    def follow(self) -> None:
        # All iterations at once: each read its gain before.
        squares = torch.stack(self._squares)
        self._squares = []
        self.deviation[: len(squares)].lerp_(squares.sqrt().to(self.deviation), self.momentum)


class TernaryGain(Reconstruction):
    """Those of ternary codes: one over thresholds that halve. Powers of two, so that residuals and estimates are exact
    in float32."""

    def gain(self, estimate: Estimate, synthesis: Callable[[Tensor], Tensor]) -> float:
        return 1 / ternary.threshold(estimate.t)


def expected_deviations(iterations: int) -> Tensor:
    """What is left of each DCT coefficient, relative to its deviation, before each iteration, by reverse water-filling.

    After iteration t a coefficient's error is what it was, or the level `0.126 t ** -0.4` (24 dB after the first eighth
    of a bit per pixel, 34 dB at 2) if that is less. `(iterations, 192)` float64 in (0, 1].
    """
    level = 0.126 * torch.arange(1, iterations, dtype=torch.float64) ** -0.4
    later = (level[:, None] / torch.tensor(coefficient_deviations())).clamp_max(1)
    return torch.cat((torch.ones(1, later.shape[1], dtype=torch.float64), later))


def make_reconstruction(config: CodecConfig, stride: int) -> Reconstruction:
    """The gains named in `config`; `stride` is that of the domain in which residuals live."""
    if config.codes == "ternary":
        return TernaryGain()
    if config.reconstruction == "one_shot" or config.reconstruction == "additive":
        return Reconstruction()
    if config.reconstruction == "residual_scaling":
        return ResidualScaling(config, stride)
    if config.reconstruction == "iteration_gain" or config.reconstruction == "coefficient_gain":
        return ScheduledGain(config)
    if config.reconstruction == "measured_gain":
        return MeasuredGain(config)
    assert_never(config.reconstruction)
