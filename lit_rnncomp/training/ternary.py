"""What training the two networks of ternary codes shares: their entropy model, and the network that decodes them.

Each learns from single iterations of random crops: coefficients of a random tune and scale, before or after a random
iteration. The thresholds are fixed, so no iteration depends on weights, and none has to be unrolled to reach another.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from ..models import lapped
from ..models.context_model import codes, levels
from ..models.dc_stage import DC
from ..models.frontend import DCStage, LappedDCT
from ..models.numpy_place import PARTS, PLACE
from ..models.place import spread
from ..models.split import FINENESS, KNEE, PRICE, costs
from ..models.ternary import EMBEDDINGS, FIRST, SCALES
from .checkpoints import best_checkpoint
from .optimizers import configure
from .rate_distortion import PictureMeans
from .starting import Starting

# How often each iteration is drawn: most often those of half a bit to two bits per pixel.
DRAWN = (0.02, 0.03, 0.05, 0.08, 0.12, 0.15, 0.17, 0.17, 0.12, 0.06, 0.03)
# How many iterations after the one that is drawn a file may have, as often each.
_LATER = 2
# Validation goes no further: with the next threshold, 4, most pictures need more than two bits per pixel.
VALIDATED = 9

_BLOCK = re.compile(r"(?:coarse\.|filter\.)?(wide|back)\.")


class Sample(NamedTuple):
    """What is coded: coefficients `x` `(B, 192, h, w)`, weighted and scaled; their iterations `t`, their `tune` and
    which `embedding` a network is to use, all `(B,)`; by what they were multiplied, `weight` `(B, 192, 1, 1)`; the
    thresholds before weights, `step` `(B, 1, 1, 1)`; with two stages of the transform the second's coefficients `(B,
    48, h / 4, w / 4)`; with blocks of 16x16 which of them are split, `(B, h / 2, w / 2)`."""

    x: Tensor
    t: Tensor
    tune: Tensor
    embedding: Tensor
    weight: Tensor
    step: Tensor
    coarse: Tensor | None
    split: Tensor | None


class TernaryTraining(Starting):
    """What the two modules share; batches are pictures `(B, 3, H, W)` in [-1, 1], sides multiples of the
    transform's `size`."""

    monitor: ClassVar[tuple[str, str]]
    network: nn.Module
    config: dict[str, Any]
    tune_weights: Tensor
    costs: Tensor

    def __init__(self, validated: Sequence[str], weighting: dict[str, float], stages: int, size: int) -> None:
        super().__init__()
        self.stages = stages
        self.dc_stage = DCStage()
        self.means = PictureMeans(validated)
        self.frontend = LappedDCT(size=size)
        table = torch.tensor(lapped.coefficient_weights(**weighting, size=size)).float()[:, :, None, None]
        self.register_buffer("tune_weights", table, persistent=False)
        self.register_buffer("costs", torch.from_numpy(costs()), persistent=False)
        self.step_values: dict[str, Tensor] = {}  # what `Agreement` logs

    @abstractmethod
    def start(self, path: Path) -> nn.Module:
        """The network of an earlier run's checkpoint."""

    def started(self, network: nn.Module) -> dict[str, Tensor]:
        """The weights to start from, of a network from a checkpoint. A filter, residual blocks and places in blocks of
        16x16 that it lacks start as nothing."""
        state = network.state_dict()
        filtered = any(name.startswith("filter.") for name in state)
        for name, own in self.network.state_dict().items():
            if name in state:
                continue
            if (name.startswith("filter.") and not filtered) or name == PLACE:
                state[name] = own
            elif block := _BLOCK.match(name):
                state[name] = torch.zeros_like(own) if block[1] == "back" else own
        return state

    def start_from(self, weights: str) -> None:
        if not Path(weights).is_file():
            raise FileNotFoundError(f"no such checkpoint: {weights}")
        try:
            self.network.load_state_dict(self.started(self.start(Path(weights))))
        except RuntimeError as error:
            raise ValueError(f"cannot start from {weights}: its network has another shape") from error

    def described(self) -> dict[str, Any]:
        return self.config

    def on_validation_epoch_start(self) -> None:
        self.means.reset()

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.means.compute())

    def configure_callbacks(self) -> Sequence[Callback] | Callback:
        """Keeps the best checkpoint by what this network is for, in place of the one that a codec's run keeps."""
        return best_checkpoint(*self.monitor)

    def configure_optimizers(self) -> Any:
        return configure(self.trainer, self.network, self.hparams)

    def sample(self, image: Tensor) -> Sample:
        """Coefficients of pictures with a scale and an iteration drawn for each; their tunes take turns."""
        count, device = len(image), image.device
        tune = torch.zeros(count, dtype=torch.int64, device=device)
        tune[self.visual] = lapped.TUNES.index("visual")
        scale = torch.randint(SCALES, (count,), device=device)
        t = torch.multinomial(torch.tensor(DRAWN, device=device), count, replacement=True)
        last = t + torch.randint(_LATER + 1, (count,), device=device)
        return self.coefficients(image, t, tune, scale, last)

    @property
    def visual(self) -> slice:
        """Which pictures of a batch are of tune visual: every other one, in the next step the others."""
        return slice((self.global_step + 1) % 2, None, 2)

    def coefficients(self, image: Tensor, t: Tensor, tune: Tensor, scale: Tensor, last: Tensor) -> Sample:
        """What a file of a tune and scale that ends after iteration `last` codes of each picture in iteration `t`; all
        `(B,)`."""
        size = self.frontend.size
        if image.shape[2] % size or image.shape[3] % size:
            raise ValueError(
                f"pictures of {image.shape[3]}x{image.shape[2]} are not whole blocks of size={size}: give data.patch "
                f"and data.multiple multiples of {size}"
            )
        factor = torch.exp2(scale / SCALES).reshape(-1, 1, 1, 1)
        weight = self.tune_weights[tune] * factor
        x, split = self.transformed(image, weight, threshold(last))
        coarse = self.dc_stage.analysis(x[:, DC]) if self.stages == 2 else None
        embedding = t * EMBEDDINGS + scale * EMBEDDINGS // SCALES
        return Sample(x, t, tune, embedding, weight, threshold(t) / factor, coarse, split)

    def transformed(self, image: Tensor, weight: Tensor, last: Tensor) -> tuple[Tensor, Tensor | None]:
        """Weighted coefficients of pictures whose files end with these thresholds, and which blocks of 16x16 are
        split."""
        if self.frontend.parts == 1:
            return self.frontend.analysis(image) * weight, None
        whole, quarters = (x * weight for x in self.frontend.both(image))
        split = self.cost(quarters, last) + PRICE < self.cost(whole, last)
        return torch.where(spread(split)[:, None], quarters, whole), split

    def cost(self, x: Tensor, last: Tensor) -> Tensor:
        """As `split.chosen` has it, of each block of 16x16. `(B, h / 2, w / 2)`."""
        size = (x.abs() * (FINENESS / (KNEE * last))).clamp_max(len(self.costs) - 1)
        rows = self.costs[size.int()].sum(1).unflatten(2, (-1, PARTS)).sum(3)
        return rows.unflatten(1, (-1, PARTS)).sum(2)

    def sent(self, sample: Sample) -> tuple[Tensor, Tensor]:
        """What the entropy model sees of a sample, levels before its iteration, and the codes of the iteration;
        `(B, 192, h, w)`."""
        level, code = levels(sample.x, sample.t), codes(sample.x, sample.t)
        if (dc := self.known_dc(sample)) is not None:
            level[:, DC], code[:, DC] = seen(dc), 0
        return level, code

    def known(self, sample: Sample, level: Tensor) -> tuple[Tensor, Tensor]:
        """What the decoder sees of a sample whose levels are these, and the middles of their intervals, in
        thresholds."""
        dc = self.known_dc(sample)
        if dc is not None:
            level[:, DC] = seen(dc)
        centre = middle(level)
        if dc is not None:
            centre[:, DC] = dc
        return level, centre

    def known_dc(self, sample: Sample) -> Tensor | None:
        """With two stages what is known of DC coefficients after the iteration, in thresholds. `(B, 3, h, w)`."""
        if sample.coarse is None:
            return None
        known = middle(levels(sample.coarse, sample.t + 1))
        return self.dc_stage.synthesis(known, *sample.x.shape[2:])

    def at(self, image: Tensor, t: int, tune: str, last: int | None = None) -> Sample:
        """As `coefficients`, of pictures in iteration `t` of a file of scale 0 that ends with `last`, or with `t`."""
        zero = torch.zeros(len(image), dtype=torch.int64, device=image.device)
        end = zero + (t if last is None else last)
        return self.coefficients(image, zero + t, zero + lapped.TUNES.index(tune), zero, end)


def threshold(t: Tensor) -> Tensor:
    """T_t of iterations `(B,)`, `(B, 1, 1, 1)`."""
    return (FIRST / torch.exp2(t)).reshape(-1, 1, 1, 1)


def middle(level: Tensor) -> Tensor:
    """The middle of each level's interval, in thresholds."""
    return level + 0.5 * torch.sign(level)


def seen(dc: Tensor) -> Tensor:
    """What networks see of DC coefficients that are known from a second stage, as levels."""
    return dc.round()
