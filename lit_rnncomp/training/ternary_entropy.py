"""The Lightning module of the entropy model of ternary codes."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..codec import ternary_weights
from ..models import lapped
from ..models.context_model import ContextModel, codes, levels
from ..models.ternary import ITERATIONS
from .optimizers import OptimizerName, Schedule
from .ternary import VALIDATED, Sample, TernaryTraining

# Keeps the weight of an iteration that costs next to nothing finite, in bits per pixel.
LEAST_BITS = 0.003
_MOMENTUM = 0.02


class TernaryEntropyModel(TernaryTraining):
    """Trains the entropy model of ternary codes.

    The loss is the length of an iteration's codes over its running mean, so that every iteration counts alike. A
    validation logs `val/bpp`, what the model makes of whole pictures down to a threshold of 8 in bits per pixel, mean
    over pictures and tunes (the best checkpoint has the least), and `val/bpp_01`, ... up to each iteration.

    Args:
        channels: of all hidden layers, at most 116.
        blocks: residual blocks before the first pass.
        known_codes: whether a pass knows the codes of the passes before it.
        neighbours: whether it knows them of other blocks too, or of its own alone.
        visual_power: the weights of tune visual are those of JPEG's table to this power, 0 to 1; the decoder's must be
            the same.
        optimizer: adam, adamw, sgd or muon.
        lr: learning rate.
        eps: Adam's epsilon.
        weight_decay: decoupled weight decay of adamw and muon.
        schedule: constant, linear or cosine, to `final_lr` times `lr` at the last step; or wsd: constant, then linear
            to `final_lr` in the last `decay` of the steps, so that a run can be continued with another length.
        warmup: steps of linear warm-up.
        final_lr: fraction of `lr` left at the end of the schedule.
        decay: of wsd, see `schedule`.
        weights: start from the entropy model in this checkpoint, of the same shape.
    """

    config_key = ternary_weights.CONTEXT_CONFIG_KEY
    monitor = ("val/bpp", "min")
    averaged = ("mean_bits",)
    mean_bits: Tensor

    def __init__(
        self,
        channels: int = 64,
        blocks: int = 2,
        known_codes: bool = True,
        neighbours: bool = True,
        visual_power: float = 1.0,
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
        super().__init__(["val/bpp", *(f"val/bpp_{t:02d}" for t in range(1, VALIDATED + 1))], visual_power)
        self.save_hyperparameters()
        self.config = {
            "channels": channels,
            "blocks": blocks,
            "known_codes": known_codes,
            "neighbours": neighbours,
            "visual_power": visual_power,
        }
        self.network = ContextModel(**self.config)
        self.register_buffer("mean_bits", torch.zeros(ITERATIONS))

    def start(self, path: Path) -> nn.Module:
        return ternary_weights.load_context_model(path)

    def bpp(self, sample: Sample) -> Tensor:
        """Bits per pixel of an iteration's codes. `(B,)`."""
        level, code = levels(sample.x, sample.t), codes(sample.x, sample.t)
        with torch.autocast(level.device.type, enabled=False):  # its integers have more digits than bfloat16
            bits: Tensor = self.network(level, code, sample.embedding, sample.tune).sum(1)
        return bits / (sample.x[0, 0].numel() * lapped.BLOCK**2)

    def training_step(self, image: Tensor, batch_index: int) -> Tensor:
        sample = self.sample(image)
        bpp = self.bpp(sample)
        self.follow(sample.t, bpp.detach())
        self.step_values = {"train/bpp": bpp.mean().detach()}
        return (bpp / (self.mean_bits[sample.t] + LEAST_BITS)).mean()

    def rates(self, image: Tensor, tune: str) -> Tensor:
        """Bits per pixel of each iteration of files of scale 0 down to a threshold of 8. `(B, 9)`."""
        return torch.stack([self.bpp(self.at(image, t, tune)) for t in range(VALIDATED)], 1)

    def validation_step(self, image: Tensor, batch_index: int) -> None:
        if not len(image):  # a process may have no picture
            return
        rates = torch.stack([self.rates(image, tune).mean(0) for tune in lapped.TUNES]).mean(0).cumsum(0)
        points = {f"val/bpp_{t:02d}": rate for t, rate in enumerate(rates, 1)}
        self.means.update({**points, "val/bpp": rates[-1]}, len(image))

    def follow(self, t: Tensor, bpp: Tensor) -> None:
        """Lets the running mean of each iteration in the batch follow it; at first it is the batch's own.

        (Each process follows its own batches; `Agreement` averages what they know.)
        """
        drawn = F.one_hot(t, ITERATIONS).to(bpp)
        count, total = drawn.sum(0), bpp @ drawn
        share = torch.where(self.mean_bits > 0, 1 - (1 - _MOMENTUM) ** count, (count > 0).to(bpp))
        self.mean_bits.lerp_(total / count.clamp_min(1), share)
