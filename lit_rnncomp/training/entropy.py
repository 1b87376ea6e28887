"""The Lightning module of the entropy models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torchmetrics import Metric

from ..codec import entropy_weights, zoo
from ..codec import weights as codec_weights
from ..codec.entropy import EntropyCoder
from ..models.binary_rnn import BinaryRNN, BinaryRNNConfig
from . import sums
from .checkpoints import best_checkpoint
from .optimizers import OptimizerName, Schedule, configure, total_steps
from .starting import Starting


class BitsPerBit(Metric):
    """Estimated bits after coding for each bit of the code, iteration by iteration; adds up over pictures and
    processes."""

    bits: Tensor
    count: Tensor

    def __init__(self, iterations: int) -> None:
        super().__init__()
        self.add_state("bits", sums.zeros(iterations), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, information: Tensor) -> None:
        """`information`: `(B, T, bits, h, w)`, minus log2 of each bit's probability."""
        self.bits = sums.add(self.bits, information.sum((0, 2, 3, 4)))
        self.count = self.count + information[:, 0].numel()

    def compute(self) -> Tensor:
        return (sums.value(self.bits) / self.count.cpu()).to(self.bits)


class EntropyModel(Starting):
    """Trains a BinaryRNN to predict the codes of a frozen codec, and measures what is left of each bit.

    Batches are codes `(B, T, bits, h, w)` in {-1, +1}, see `EntropyData`. Logs `val/bits_per_bit` (1 is no gain; the
    best checkpoint has the least), `val/bits_per_bit_05` for iteration 5, and so on, in the integer arithmetic that
    ships; `test` also logs `test/rounding_loss`, by how much that exceeds float arithmetic.

    Args:
        codec: checkpoint, weights file or shipped model whose binary codes are to be coded.
        width: channels of the line LSTM and of most layers; 64 is the paper.
        state: channels of the layer state; 32 in Google's code.
        progressive: code an iteration knowing the iterations before it.
        wiring: released (Google's training code) or paper (Fig. 4).
        line: lstm (the paper), or conv: no memory down the rows, cheaper.
        shared: one set of weights for all iterations, or one for each (the paper).
        round_from: fraction of the training steps after which weights and activations are rounded as in the integer
            model; 0 from the start, 1 never (the exported model is rounded all the same).
        optimizer: adam, adamw, sgd or muon.
        lr: learning rate.
        eps: Adam's epsilon.
        weight_decay: decoupled weight decay of adamw and muon.
        schedule: constant, linear or cosine, to `final_lr` times `lr` at the last step; or wsd: constant, then linear
            to `final_lr` in the last `decay` of the steps, so that a run can be continued with another length.
        warmup: steps of linear warm-up.
        final_lr: fraction of `lr` left at the end of the schedule.
        decay: of wsd, see `schedule`.
        weights: start from an entropy model of the same shape (.ckpt), such as that of an earlier state of the codec.
    """

    config_key = entropy_weights.CONFIG_KEY

    def __init__(
        self,
        codec: str,
        width: int = 64,
        state: int = 32,
        progressive: bool = True,
        wiring: Literal["released", "paper"] = "released",
        line: Literal["lstm", "conv"] = "lstm",
        shared: bool = True,
        round_from: float = 0.7,
        optimizer: OptimizerName = "adam",
        lr: float = 3e-3,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        schedule: Schedule = "cosine",
        warmup: int = 20,
        final_lr: float = 0.02,
        decay: float = 0.2,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if not 0 <= round_from <= 1:
            raise ValueError(f"round_from={round_from} is outside [0, 1]")
        served = codec_weights.load_binary(zoo.find(codec)).config
        config = BinaryRNNConfig(
            bits=served.bits,
            iterations=served.iterations,
            width=width,
            state=state,
            progressive=progressive,
            wiring=wiring,
            line=line,
            shared=shared,
        )
        self.model = BinaryRNN(config)
        self.rounded, self.exact = BitsPerBit(config.iterations), BitsPerBit(config.iterations)
        self.step_values: dict[str, Tensor] = {}  # what `Agreement` logs

    def start_from(self, weights: str) -> None:
        if not Path(weights).is_file():
            raise FileNotFoundError(f"no such entropy model: {weights}")
        start = entropy_weights.load_binary_rnn(Path(weights))
        if start.config != self.model.config:
            raise ValueError(
                f"cannot start from {weights}: its entropy model is {start.config}, this one {self.model.config}"
            )
        self.model.load_state_dict(start.state_dict())

    def described(self) -> dict[str, Any]:
        return EntropyCoder.from_model(self.model).config

    def forward(self, codes: Tensor) -> Tensor:
        return self.model(codes)

    def training_step(self, codes: Tensor, batch_index: int) -> Tensor:
        self.model.quantized = self.global_step >= self.hparams["round_from"] * total_steps(self.trainer)
        bits_per_bit = self.information(codes).mean()
        self.step_values = {"train/bits_per_bit": bits_per_bit.detach()}
        return bits_per_bit

    def information(self, codes: Tensor) -> Tensor:
        """Bits that each of `codes` costs, in its shape."""
        with torch.autocast(codes.device.type, enabled=False):  # its integers have more digits than bfloat16
            return information(self.model(codes), codes)

    def on_validation_epoch_start(self) -> None:
        self.rounded.reset()

    def validation_step(self, codes: Tensor, batch_index: int) -> None:
        if not len(codes):  # a process may have no picture
            return
        self.model.quantized = True
        self.rounded.update(self.information(codes))

    def on_validation_epoch_end(self) -> None:
        self._log("val")

    def on_test_epoch_start(self) -> None:
        self.rounded.reset()
        self.exact.reset()

    def test_step(self, codes: Tensor, batch_index: int) -> None:
        self.validation_step(codes, batch_index)
        if not len(codes):
            return
        self.model.quantized = False
        self.exact.update(self.information(codes))

    def on_test_epoch_end(self) -> None:
        self._log("test")
        self.log("test/rounding_loss", self.rounded.compute().mean() / self.exact.compute().mean() - 1)

    def configure_callbacks(self) -> Sequence[Callback] | Callback:
        """Keeps the checkpoint with the fewest bits in all, in place of the one that a codec's run keeps."""
        return best_checkpoint("val/bits_per_bit", "min")

    def configure_optimizers(self) -> Any:
        return configure(self.trainer, self.model, self.hparams)

    def _log(self, stage: str) -> None:
        rates = self.rounded.compute()
        self.log(f"{stage}/bits_per_bit", rates.mean(), prog_bar=True)
        self.log_dict({f"{stage}/bits_per_bit_{t:02d}": rate for t, rate in enumerate(rates, 1)})


def information(logits: Tensor, codes: Tensor) -> Tensor:
    """Minus log2 of the probability that the model gives to each bit of `codes` in {-1, +1}, in its shape."""
    return F.softplus(-logits * codes) / math.log(2)
