"""The entropy model of ternary codes in torch, for training; `context_network` is what ships."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from . import ternary
from .context_network import LOGIT_UNIT, LOGITS, UNIT
from .lapped import BLOCK, TUNES, parts_of
from .numpy_place import PLACE
from .place import Place
from .rounded import RoundedConv2d, clipped, relu
from .ternary import EMBEDDINGS, PASSES, Bands


def levels(x: Tensor, t: Tensor) -> Tensor:
    """`ternary.levels` of coefficients `(B, C, h, w)`, before iterations `t` `(B,)`."""
    return torch.trunc(x * (torch.exp2(t - 1) / ternary.FIRST).reshape(-1, 1, 1, 1))


def codes(x: Tensor, t: Tensor) -> Tensor:
    """The codes of coefficients in iterations `t`."""
    return levels(x, t + 1) - 2 * levels(x, t)


def features(level: Tensor) -> tuple[Tensor, Tensor]:
    """The size of a level as a network sees it, in sixteenths, with the level's sign and without."""
    table = torch.from_numpy(ternary.magnitudes()).to(level) / UNIT
    size = table[level.abs().long()]
    return torch.sign(level) * size, size


class BandsModel(nn.Module):
    """Probabilities of the codes of one iteration from the levels before it, pass by pass.

    Args:
        bands: what is coded.
        channels: of all hidden layers, at most 116 (a 3x3 layer has to be exact in float32).
        blocks: residual blocks before the first pass.
        known_codes: whether a pass knows the codes of the passes before it.
        neighbours: whether it knows them of other blocks too, or of its own alone.
        places: whether it tells apart where in one of 16x16 a block lies.
    """

    def __init__(
        self,
        bands: Bands,
        channels: int = 64,
        blocks: int = 2,
        known_codes: bool = True,
        neighbours: bool = True,
        places: bool = False,
    ) -> None:
        super().__init__()
        self.bands, self.known_codes, self.neighbours = bands, known_codes, neighbours
        coefficients = bands.coefficients
        self.embedding = nn.Parameter(torch.zeros(len(TUNES), bands.iterations * EMBEDDINGS, channels))
        self.place = Place(channels) if places else None
        self.stem = RoundedConv2d(2 * coefficients, channels)
        self.wide = nn.ModuleList(RoundedConv2d(channels, channels, 3) for _ in range(blocks))
        self.back = nn.ModuleList(RoundedConv2d(channels, channels) for _ in range(blocks))
        sizes = [len(bands.groups[group]) for group, _ in PASSES]
        self.seen = nn.ModuleList(RoundedConv2d(2 * size, channels, bias=False) for size in sizes[:-1])
        self.mix = nn.ModuleList(RoundedConv2d(channels, channels, 3 if neighbours else 1) for _ in PASSES[:-1])
        self.merge = nn.ModuleList(RoundedConv2d(channels, channels) for _ in PASSES[:-1])
        self.head = nn.ModuleList(RoundedConv2d(channels, 2 * size) for size in sizes)
        if not known_codes:
            # They stay, so that all entropy models are of one shape, but nothing passes through them.
            for unused in (self.seen, self.mix, self.merge):
                unused.requires_grad_(False)
        self.own = RoundedConv2d(3 * coefficients, 2 * coefficients, bias=False, groups=coefficients)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name.startswith(("head", "own", "back", "merge")) and name.endswith("weight"):
                    parameter.mul_(0.3)
            for index, size in enumerate(sizes):
                bias = self.get_parameter(f"head.{index}.bias")
                bias.zero_()
                bias[:size] = -2

    def forward(
        self, level: Tensor, code: Tensor, embedding: Tensor, tune: Tensor, split: Tensor | None = None
    ) -> Tensor:
        """Bits that the codes cost, in each of the six passes. `(B, 6)`.

        `level`: `(B, C, h, w)` before the iteration; `code`: the same shape, in {-1, 0, 1}; `embedding`: `(B,)`, see
        `ternary.embedding`; `tune`: `(B,)`, an index into `TUNES`; `split`: of each block of 16x16,
        `(B, h / 2, w / 2)`.
        """
        hidden = self.stemmed(torch.cat(features(level), 1), embedding, tune, split)
        return self.passes(self.residual(hidden), level, code)

    def stemmed(self, seen: Tensor, embedding: Tensor, tune: Tensor, split: Tensor | None = None) -> Tensor:
        """The first layer, of what is seen of each coefficient, `(B, 2 C, h, w)`."""
        hidden = self.stem(seen) + self.embedding[tune, embedding][:, :, None, None]
        return relu(hidden if self.place is None else self.place(hidden, split))

    def residual(self, hidden: Tensor) -> Tensor:
        """The blocks before the first pass."""
        for wide, back in zip(self.wide, self.back, strict=True):
            hidden = clipped(hidden + back(relu(wide(hidden))))
        return hidden

    def passes(self, hidden: Tensor, level: Tensor, code: Tensor) -> Tensor:
        """Bits of the codes in each pass, from what is known before the first."""
        signed, size = features(level)
        known = (level != 0).to(level)
        own = self.own(torch.stack([signed, size, known], 2).flatten(1, 2)).unflatten(1, (self.bands.coefficients, 2))
        odd = torch.from_numpy(ternary.parity(*code.shape[2:])).to(level)
        bits = []
        for index, (group, parity) in enumerate(PASSES):
            chosen = torch.from_numpy(self.bands.groups[group]).to(level.device)
            sent = odd if parity else 1 - odd
            some, positive = self.head[index](hidden).chunk(2, 1)
            c = code[:, chosen]
            cost = _bits(some + own[:, chosen, 0], c != 0)
            cost = cost + _bits(positive + own[:, chosen, 1], c > 0) * c.abs() * (1 - known[:, chosen])
            bits.append((cost * sent).flatten(1).sum(1))
            if self.known_codes and index < len(PASSES) - 1:
                c = c * sent
                hidden = clipped(hidden + self.seen[index](torch.cat([c, c.abs()], 1)))
                hidden = clipped(hidden + self.merge[index](relu(self.mix[index](hidden))))
        return torch.stack(bits, 1)

    @torch.no_grad()
    def integers(self) -> dict[str, NDArray[Any]]:
        """The network as `ContextNetwork` wants it."""
        tensors = self.stem.integers("stem")
        unit = torch.exp2(self.stem.exponent()) * UNIT
        tensors["embedding"] = (self.embedding * unit).round().numpy().astype(np.int32)
        if self.place is not None:
            tensors[PLACE] = (self.place.table * unit).round().numpy().astype(np.int32)
        for name in ("wide", "back", "seen", "mix", "merge", "head"):
            for index, layer in enumerate(getattr(self, name)):
                tensors |= layer.integers(f"{name}.{index}")
        if not self.neighbours:
            # `ContextNetwork` has 3x3 kernels there: these have nothing around their centre.
            for index in range(len(self.mix)):
                centre = tensors[f"mix.{index}.weight"]
                tensors[f"mix.{index}.weight"] = np.pad(centre, ((1, 1), (centre.shape[1],) * 2, (0, 0)))
        if not self.known_codes:
            # `ContextNetwork` always adds what the codes before say: here nothing.
            silent = [name for name in tensors if name.startswith(("seen.", "merge.")) and "exponent" not in name]
            tensors |= {name: np.zeros_like(tensors[name]) for name in silent}
        coefficients = self.bands.coefficients
        tensors["own.weight"] = self.own.steps().reshape(coefficients, 2, 3).numpy().astype(np.int8)
        tensors["own.exponent"] = self.own.exponent().reshape(coefficients, 2).numpy().astype(np.int8)
        logits = (torch.arange(LOGITS, dtype=torch.float64) - LOGITS // 2) / LOGIT_UNIT
        tensors["probability"] = (65536 * torch.sigmoid(logits)).round().clamp(1, 65535).numpy().astype(np.int32)
        return tensors


class ContextModel(BandsModel):
    """The entropy model of a picture's ternary codes.

    Args:
        channels: see `BandsModel`, as the next three.
        blocks: see above.
        known_codes: see above.
        neighbours: see above.
        visual_power: of the `lapped.coefficient_weights` that it is for, as the next two.
        visual_ac: see above.
        visual_chroma: see above.
        stages: of the transform: with 2, DC coefficients are those of `dc_stage`, and `coarse` is the model of their
            codes, of the same shape.
        size: pixels a side of the transform's blocks, 8 or 16.
    """

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
        size: int = BLOCK,
    ) -> None:
        if stages not in (1, 2):
            raise ValueError(f"stages={stages} is neither 1 nor 2")
        super().__init__(ternary.bands(stages), channels, blocks, known_codes, neighbours, parts_of(size) > 1)
        self.stages, self.size = stages, size
        self.visual_power, self.visual_ac, self.visual_chroma = visual_power, visual_ac, visual_chroma
        options = (channels, blocks, known_codes, neighbours)
        self.coarse = BandsModel(ternary.coarse_bands(), *options) if stages == 2 else None

    @torch.no_grad()
    def integers(self) -> dict[str, NDArray[Any]]:
        own = super().integers()
        return own if self.coarse is None else own | {f"coarse.{k}": v for k, v in self.coarse.integers().items()}


def _bits(logit: Tensor, happens: Tensor) -> Tensor:
    return F.softplus(torch.where(happens, -logit, logit)) / math.log(2)
