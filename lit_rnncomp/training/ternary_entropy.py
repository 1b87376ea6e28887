"""The Lightning module of the entropy model of ternary codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..codec import ternary_weights
from ..models import lapped, ternary
from ..models.context_model import ContextModel, codes, levels
from ..models.dc_stage import DC
from ..models.ternary import EMBEDDINGS, EXTRA, ITERATIONS, PASSES
from .optimizers import OptimizerName, Schedule
from .ternary import VALIDATED, Sample, TernaryTraining

# Keeps the weight of an iteration that costs next to nothing finite, in bits per pixel.
LEAST_BITS = 0.003
_LEAST_COARSE = 0.0003
_MOMENTUM = 0.02


class TernaryEntropyModel(TernaryTraining):
    """Trains the entropy model of ternary codes.

    The loss is the length of an iteration's codes over its running mean, so that every iteration counts alike; with two
    stages of the transform that of the second's codes in other random iterations is added, over their own. A
    validation logs `val/bpp`, what the model makes of whole pictures down to a threshold of 8 in bits per pixel, mean
    over pictures and tunes (the best checkpoint has the least), and `val/bpp_01`, ... up to each iteration.

    Args:
        channels: of all hidden layers, at most 116.
        blocks: residual blocks before the first pass.
        known_codes: whether a pass knows the codes of the passes before it.
        neighbours: whether it knows them of other blocks too, or of its own alone.
        visual_power: the weights of tune visual are those of JPEG's table to this power, 0 to 1; the decoder's must be
            the same, as of the next two.
        visual_ac: by what tune visual multiplies all but DC coefficients besides, above 0 and at most 1.
        visual_chroma: likewise those of chroma, times `visual_ac`.
        stages: of the transform, 1 or 2: with 2, DC coefficients of 4x4 blocks go through a transform of their own; the
            decoder's must be the same.
        size: pixels a side of the transform's blocks: 8, or 16, of which an encoder splits some into four; as of
            the decoder.
        coarse_iterations: of how many random iterations a step learns the second stage's codes of each picture, which
            are a sixteenth as many as others.
        optimizer: adam, adamw, sgd or muon.
        lr: learning rate.
        eps: Adam's epsilon.
        weight_decay: decoupled weight decay of adamw and muon.
        schedule: constant, linear or cosine, to `final_lr` times `lr` at the last step; or wsd: constant, then linear
            to `final_lr` in the last `decay` of the steps, so that a run can be continued with another length.
        warmup: steps of linear warm-up.
        final_lr: fraction of `lr` left at the end of the schedule.
        decay: of wsd, see `schedule`.
        weights: start from the entropy model in this checkpoint, of the same shape, but for its `stages`, or with fewer
            `blocks`.
    """

    config_key = ternary_weights.CONTEXT_CONFIG_KEY
    monitor = ("val/bpp", "min")
    averaged: tuple[str, ...] = ("mean_bits",)
    mean_bits: Tensor
    mean_coarse_bits: Tensor

    def __init__(
        self,
        channels: int = 64,
        blocks: int = 2,
        known_codes: bool = True,
        neighbours: bool = True,
        visual_power: float = 1.0,
        visual_ac: float = 1.0,
        visual_chroma: float = 1.0,
        stages: int = 1,
        size: int = lapped.BLOCK,
        coarse_iterations: int = 4,
        optimizer: OptimizerName = "adam",
        lr: float = 2e-3,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        schedule: Schedule = "wsd",
        warmup: int = 200,
        final_lr: float = 0.01,
        decay: float = 0.25,
        weights: str | None = None,
    ) -> None:
        if coarse_iterations < 1:
            raise ValueError(f"coarse_iterations={coarse_iterations} is less than 1")
        weighting = {"visual_power": visual_power, "visual_ac": visual_ac, "visual_chroma": visual_chroma}
        super().__init__(["val/bpp", *(f"val/bpp_{t:02d}" for t in range(1, VALIDATED + 1))], weighting, stages, size)
        self.save_hyperparameters()
        self.config = {
            "channels": channels,
            "blocks": blocks,
            "known_codes": known_codes,
            "neighbours": neighbours,
            **weighting,
            "stages": stages,
            "size": size,
        }
        self.network = ContextModel(**self.config)
        self.register_buffer("mean_bits", torch.zeros(ITERATIONS))
        if stages == 2:
            self.register_buffer("mean_coarse_bits", torch.zeros(ITERATIONS + EXTRA))
            self.averaged = ("mean_bits", "mean_coarse_bits")

    def start(self, path: Path) -> nn.Module:
        return ternary_weights.load_context_model(path)

    def started(self, network: nn.Module) -> dict[str, Tensor]:
        """Also those of a model of one stage, whose outputs and inputs of DC codes are left out."""
        state = super().started(network)
        if self.stages == 1 or network.stages == 2:
            return state
        for index, (group, _) in enumerate(PASSES):
            kept = torch.from_numpy(~np.isin(np.tile(ternary.groups()[group], 2), DC))
            for part in ("weight", "bias"):
                state[f"head.{index}.{part}"] = state[f"head.{index}.{part}"][kept]
            if index < len(PASSES) - 1:
                state[f"seen.{index}.weight"] = state[f"seen.{index}.weight"][:, kept]
        return state | {f"coarse.{name}": tensor for name, tensor in self._coarse.state_dict().items()}

    @property
    def _coarse(self) -> nn.Module:
        return self.network.get_submodule("coarse")

    def bpp(self, sample: Sample) -> Tensor:
        """Bits per pixel of an iteration's codes, with two stages without those of the second. `(B,)`."""
        level, code = self.sent(sample)
        with torch.autocast(level.device.type, enabled=False):  # its integers have more digits than bfloat16
            bits: Tensor = self.network(level, code, sample.embedding, sample.tune, sample.split).sum(1)
        return bits / (sample.x[0, 0].numel() * lapped.BLOCK**2)

    def coarse_bpp(self, sample: Sample, t: Tensor) -> Tensor:
        """Bits per pixel of the second stage's codes in iterations `t`, -2 to 10: one of each picture, or of all
        pictures one after another several times, `(B,)` or `(k B,)`."""
        assert sample.coarse is not None
        again = len(t) // len(sample.t)
        x, tune = sample.coarse.repeat(again, 1, 1, 1), sample.tune.repeat(again)
        embedding = (sample.embedding - sample.t * EMBEDDINGS).repeat(again) + (t + EXTRA) * EMBEDDINGS
        level, code = levels(x, t), codes(x, t)
        with torch.autocast(level.device.type, enabled=False):
            bits: Tensor = self._coarse(level, code, embedding, tune).sum(1)
        return bits / (sample.x[0, 0].numel() * lapped.BLOCK**2)

    def training_step(self, image: Tensor, batch_index: int) -> Tensor:
        sample = self.sample(image)
        bpp = self.bpp(sample)
        self.follow(self.mean_bits, sample.t, bpp.detach())
        self.step_values = {"train/bpp": bpp.mean().detach()}
        loss = (bpp / (self.mean_bits[sample.t] + LEAST_BITS)).mean()
        if self.stages == 2:
            t = torch.randint(
                ITERATIONS + EXTRA, (self.hparams["coarse_iterations"] * len(image),), device=image.device
            )
            coarse = self.coarse_bpp(sample, t - EXTRA)
            self.follow(self.mean_coarse_bits, t, coarse.detach())
            self.step_values["train/coarse_bpp"] = coarse.mean().detach()
            loss = loss + (coarse / (self.mean_coarse_bits[t] + _LEAST_COARSE)).mean()
        return loss

    def rates(self, image: Tensor, tune: str) -> Tensor:
        """Bits per pixel of each iteration of files of scale 0 down to a threshold of 8. `(B, 9)`."""
        return torch.stack([self._rate(self.at(image, t, tune, VALIDATED - 1)) for t in range(VALIDATED)], 1)

    def _rate(self, sample: Sample) -> Tensor:
        """With all codes of the second stage that an iteration has: the first one also those before it."""
        bpp = self.bpp(sample)
        if self.stages == 2:
            earlier = range(1, EXTRA + 1) if not sample.t.any() else ()
            for t in (sample.t, *(sample.t - k for k in earlier)):
                bpp = bpp + self.coarse_bpp(sample, t)
        return bpp

    def validation_step(self, image: Tensor, batch_index: int) -> None:
        if not len(image):  # a process may have no picture
            return
        rates = torch.stack([self.rates(image, tune).mean(0) for tune in lapped.TUNES]).mean(0).cumsum(0)
        points = {f"val/bpp_{t:02d}": rate for t, rate in enumerate(rates, 1)}
        self.means.update({**points, "val/bpp": rates[-1]}, len(image))

    @staticmethod
    def follow(means: Tensor, t: Tensor, bpp: Tensor) -> None:
        """Lets the running mean of each iteration in the batch follow it; at first it is the batch's own.

        (Each process follows its own batches; `Agreement` averages what they know.)
        """
        drawn = F.one_hot(t, len(means)).to(bpp)
        count, total = drawn.sum(0), bpp @ drawn
        share = torch.where(means > 0, 1 - (1 - _MOMENTUM) ** count, (count > 0).to(bpp))
        means.lerp_(total / count.clamp_min(1), share)
