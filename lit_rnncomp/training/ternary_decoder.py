"""The Lightning module of the network that decodes ternary codes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..codec import ternary_weights
from ..evaluation import metrics
from ..images import round_to_255, to_255, to_signal
from ..models import lapped
from ..models.context_model import levels
from ..models.dc_stage import DC
from ..models.refiner import Refiner
from . import decoder_losses
from .optimizers import OptimizerName, Schedule
from .ternary import Sample, TernaryTraining, threshold

# After these iterations decoded pictures are measured, from about 0.1 to 2 bits per pixel.
DECODED = (4, 5, 6, 7, 8)
_MEASURED = ("psnr", "ms_ssim", "psnr_hvs")


class Refinement(NamedTuple):
    """A sample, the middles of its levels' intervals after iteration `t`, and what a network adds to them, both in
    thresholds, `(B, 192, h, w)`."""

    sample: Sample
    centre: Tensor
    added: Tensor


class TernaryDecoder(TernaryTraining):
    """Trains the network that decodes ternary codes.

    The loss is the squared error of coefficients relative to that of the middles of their intervals, and what
    `ms_ssim_weight` adds; with a filter both are of the filtered picture, and the error before it counts as well. A
    validation logs
    `val/mean_psnr` with tune psnr (the best checkpoint has the largest), and `val/mean_ms_ssim` and
    `val/mean_psnr_hvs` with tune visual, of 8-bit pictures at thresholds from 128 to 8, mean over these and over whole
    pictures; `val/psnr_05`, ... after each of the iterations.

    Args:
        channels: of all hidden layers.
        blocks: residual blocks; each lets a block of the picture see one block further.
        visual_power: as of the entropy model, as the next two.
        visual_ac: see above.
        visual_chroma: see above.
        stages: of the transform, 1 or 2; as of the entropy model.
        size: pixels a side of the transform's blocks: 8, or 16, of which an encoder splits some into four; as of
            the entropy model.
        filter_channels: of the `PostFilter` of the decoded picture; 0: none.
        filter_blocks: of it.
        filter_alone: train it alone; all else stays as it is in `weights`.
        ms_ssim_weight: of `1 - MS-SSIM` relative to that of the middles, added to the loss of pictures of tune visual
            with all codes of their iteration.
        early_ends: share of pictures whose file ends within the iteration, as a truncated file does.
        optimizer: adam, adamw, sgd or muon.
        lr: learning rate.
        eps: Adam's epsilon.
        weight_decay: decoupled weight decay of adamw and muon.
        schedule: constant, linear or cosine, to `final_lr` times `lr` at the last step; or wsd: constant, then linear
            to `final_lr` in the last `decay` of the steps, so that a run can be continued with another length.
        warmup: steps of linear warm-up.
        final_lr: fraction of `lr` left at the end of the schedule.
        decay: of wsd, see `schedule`.
        weights: start from the decoder in this checkpoint, of the same shape, or with fewer blocks or no filter.
    """

    network: Refiner
    config_key = ternary_weights.REFINER_CONFIG_KEY
    monitor = ("val/mean_psnr", "max")

    def __init__(
        self,
        channels: int = 128,
        blocks: int = 4,
        visual_power: float = 1.0,
        visual_ac: float = 1.0,
        visual_chroma: float = 1.0,
        stages: int = 1,
        size: int = lapped.BLOCK,
        filter_channels: int = 0,
        filter_blocks: int = 6,
        filter_alone: bool = False,
        ms_ssim_weight: float = 0.0,
        early_ends: float = 0.0,
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
        if ms_ssim_weight < 0:
            raise ValueError(f"ms_ssim_weight={ms_ssim_weight} is negative")
        if not 0 <= early_ends <= 1:
            raise ValueError(f"early_ends={early_ends} is outside [0, 1]")
        if filter_channels < 0 or filter_blocks < 0:
            raise ValueError(f"filter_channels={filter_channels} or filter_blocks={filter_blocks} is negative")
        if filter_alone and not (filter_channels and weights):
            raise ValueError("filter_alone trains a filter after a decoder: it needs filter_channels and weights")
        points = [f"val/{name}_{t + 1:02d}" for name in _MEASURED for t in DECODED]
        weighting = {"visual_power": visual_power, "visual_ac": visual_ac, "visual_chroma": visual_chroma}
        super().__init__([*points, *(f"val/mean_{name}" for name in _MEASURED)], weighting, stages, size)
        self.save_hyperparameters()
        self.config = {"channels": channels, "blocks": blocks, **weighting, "stages": stages, "size": size}
        if filter_channels:
            self.config |= {"filter_channels": filter_channels, "filter_blocks": filter_blocks}
        self.network = Refiner(**self.config)
        if filter_alone:
            for name, parameter in self.network.named_parameters():
                parameter.requires_grad_(name.startswith("filter."))

    def start(self, path: Path) -> nn.Module:
        return ternary_weights.load_refiner(path)

    def training_step(self, image: Tensor, batch_index: int) -> Tensor:
        sample, level, sent = self.drawn(image)
        level, centre = self.known(sample, level)
        added = self.refined(level, sample)
        # Of a file that ends early, a decoder draws what it lacks from the iteration before: no such picture is drawn.
        whole = sent.flatten(1).all(1)
        self.step_values = {}
        loss, picture = torch.zeros((), device=self.device), None
        if not self.hparams["filter_alone"]:
            loss = self.logged("error", relative_error(sample, centre, added, sent).mean())
        if self.network.filter is not None:
            shown = self.synthesis(centre + self.network.limited(added, level), sample)
            picture = self.filtered(shown, sample)
            moved = self.frontend.analysis(picture, sample.split) * sample.weight / threshold(sample.t) - centre
            loss = loss + self.logged("error_filtered", (relative_error(sample, centre, moved) * whole).mean())
        if weight := self.hparams["ms_ssim_weight"]:
            chosen, dissimilarity = self.visual, torch.zeros_like(loss)
            if len(image[chosen]):  # a batch of one has a picture of this tune every other time
                shown = self.synthesis(centre + added, sample, chosen) if picture is None else picture[chosen]
                middles = self.synthesis(centre, sample, chosen)
                found = self.dissimilarity(image[chosen], shown, middles)
                dissimilarity = (found * whole[chosen]).sum() / len(image)
            loss = loss + weight * self.logged("1-ms_ssim", dissimilarity)
        return loss

    def logged(self, name: str, loss: Tensor) -> Tensor:
        """A part of the loss, which is logged: relative to that of the middles."""
        self.step_values[f"train/relative_{name}"] = loss.detach()
        return loss

    def synthesis(self, x: Tensor, sample: Sample, chosen: slice = slice(None)) -> Tensor:
        """Pictures `(B, 3, H, W)` in [-1, 1] of coefficients in thresholds, those that are `chosen`; not clipped."""
        split = None if sample.split is None else sample.split[chosen]
        return self.frontend.synthesis((x * threshold(sample.t) / sample.weight)[chosen], split)

    def filtered(self, picture: Tensor, sample: Sample) -> Tensor:
        """Such pictures after the filter, where there is one."""
        if self.network.filter is None:
            return picture
        out = self.network.filter(to_255(picture), sample.step, sample.embedding, sample.tune)
        return to_signal(out.to(picture))

    def drawn(self, image: Tensor) -> tuple[Sample, Tensor, Tensor]:
        """A sample, the levels that a decoder knows of it, and which codes it has, `(B, 192, h, w)`."""
        sample = self.sample(image)
        count, _, rows, columns = sample.x.shape
        sent = decoder_losses.reached(count, self.hparams["early_ends"], rows, columns, image.device)
        level = torch.where(sent, levels(sample.x, sample.t + 1), 2 * levels(sample.x, sample.t))
        if self.stages == 2:
            sent[:, DC] = True
        return sample, level, sent

    def dissimilarity(self, truth: Tensor, decoded: Tensor, middles: Tensor) -> Tensor:
        """`decoder_losses.relative_dissimilarity` of pictures in [-1, 1]."""
        with torch.autocast(truth.device.type, enabled=False):
            parts = (to_255(picture.float()) for picture in (truth, decoded, middles))
            return decoder_losses.relative_dissimilarity(*parts)

    def validation_step(self, image: Tensor, batch_index: int) -> None:
        if not len(image):
            return
        truth, points, values = round_to_255(image), {}, {}
        both = (self.decoded(image, DECODED, tune) for tune in lapped.TUNES)
        for t, *decoded in zip(DECODED, *both, strict=True):
            sharp, visual = map(round_to_255, decoded)
            with torch.autocast(image.device.type, enabled=False):  # metrics are those of float32
                points["psnr", t] = metrics.psnr(truth, sharp).mean()
                points["ms_ssim", t] = metrics.ms_ssim(truth, visual, fewer_scales=True).mean()
                points["psnr_hvs", t] = metrics.psnr_hvs(truth, visual).mean()
        for name in _MEASURED:
            values[f"val/mean_{name}"] = torch.stack([points[name, t] for t in DECODED]).mean()
        values |= {f"val/{name}_{t + 1:02d}": value for (name, t), value in points.items()}
        self.means.update(values, len(image))

    def refined(self, level: Tensor, sample: Sample) -> Tensor:
        """What the network adds to the middles of intervals, in the type of the coefficients."""
        added: Tensor = self.network(level, sample.embedding, sample.tune, sample.split)
        return added.to(sample.x)

    def refinements(
        self, image: Tensor, iterations: Sequence[int], tune: str, last: int | None = None
    ) -> Iterator[Refinement]:
        """What becomes of pictures after each of some iterations of a file of scale 0 that ends with `last`, or with
        this iteration."""
        for t in iterations:
            sample = self.at(image, t, tune, last)
            level, centre = self.known(sample, levels(sample.x, sample.t + 1))
            yield Refinement(sample, centre, self.refined(level, sample))

    def decoded(self, image: Tensor, iterations: Sequence[int], tune: str, last: int | None = None) -> Iterator[Tensor]:
        """Pictures `(B, 3, H, W)` as they are decoded after each of these iterations; not clipped. As `refinements`."""
        for sample, centre, added in self.refinements(image, iterations, tune, last):
            yield self.filtered(self.synthesis(centre + added, sample), sample)

    def errors(self, image: Tensor, iterations: Sequence[int], tune: str) -> Tensor:
        """Squared errors of coefficients after each of these iterations, over those of the middles. `(B,
        iterations)`."""
        return torch.stack([relative_error(*part) for part in self.refinements(image, iterations, tune)], 1)


def relative_error(sample: Sample, centre: Tensor, added: Tensor, counted: Tensor | None = None) -> Tensor:
    """Squared error of refined coefficients over that of the middles of their intervals, of those that are `counted`.
    `(B,)`."""
    target = sample.x / threshold(sample.t) - centre
    share = torch.ones_like(target) if counted is None else counted.to(target)
    # A picture without any detail may lie on the middles already.
    unrefined = (target.square() * share).mean((1, 2, 3)).clamp_min(1e-4)
    return ((added - target).square() * share).mean((1, 2, 3)) / unrefined
