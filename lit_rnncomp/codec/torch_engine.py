"""Any recurrent codec on any device, pictures and codes as arrays."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import rnncomp_kernels as ops

from ..models import RecurrentCodec
from .coders import Codes


class TorchEngine:
    """`RecurrentCodec` behind the interface of `NumpyCodec`; the network is put into evaluation mode and onto `device`."""

    def __init__(self, network: RecurrentCodec, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self.network = network.eval().requires_grad_(False).to(device)
        self.config = network.config
        self.device, self.dtype = torch.device(device), dtype

    def exact(self) -> TorchEngine:
        """The same network in float64."""
        return TorchEngine(copy.deepcopy(self.network).double(), self.device, torch.float64)

    @torch.inference_mode()
    def encode(
        self, image: NDArray[np.uint8], iterations: int, choose: Callable[[int, Codes], Codes] | None = None
    ) -> Iterator[tuple[Codes, Callable[[], NDArray[np.uint8]]]]:
        """See `NumpyCodec.encode`; sides are multiples of `config.multiple`."""

        def chosen(t: int, activation: Tensor) -> Tensor:
            assert choose is not None
            return self._tensor(choose(t, _array(ops.binarize(activation))))

        x = torch.from_numpy(np.array(image)).to(self.device).permute(2, 0, 1)[None].to(self.dtype) / 127.5 - 1
        for step in self.network.encode(x, iterations, chosen if choose else None):
            yield _array(step.codes), self._picture(step.coefficients)

    @torch.inference_mode()
    def decode(self, codes: Iterable[Codes]) -> Iterator[Callable[[], NDArray[np.uint8]]]:
        """See `NumpyCodec.decode`."""
        for coefficients in self.network.decode_coefficients(self._tensor(code) for code in codes):
            yield self._picture(coefficients)

    def _tensor(self, codes: Codes) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(codes))[None].to(self.device, self.dtype)

    def _picture(self, coefficients: Tensor) -> Callable[[], NDArray[np.uint8]]:
        return torch.inference_mode()(lambda: to_uint8(self.network.frontend.synthesis(coefficients)))


def to_uint8(x: Tensor) -> NDArray[np.uint8]:
    """`(1, 3, h, w)` float, nominally in [-1, 1], to `(h, w, 3)` uint8, rounded and clipped."""
    scaled = ((x[0] + 1) * 127.5).round_().clamp_(0, 255).to(torch.uint8)
    return np.ascontiguousarray(scaled.permute(1, 2, 0).cpu().numpy())


def _array(codes: Tensor) -> Codes:
    return codes[0].to("cpu", torch.int8).numpy()
