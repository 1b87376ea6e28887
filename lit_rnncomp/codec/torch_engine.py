"""Any recurrent codec on any device, pictures and codes as arrays."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..images import tensor_to_uint8, to_signal
from ..models import loop
from ..models.recurrent_codec import RecurrentCodec
from .coders import Codes


class TorchEngine:
    """`RecurrentCodec` behind the interface of `NumpyCodec`; the network is put into evaluation mode and onto
    `device`. Raises `ValueError` when there is no such device."""

    def __init__(
        self, network: RecurrentCodec, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        try:
            self.network = network.eval().requires_grad_(False).to(device)
        except (RuntimeError, AssertionError) as error:  # torch has no one error for a device that is not there
            raise ValueError(f"device {device} cannot be used here: {error}; give cpu") from error
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
        chosen = None if choose is None else lambda t, codes: self._tensor(choose(t, _array(codes)))
        x = to_signal(torch.from_numpy(np.array(image)).to(self.device).permute(2, 0, 1)[None].to(self.dtype))
        for codes, estimate in self.network.encode(x, iterations, chosen):
            yield _array(codes), self._picture(estimate.value)

    @torch.inference_mode()
    def decode(self, codes: Iterable[Codes]) -> Iterator[Callable[[], NDArray[np.uint8]]]:
        """See `NumpyCodec.decode`."""
        for estimate in loop.decode(self.network, map(self._tensor, codes)):
            yield self._picture(estimate.value)

    def _tensor(self, codes: Codes) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(codes))[None].to(self.device, self.dtype)

    def _picture(self, coefficients: Tensor) -> Callable[[], NDArray[np.uint8]]:
        return torch.inference_mode()(lambda: tensor_to_uint8(self.network.frontend.synthesis(coefficients)))


def _array(codes: Tensor) -> Codes:
    return codes[0].to("cpu", torch.int8).numpy()
