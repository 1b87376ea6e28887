"""The Lightning modules of ternary codes: their entropy model, and the network that decodes them.

Each learns from single iterations of random crops: coefficients of a random tune and scale, before or after a random
iteration. The thresholds are fixed, so no iteration depends on weights, and none has to be unrolled to reach another.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from ..codec import weights as codec_weights
from ..evaluation import metrics
from ..images import round_to_255, to_255
from ..models import lapped, ternary
from ..models.context_model import ContextModel, codes, levels
from ..models.frontend import LappedDCT
from ..models.refiner import Refiner
from ..models.ternary import EMBEDDINGS, ITERATIONS, SCALES
from . import decoder_losses
from .checkpoints import best_checkpoint
from .optimizers import OptimizerName, Schedule, configure
from .rate_distortion import PictureMeans

# How often each iteration is drawn: most often those of half a bit to two bits per pixel.
DRAWN = (0.02, 0.03, 0.05, 0.08, 0.12, 0.15, 0.17, 0.17, 0.12, 0.06, 0.03)
# Validation goes no further: with the next threshold, 4, most pictures need more than two bits per pixel.
VALIDATED = 9
# After these iterations decoded pictures are measured, from about 0.1 to 2 bits per pixel.
DECODED = (4, 5, 6, 7, 8)
_MEASURED = ("psnr", "ms_ssim", "psnr_hvs")
_MOMENTUM = 0.02
# Keeps the weight of an iteration that costs next to nothing finite, in bits per pixel.
LEAST_BITS = 0.003


class Sample(NamedTuple):
    """What is coded: coefficients `x` `(B, 192, h, w)`, weighted and scaled; their iterations `t`, their `tune` and
    which `embedding` a network is to use, all `(B,)`; and by what they were multiplied, `weight` `(B, 192, 1, 1)`."""

    x: Tensor
    t: Tensor
    tune: Tensor
    embedding: Tensor
    weight: Tensor


class Refinement(NamedTuple):
    """A sample, the middles of its levels' intervals after iteration `t`, and what a network adds to them, both in
    thresholds, `(B, 192, h, w)`."""

    sample: Sample
    centre: Tensor
    added: Tensor


class TernaryTraining(L.LightningModule):
    """What the two modules share; batches are pictures `(B, 3, H, W)` in [-1, 1], sides multiples of 8."""

    config_key: ClassVar[str]
    monitor: ClassVar[tuple[str, str]]
    network: nn.Module
    config: dict[str, Any]
    tune_weights: Tensor

    def __init__(self, validated: Sequence[str], visual_power: float) -> None:
        super().__init__()
        self.means = PictureMeans(validated)
        self.frontend = LappedDCT()
        table = torch.tensor(lapped.coefficient_weights(visual_power)).float()[:, :, None, None]
        self.register_buffer("tune_weights", table, persistent=False)
        self.step_values: dict[str, Tensor] = {}  # what `Agreement` logs

    @abstractmethod
    def start(self, path: Path) -> nn.Module:
        """The network of an earlier run's checkpoint."""

    def setup(self, stage: str) -> None:
        if stage == "fit" and (path := self.hparams["weights"]):
            if not Path(path).is_file():
                raise FileNotFoundError(f"no such checkpoint: {path}")
            try:
                self.network.load_state_dict(self.start(Path(path)).state_dict())
            except RuntimeError as error:
                raise ValueError(f"cannot start from {path}: its network has another shape") from error

    def on_validation_epoch_start(self) -> None:
        self.means.reset()

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.means.compute())

    def configure_callbacks(self) -> Sequence[Callback] | Callback:
        """Keeps the best checkpoint by what this network is for, in place of the one that a codec's run keeps."""
        return best_checkpoint(*self.monitor)

    def configure_optimizers(self) -> Any:
        return configure(self.trainer, self.network, self.hparams)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[self.config_key] = self.config

    def sample(self, image: Tensor) -> Sample:
        """Coefficients of pictures with a scale and an iteration drawn for each; their tunes take turns."""
        count, device = len(image), image.device
        tune = torch.zeros(count, dtype=torch.int64, device=device)
        tune[self.visual] = lapped.TUNES.index("visual")
        scale = torch.randint(SCALES, (count,), device=device)
        t = torch.multinomial(torch.tensor(DRAWN, device=device), count, replacement=True)
        return self.coefficients(image, t, tune, scale)

    @property
    def visual(self) -> slice:
        """Which pictures of a batch are of tune visual: every other one, in the next step the others."""
        return slice((self.global_step + 1) % 2, None, 2)

    def coefficients(self, image: Tensor, t: Tensor, tune: Tensor, scale: Tensor) -> Sample:
        """What a file of a tune and scale codes of each picture in iteration `t`; all `(B,)`."""
        weight = self.tune_weights[tune] * torch.exp2(scale / SCALES).reshape(-1, 1, 1, 1)
        x = self.frontend.analysis(image) * weight
        return Sample(x, t, tune, t * EMBEDDINGS + scale * EMBEDDINGS // SCALES, weight)

    def at(self, image: Tensor, t: int, tune: str) -> Sample:
        """As `coefficients`, of pictures in iteration `t` of a file of scale 0."""
        zero = torch.zeros(len(image), dtype=torch.int64, device=image.device)
        return self.coefficients(image, zero + t, zero + lapped.TUNES.index(tune), zero)


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

    config_key = codec_weights.CONTEXT_CONFIG_KEY
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
        return codec_weights.load_context_model(path)

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


class TernaryDecoder(TernaryTraining):
    """Trains the network that decodes ternary codes.

    The loss is the squared error of coefficients relative to that of the middles of their intervals, and what
    `ms_ssim_weight` adds. A validation logs
    `val/mean_psnr` with tune psnr (the best checkpoint has the largest), and `val/mean_ms_ssim` and
    `val/mean_psnr_hvs` with tune visual, of 8-bit pictures at thresholds from 128 to 8, mean over these and over whole
    pictures; `val/psnr_05`, ... after each of the iterations.

    Args:
        channels: of all hidden layers.
        blocks: residual blocks; each lets a block of the picture see one block further.
        visual_power: as of the entropy model.
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
        weights: start from the decoder in this checkpoint, of the same shape.
    """

    config_key = codec_weights.REFINER_CONFIG_KEY
    monitor = ("val/mean_psnr", "max")

    def __init__(
        self,
        channels: int = 128,
        blocks: int = 4,
        visual_power: float = 1.0,
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
        points = [f"val/{name}_{t + 1:02d}" for name in _MEASURED for t in DECODED]
        super().__init__([*points, *(f"val/mean_{name}" for name in _MEASURED)], visual_power)
        self.save_hyperparameters()
        self.config = {"channels": channels, "blocks": blocks, "visual_power": visual_power}
        self.network = Refiner(**self.config)

    def start(self, path: Path) -> nn.Module:
        return codec_weights.load_refiner(path)

    def training_step(self, image: Tensor, batch_index: int) -> Tensor:
        sample, level, sent = self.drawn(image)
        centre, added = middle(level), self.refined(level, sample)
        loss = relative_error(sample, centre, added, sent).mean()
        self.step_values = {"train/relative_error": loss.detach()}
        if weight := self.hparams["ms_ssim_weight"]:
            whole = sent[self.visual].flatten(1).all(1)
            dissimilarity = torch.zeros_like(loss)
            if len(whole):  # a batch of one has a picture of this tune every other time
                found = self.dissimilarity(image, sample, centre, added, self.visual)
                dissimilarity = (found * whole).sum() / len(image)
            self.step_values["train/relative_1-ms_ssim"] = dissimilarity.detach()
            loss = loss + weight * dissimilarity
        return loss

    def drawn(self, image: Tensor) -> tuple[Sample, Tensor, Tensor]:
        """A sample, the levels that a decoder knows of it, and which codes it has, `(B, 192, h, w)`."""
        sample = self.sample(image)
        count, _, rows, columns = sample.x.shape
        sent = decoder_losses.reached(count, self.hparams["early_ends"], rows, columns, image.device)
        level = torch.where(sent, levels(sample.x, sample.t + 1), 2 * levels(sample.x, sample.t))
        return sample, level, sent

    def dissimilarity(self, image: Tensor, sample: Sample, centre: Tensor, added: Tensor, chosen: slice) -> Tensor:
        """`decoder_losses.relative_dissimilarity` of the decoded pictures that are `chosen`."""
        step = (threshold(sample.t) / sample.weight)[chosen]
        with torch.autocast(image.device.type, enabled=False):
            truth = to_255(image[chosen].float())
            decoded, middles = (to_255(self.frontend.synthesis(x[chosen] * step)) for x in (centre + added, centre))
            return decoder_losses.relative_dissimilarity(truth, decoded, middles)

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
        added: Tensor = self.network(level, sample.embedding, sample.tune)
        return added.to(sample.x)

    def refinements(self, image: Tensor, iterations: Sequence[int], tune: str) -> Iterator[Refinement]:
        """What becomes of pictures after each of some iterations of a file of scale 0."""
        for t in iterations:
            sample = self.at(image, t, tune)
            level = levels(sample.x, sample.t + 1)
            yield Refinement(sample, middle(level), self.refined(level, sample))

    def decoded(self, image: Tensor, iterations: Sequence[int], tune: str) -> Iterator[Tensor]:
        """Pictures `(B, 3, H, W)` as they are decoded after each of these iterations; not clipped."""
        for sample, centre, added in self.refinements(image, iterations, tune):
            x = (centre + added) * threshold(sample.t) / sample.weight
            yield self.frontend.synthesis(x)

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


def threshold(t: Tensor) -> Tensor:
    """T_t of iterations `(B,)`, `(B, 1, 1, 1)`."""
    return (ternary.FIRST / torch.exp2(t)).reshape(-1, 1, 1, 1)


def middle(level: Tensor) -> Tensor:
    """The middle of each level's interval, in thresholds."""
    return level + 0.5 * torch.sign(level)
