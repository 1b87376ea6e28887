"""A recurrent codec in torch: what the iteration loop runs on in training, and everywhere but for what ships on a
CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from . import loop
from .binarizer import Binarizer
from .cells import Convolve, convolve_now
from .config import CodecConfig
from .deferred import DeferredGradients
from .frontend import make_frontend
from .loop import Estimate, Iteration
from .networks import Decoder, Encoder
from .reconstruction import make_reconstruction


class CodecOutput(NamedTuple):
    """The unrolled network, one entry an iteration: `codes`, `reconstructions` and `residuals` (both `(B, 3, H,
    W)`)."""

    codes: list[Tensor]
    reconstructions: list[Tensor]
    residuals: list[Tensor]


class RecurrentCodec(nn.Module):
    """Any unit in any reconstruction framework; pictures are `(B, 3, H, W)` float in [-1, 1].

    Height and width must be multiples of `config.multiple`. What trains and what ships are this one module. Set
    `recompute` to train with the memory of one iteration's activations, running each network once more in the backward
    pass; `compile_networks` to train through `torch.compile`; `defer_gradients` to make weight gradients once a step
    (`kernels/README.md`), which the other two keep from working.
    """

    def __init__(self, config: CodecConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CodecConfig()
        self.frontend = make_frontend(config)
        self.encoder = Encoder(config)
        self.binarizer = Binarizer(self.encoder.out_channels, config)
        self.decoder = Decoder(config)
        self.reconstruction = make_reconstruction(config, self.frontend.stride)
        self.recompute = False
        self.defer_gradients = False
        self._convolve: Convolve = convolve_now
        self._train_network: Callable = _call

    def compile_networks(self, **options: Any) -> None:
        """From now on train through `torch.compile(**options)`; names of weights and everything outside training stay
        as they are."""
        # One function serves both networks: their shapes differ, which must not be taken for a shape that changes.
        self._train_network = torch.compile(_call, dynamic=False, **options)

    def forward(self, image: Tensor, iterations: int | None = None) -> CodecOutput:
        """Unroll `iterations` (None: all) over `image`.

        Raises `ValueError` when the size of `image` or the number of iterations does not fit the network.
        """
        output = CodecOutput([], [], [])
        for step in self.encode(image, iterations):
            reconstruction = self.picture(step.estimate)
            output.codes.append(step.codes)
            output.reconstructions.append(reconstruction)
            output.residuals.append(image - reconstruction)
        return output

    def encode(
        self,
        image: Tensor,
        iterations: int | None = None,
        choose: Callable[[int, Tensor], Tensor] | None = None,
        truncate: int | None = None,
    ) -> Iterator[Iteration]:
        """Encode iteration by iteration, lazily: see `loop.encode`. Codes are `(B, bits, H / code_stride, W /
        code_stride)` in {-1, +1}, or {-1, 0, +1} where `config.codes` is "ternary".

        Raises `ValueError` as `forward` does.
        """
        self._check(image, iterations)
        self._convolve = self._begin()
        steps = loop.encode(self, image, iterations or self.config.iterations, choose, truncate)
        return self._followed(steps) if self.training else steps

    def decode(self, codes: Iterable[Tensor]) -> Iterator[Tensor]:
        """The reconstruction `(B, 3, H, W)` after each of the codes, lazily; not clipped to [-1, 1]."""
        self._convolve = self._begin()
        return map(self.picture, loop.decode(self, codes))

    def picture(self, estimate: Estimate) -> Tensor:
        """The reconstruction `(B, 3, H, W)`; not clipped to [-1, 1]."""
        return self.frontend.synthesis(estimate.drawn)

    # What follows is `loop.Layers`.

    def analysis(self, image: Tensor) -> Tensor:
        return self.frontend.analysis(image)

    def gain(self, estimate: Estimate) -> Tensor | float | None:
        return self.reconstruction.gain(estimate, self.frontend.synthesis)

    def observe(self, t: int, residual: Tensor) -> None:
        if self.training:
            self.reconstruction.observe(t, residual.detach())

    def _followed(self, steps: Iterator[Iteration]) -> Iterator[Iteration]:
        yield from steps
        self.reconstruction.follow()

    def run_encoder(self, scaled: Tensor, states: list | None, t: int) -> tuple[Tensor, list]:
        return self._run(self.encoder, scaled, states, t)

    def activation(self, features: Tensor, scaled: Tensor, t: int) -> Tensor:
        return self.binarizer.activation(features, scaled, t, self._convolve)

    def binarize(self, activation: Tensor, estimate: Estimate) -> Tensor:
        return self.binarizer(activation)

    def run_decoder(self, codes: Tensor, states: list | None, t: int) -> tuple[Tensor, list]:
        return self._run(self.decoder, codes, states, t)

    def detach(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.detach()
        return type(value)(map(self.detach, value)) if isinstance(value, (list, tuple)) else value

    def _run(self, network: Encoder | Decoder, x: Tensor, states: list | None, t: int) -> tuple[Tensor, list]:
        """With `recompute` only the inputs are kept for the backward pass, which runs the network again."""
        if not (self.training and torch.is_grad_enabled()):
            return network(x, states, t)
        if self._convolve is not convolve_now:
            return network(x, states, t, self._convolve)
        if self.recompute:
            return checkpoint(self._train_network, network, x, states, t, use_reentrant=False)
        return self._train_network(network, x, states, t)

    def _begin(self) -> Convolve:
        """How the convolutions of a loop that begins now are run: in training with deferred gradients, if asked for.

        Not with `recompute`, which would keep for the weights what it does not keep for the inputs, and not in compiled
        networks, which make all their gradients themselves.
        """
        trains = self.training and torch.is_grad_enabled()
        possible = not self.recompute and self._train_network is _call
        return DeferredGradients() if self.defer_gradients and trains and possible else convolve_now

    def _check(self, image: Tensor, iterations: int | None) -> None:
        multiple = self.config.multiple
        if (
            image.ndim != 4
            or image.shape[1] != 3
            or image.shape[2] % multiple
            or image.shape[3] % multiple
            or image.numel() == 0
        ):
            raise ValueError(
                f"image of shape {tuple(image.shape)}: expected (B, 3, H, W), H and W positive multiples of {multiple}"
            )
        if iterations is not None and not 1 <= iterations <= self.config.iterations:
            raise ValueError(
                f"iterations={iterations} is outside 1..{self.config.iterations}, what this network is made for"
            )


def _call(network: Encoder | Decoder, x: Tensor, states: list | None, t: int) -> tuple[Tensor, list]:
    return network(x, states, t)
