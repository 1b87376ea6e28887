"""The Lightning modules of the networks of ternary codes that carry a state: each crop is unrolled over all
iterations.

They are for comparison (`compare_ternary`), by `fit --model lit_rnncomp.training.recurrent_ternary.NAME`; no file is
made with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ..models import lapped
from ..models.context_model import codes, levels
from ..models.recurrent_ternary import Fed, RecurrentContextModel, RecurrentRefiner
from ..models.ternary import ITERATIONS, SCALES
from .ternary import DRAWN, VALIDATED, Sample, TernaryTraining, middle
from .ternary_decoder import Refinement, TernaryDecoder, relative_error
from .ternary_entropy import LEAST_BITS, TernaryEntropyModel

# Options of the others that have these values here: a state carries nothing of a second stage.
_PLAIN = {"stages": 1, "size": 8, "visual_ac": 1, "visual_chroma": 1, "filter_channels": 0}


class RecurrentTernaryEntropyModel(TernaryEntropyModel):
    """Trains an entropy model of ternary codes with a state. The loss weighs iterations as drawing them would.

    Args:
        fed: what the state is fed with in each iteration: the `levels` before it, or the `codes` of the last one alone.
        options: of `TernaryEntropyModel`; `weights` are of none, `size` is 8, `stages`, `visual_ac` and `visual_chroma`
            are 1.
    """

    config_key = "recurrent_context_config"
    network: RecurrentContextModel

    def __init__(self, fed: Fed = "levels", **options: Any) -> None:
        super().__init__(**_plain(options))
        for name in _PLAIN:
            self.config.pop(name, None)
        self.config["fed"] = fed
        self.network = RecurrentContextModel(**self.config)

    def training_step(self, image: Tensor, batch_index: int) -> Tensor:
        bpp = torch.stack([self._bpp(bits, image) for bits in self._unrolled(image, ITERATIONS)], 1)
        t = torch.arange(ITERATIONS, device=image.device)
        self.follow(self.mean_bits, t.repeat(len(image)), bpp.detach().flatten())
        drawn = torch.tensor(DRAWN, device=image.device)
        self.step_values = {"train/bpp": (bpp.mean(0) * drawn).sum().detach()}
        return ((bpp / (self.mean_bits + LEAST_BITS)).mean(0) * drawn).sum()

    def rates(self, image: Tensor, tune: str) -> Tensor:
        return torch.stack([self._bpp(bits, image) for bits in self._unrolled(image, VALIDATED, tune)], 1)

    def _unrolled(self, image: Tensor, iterations: int, tune: str | None = None) -> Iterator[Tensor]:
        """Bits of each iteration, `(B,)`."""
        state, last = None, None
        for sample in in_order(self, image, iterations, tune):
            level, code = levels(sample.x, sample.t), codes(sample.x, sample.t)
            last = torch.zeros_like(code) if last is None else last
            with torch.autocast(level.device.type, enabled=False):
                bits, state = self.network.step(level, last, code, sample.embedding, sample.tune, state)
            last = code
            yield bits.sum(1)

    def _bpp(self, bits: Tensor, image: Tensor) -> Tensor:
        return bits / (image.shape[2] * image.shape[3])


class RecurrentTernaryDecoder(TernaryDecoder):
    """Trains a decoder of ternary codes with a state. The loss weighs iterations as drawing them would.

    Args:
        options: of `TernaryDecoder`; `weights` are of none, `size` is 8, `stages`, `visual_ac` and `visual_chroma` are
            1, and no filter follows.
    """

    config_key = "recurrent_refiner_config"
    network: RecurrentRefiner

    def __init__(self, **options: Any) -> None:
        super().__init__(**_plain(options))
        for name in _PLAIN:
            self.config.pop(name, None)
        self.network = RecurrentRefiner(**self.config)

    def training_step(self, image: Tensor, batch_index: int) -> Tensor:
        errors = torch.stack([relative_error(*part).mean() for part in self._unrolled(image, ITERATIONS)])
        loss = (errors * torch.tensor(DRAWN, device=image.device)).sum()
        self.step_values = {"train/relative_error": loss.detach()}
        return loss

    def refinements(
        self, image: Tensor, iterations: Sequence[int], tune: str, last: int | None = None
    ) -> Iterator[Refinement]:
        for t, part in enumerate(self._unrolled(image, max(iterations) + 1, tune)):
            if t in iterations:
                yield part

    def _unrolled(self, image: Tensor, iterations: int, tune: str | None = None) -> Iterator[Refinement]:
        state = None
        for sample in in_order(self, image, iterations, tune):
            level = levels(sample.x, sample.t + 1)
            added, state = self.network.step(level, sample.embedding, sample.tune, state)
            yield Refinement(sample, middle(level), added.to(sample.x))


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Raises `ValueError` for options that networks with a state do not have."""
    for name, value in _PLAIN.items():
        if options.get(name, value) != value:
            raise ValueError(f"{name}={options[name]}: networks with a state are trained with {name}={value} alone")
    return options


def in_order(module: TernaryTraining, image: Tensor, iterations: int, tune: str | None) -> Iterator[Sample]:
    """The iterations of one file of each picture: of scale 0 with this `tune`, or of drawn ones."""
    count, device = len(image), image.device
    zero = torch.zeros(count, dtype=torch.int64, device=device)
    if tune is None:
        tunes = torch.randint(len(lapped.TUNES), (count,), device=device)
        scale = torch.randint(SCALES, (count,), device=device)
    else:
        tunes, scale = zero + lapped.TUNES.index(tune), zero
    for t in range(iterations):
        yield module.coefficients(image, zero + t, tunes, scale, zero + iterations - 1)
