"""One LightningModule for each architecture variant; each wraps a `RecurrentCodec`, which is what ships."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from ..codec import zoo
from ..codec.weights import CONFIG_KEY, load
from ..evaluation.rd import Array
from ..models.config import CodecConfig, Unit
from ..models.recurrent_codec import CodecOutput, RecurrentCodec
from .code_lengths import lengths
from .loss import Accelerate, GraphedLoss, StepLoss, require, segment_losses, sum_of_segments
from .optimizers import OptimizerName, Schedule, configure, total_steps
from .rate_distortion import RateDistortionCurve
from .starting import Starting


class Compressor(Starting):
    """Trains a recurrent codec end to end on the mean absolute residual over pixels and iterations (equation 3); of
    ternary codes the residual counts in thresholds, and bits have a price.

    Batches are pictures `(B, 3, H, W)` in [-1, 1]. Validation measures the rate-distortion curve of whole pictures and
    logs the area under it as `val/auc_ms_ssim`, the means over the rates as `val/mean_psnr` and `val/mean_psnr_hvs` in
    dB, each point as `val/ms_ssim_05` (after iteration 5), and the best area so far as `val/auc_ms_ssim_best`; where a
    second best checkpoint is kept by another of these, its best as `val/mean_psnr_hvs_best`. Rates are nominal; of
    ternary codes the lengths of the codes (`code_lengths`), mean over pictures, in bits per pixel up to each iteration
    logged as `val/bpp_05`.
    """

    unit: ClassVar[Unit]
    config_key = CONFIG_KEY
    best_auc: Tensor

    def __init__(
        self,
        optimizer: OptimizerName = "adam",
        lr: float = 5e-4,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        schedule: Schedule = "constant",
        warmup: int = 0,
        final_lr: float = 0.02,
        decay: float = 0.2,
        early_iterations: int | None = None,
        early_fraction: float = 0.5,
        ms_ssim_weight: float = 0.0,
        bit_price: float = 0.1,
        weights: str | None = None,
        recompute: bool = False,
        truncate: int | None = None,
        accelerate: Accelerate = "none",
        defer_gradients: bool = False,
        **network: Any,
    ) -> None:
        """How to train; `network` is what `CodecConfig` takes besides the unit, and documents.

        Args:
            optimizer: adam (the paper), adamw, sgd or muon.
            lr: learning rate.
            eps: Adam's epsilon; the paper's rates of 0.1 to 2 make sense with an epsilon near 1, see
                configs/README.md.
            weight_decay: decoupled weight decay of adamw and muon.
            schedule: constant, linear or cosine, to `final_lr` times `lr` at the last step; or wsd: constant, then
                linear to `final_lr` in the last `decay` of the steps, so that a run can go on with another length.
            warmup: steps of linear warm-up.
            final_lr: fraction of `lr` left at the end of the schedule.
            decay: of wsd, see `schedule`.
            early_iterations: iterations unrolled while training is before `early_fraction` of its steps; null is all.
            early_fraction: see `early_iterations`.
            ms_ssim_weight: share of `1 - MS-SSIM` (on as many scales as a patch has room for) in the loss; the rest
                is the absolute residual. 0 is the paper.
            bit_price: of ternary codes, what a bit per pixel of each iteration adds to its residual in thresholds.
            weights: start from these weights (.ckpt, .safetensors or the name of a shipped model; of the same
                architecture, or of one with shared projections or without the shortcut).
            recompute: keep only what passes between the networks and run each again in the backward pass: a fraction
                of the memory, the same gradients.
            truncate: let gradients flow through this many iterations only, and free their activations before the next
                ones; null is all.
            accelerate: of the training step: none; compile runs the networks through torch.compile (minutes at the
                first step; no gain on a CPU); cuda_graph captures forward and backward of all iterations as one CUDA
                graph, on one GPU, without recompute or truncate.
            defer_gradients: make the gradient of each weight once a step, from the inputs and gradients of all
                iterations, instead of adding up one of each iteration: fewer launches and bytes on a GPU, no gain on a
                CPU (kernels/README.md); without recompute or accelerate=compile.
        """
        super().__init__()
        self.save_hyperparameters()
        config = CodecConfig(unit=self.unit, **network)
        self.codec, iterations = RecurrentCodec(config), config.iterations
        if bit_price < 0:
            raise ValueError(f"bit_price={bit_price} is negative")
        if not 0 <= ms_ssim_weight <= 1:
            raise ValueError(f"ms_ssim_weight={ms_ssim_weight} is outside [0, 1]")
        if early_iterations is not None and not 1 <= early_iterations <= iterations:
            raise ValueError(f"early_iterations={early_iterations} is outside 1..{iterations}")
        if truncate is not None and not 1 <= truncate <= iterations:
            raise ValueError(f"truncate={truncate} is outside 1..{iterations}")
        if accelerate == "cuda_graph" and (recompute or truncate):
            raise ValueError(
                "accelerate=cuda_graph keeps all activations: leave out recompute and truncate, or use compile"
            )
        if accelerate == "compile" and (config.projections, config.shortcut) != ("shared", False):
            raise ValueError(
                "accelerate=compile would compile every iteration anew: it needs projections=shared and shortcut=false"
            )
        if defer_gradients and (recompute or accelerate == "compile"):
            raise ValueError(
                "defer_gradients keeps the inputs of all iterations and is a backward pass of its own: leave out "
                f"{'recompute' if recompute else 'accelerate=compile'}, or defer_gradients"
            )
        self.codec.recompute, self.codec.defer_gradients = recompute, defer_gradients
        self._graphed: GraphedLoss | None = None
        self.curve = RateDistortionCurve(iterations, None if config.codes == "ternary" else config.bpp_per_iteration)
        self.register_buffer("best_auc", torch.tensor(0.0))
        self.step_values: dict[str, Tensor] = {}  # what `Agreement` logs

    def start_from(self, weights: str) -> None:
        warm_start(self.codec, load(zoo.find(weights)))

    def described(self) -> dict[str, Any]:
        return self.codec.config.to_dict()

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit":
            accumulated = self.trainer.accumulate_grad_batches
            require(self.hparams["accelerate"], self.trainer.strategy.root_device, self.trainer.world_size, accumulated)

    def on_fit_start(self) -> None:
        if self.hparams["accelerate"] == "compile":
            self.codec.compile_networks()
        if self.hparams["accelerate"] == "cuda_graph":
            self._graphed = GraphedLoss(self.codec, self.hparams["ms_ssim_weight"], self.hparams["bit_price"])

    def forward(self, image: Tensor, iterations: int | None = None) -> CodecOutput:
        return self.codec(image, iterations)

    def training_step(self, image: Tensor, batch_index: int) -> Tensor:
        iterations, length, share = self._iterations_now(), self.hparams["truncate"], self.hparams["ms_ssim_weight"]
        price = self.hparams["bit_price"]
        parts: list[StepLoss] = []

        def losses() -> Iterator[Tensor]:
            for part in segment_losses(self.codec, image, iterations, length, share, price):
                parts.append(part._replace(loss=part.loss.detach()))
                yield part.loss

        if self._graphed:
            parts = [self._graphed(image, iterations)]
            loss = parts[0].loss
        else:
            loss = (
                sum_of_segments(losses(), self.codec) if length and self.training else torch.stack(list(losses())).sum()
            )
        self.step_values = {"train/l1": torch.stack([part.l1 for part in parts]).sum()}
        if share:
            self.step_values["train/1-ms_ssim"] = torch.stack([part.dissimilarity for part in parts]).sum()
        if self.curve.measured:
            self.step_values["train/bpp"] = torch.stack([part.bpp for part in parts]).sum()
        return loss

    @property
    def leaves_parameters_out(self) -> bool:
        """Whether there are steps in which some parameters have no part: the first iteration has no state yet."""
        return self.hparams["early_iterations"] is not None or self.codec.config.iterations == 1

    def validation_step(self, image: Tensor, batch_index: int) -> None:
        if len(image):  # a process may have no picture
            reconstructions, bits = [], []
            for step in self.codec.encode(image):
                reconstructions.append(self.codec.picture(step.estimate))
                if self.curve.measured:
                    bits.append(lengths(step))
            bpp = torch.stack(bits).cumsum(0) / (image.shape[2] * image.shape[3]) if bits else None
            with torch.autocast(image.device.type, enabled=False):  # metrics are those of float32
                self.curve.update(image, reconstructions, bpp)

    def on_validation_epoch_end(self) -> None:
        curves = self.curve.compute()
        summary = self._summary("val", curves)
        if not self.trainer.sanity_checking:
            self.best_auc.clamp_(min=summary["val/auc_ms_ssim"])
        self.log_dict(summary, prog_bar=True)
        self.log("val/auc_ms_ssim_best", self.best_auc)
        for kept in self.trainer.checkpoint_callbacks:
            monitor = getattr(kept, "monitor", None)
            if isinstance(kept, ModelCheckpoint) and monitor in summary and monitor != "val/auc_ms_ssim":
                before = summary[monitor] if kept.best_model_score is None else float(kept.best_model_score)
                better = {"max": max, "min": min}[kept.mode]
                self.log(f"{monitor}_best", better(before, summary[monitor]))
        points = {f"val/{name}_{t:02d}": value for name, curve in curves.items() for t, value in enumerate(curve, 1)}
        self.log_dict(points)

    def on_validation_epoch_start(self) -> None:
        self.curve.reset()

    test_step = validation_step
    on_test_epoch_start = on_validation_epoch_start

    def on_test_epoch_end(self) -> None:
        self.log_dict(self._summary("test", self.curve.compute()))

    def _summary(self, stage: str, curves: dict[str, Array]) -> dict[str, float]:
        return {
            f"{stage}/{metric.summary}_{metric.name}": value for metric, value in self.curve.summary(curves).items()
        }

    def predict_step(self, image: Tensor, batch_index: int) -> Tensor:
        """The reconstructions after every iteration, `(iterations, B, 3, H, W)`."""
        if not len(image):
            return image[None]
        return torch.stack(self.codec(image).reconstructions)

    def configure_optimizers(self) -> Any:
        return configure(self.trainer, self.codec, self.hparams)

    def _iterations_now(self) -> int:
        early: int | None = self.hparams["early_iterations"]
        if early is not None and self.global_step < self.hparams["early_fraction"] * total_steps(self.trainer):
            return early
        return self.codec.config.iterations


class LSTMCompressor(Compressor):
    """Trains a codec of convolutional LSTMs."""

    unit = "lstm"


class AssociativeLSTMCompressor(Compressor):
    """Trains a codec with an LSTM encoder and an associative LSTM decoder."""

    unit = "associative_lstm"


class GRUCompressor(Compressor):
    """Trains a codec of convolutional GRUs."""

    unit = "gru"


class ResidualGRUCompressor(Compressor):
    """Trains a codec of the paper's residual GRUs."""

    unit = "residual_gru"


def warm_start(codec: RecurrentCodec, start: RecurrentCodec) -> None:
    """Gives `codec` the weights of `start`: the same network, or the same with shared projections or without the
    shortcut.

    Each iteration's projections start as the shared ones; a shortcut that `start` lacks keeps its zeros. Both codecs
    then reconstruct the same pictures. Raises `ValueError` when the networks differ in anything else.
    """
    given, wanted = start.state_dict(), codec.state_dict()
    state, used = {}, set()
    for name, value in wanted.items():
        shared = re.sub(r"\b(stem|head|conv)\.\d+\.", r"\1.", name)
        old = name if name in given else shared
        used.add(old)
        source = given.get(old, value if name.split(".")[1] in ("shortcut", "gate") else None)
        if source is None or source.shape != value.shape:
            there = "nothing" if source is None else tuple(source.shape)
            raise ValueError(
                f"cannot start from these weights: {name} is {tuple(value.shape)} in this network, {there} there"
            )
        state[name] = source
    if unused := sorted(given.keys() - used):
        raise ValueError(f"cannot start from these weights: this network has no {unused[0]}")
    codec.load_state_dict(state)
