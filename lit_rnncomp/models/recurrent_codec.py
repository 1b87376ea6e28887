"""The iteration loop of section 2: residual, encoder, bits, decoder, reconstruction, residual, ..."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .binarizer import Binarizer
from .config import CodecConfig
from .frontend import BlockDCT, Frontend
from .networks import Decoder, Encoder
from .reconstruction import ResidualScaling, make_reconstruction


class Iteration(NamedTuple):
    """What one iteration yields.

    `codes`: `(B, bits, H / code_stride, W / code_stride)` in {-1, +1}. `coefficients`: the reconstruction in the front end's domain.
    """

    codes: Tensor
    coefficients: Tensor


class CodecOutput(NamedTuple):
    """The unrolled network, one entry an iteration: `codes`, `reconstructions` and `residuals` (both `(B, 3, H, W)`)."""

    codes: list[Tensor]
    reconstructions: list[Tensor]
    residuals: list[Tensor]


class RecurrentCodec(nn.Module):
    """Any unit in any reconstruction framework; pictures are `(B, 3, H, W)` float in [-1, 1].

    Height and width must be multiples of `config.multiple`. What trains and what ships are this one module. Set `recompute` to train
    with the memory of one iteration's activations, running each network once more in the backward pass; `compile_networks` to train
    through `torch.compile`.
    """

    def __init__(self, config: CodecConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CodecConfig()
        self.frontend: Frontend = BlockDCT() if config.frontend == "dct" else Frontend()
        self.encoder = Encoder(config)
        self.binarizer = Binarizer(self.encoder.out_channels, config)
        self.decoder = Decoder(config)
        self.reconstruction = make_reconstruction(config, self.frontend.stride)
        self.recompute = False
        self._train_network: Callable = _call

    def compile_networks(self, **options: Any) -> None:
        """From now on train through `torch.compile(**options)`; names of weights and everything outside training stay as they are."""
        # One function serves both networks: their shapes differ, which must not be taken for a shape that changes.
        self._train_network = torch.compile(_call, dynamic=False, **options)

    def forward(self, image: Tensor, iterations: int | None = None) -> CodecOutput:
        """Unroll `iterations` (None: all) over `image`.

        Raises `ValueError` when the size of `image` or the number of iterations does not fit the network.
        """
        output = CodecOutput([], [], [])
        for step in self.encode(image, iterations):
            reconstruction = self.frontend.synthesis(step.coefficients)
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
        """Encode iteration by iteration, lazily. `choose(t, activation)` takes the binarizer's place: it makes codes `(B, bits, h, w)` in
        {-1, +1} of what the binarizer would take the sign of.

        After every `truncate` iterations gradients are cut: what comes later does not flow back into them.
        """
        self._check(image, iterations)
        target = self.frontend.analysis(image)
        residual, states, estimate = target, None, _Estimate(self)
        for t in range(iterations or self.config.iterations):
            gain = estimate.gain()
            scaled = residual if gain is None else residual * gain
            if self.training:
                self.reconstruction.observe(t, residual.detach())
            if t == 0:
                for _ in range(self.config.priming):
                    _, states = self._run(self.encoder, scaled, states, t)
            features, states = self._run(self.encoder, scaled, states, t)
            activation = self.binarizer.activation(features, scaled, t)
            codes = self.binarizer(activation) if choose is None else choose(t, activation)
            residual = target - estimate.advance(codes, gain)
            yield Iteration(codes, estimate.coefficients)
            if truncate and (t + 1) % truncate == 0:
                residual, states = residual.detach(), _detached(states)
                estimate.detach()

    def decode(self, codes: Iterable[Tensor]) -> Iterator[Tensor]:
        """The reconstruction `(B, 3, H, W)` after each of the codes, lazily; not clipped to [-1, 1]."""
        for coefficients in self.decode_coefficients(codes):
            yield self.frontend.synthesis(coefficients)

    def decode_coefficients(self, codes: Iterable[Tensor]) -> Iterator[Tensor]:
        """As `decode`, in the front end's domain: the last transform need not be paid for pictures nobody looks at."""
        estimate = _Estimate(self)
        for code in codes:
            yield estimate.advance(code, estimate.gain())

    def _run(self, network: Encoder | Decoder, x: Tensor, states: list | None, t: int) -> tuple[Tensor, list]:
        """One run of one network. With `recompute` only its inputs are kept for the backward pass, which runs it again."""
        if not (self.training and torch.is_grad_enabled()):
            return network(x, states, t)
        if self.recompute:
            return checkpoint(self._train_network, network, x, states, t, use_reentrant=False)
        return self._train_network(network, x, states, t)

    def _check(self, image: Tensor, iterations: int | None) -> None:
        multiple = self.config.multiple
        if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] % multiple or image.shape[3] % multiple or image.numel() == 0:
            raise ValueError(f"image of shape {tuple(image.shape)}: expected (B, 3, H, W), H and W positive multiples of {multiple}")
        if iterations is not None and not 1 <= iterations <= self.config.iterations:
            raise ValueError(f"iterations={iterations} is outside 1..{self.config.iterations}, what this network is made for")


class _Estimate:
    """The half of the loop that encoder and decoder share: the reconstruction so far, from the codes alone."""

    def __init__(self, codec: RecurrentCodec) -> None:
        self.codec = codec
        self.t = 0
        self.states: list | None = None
        self.coefficients = torch.zeros(())
        self.previous: Tensor | None = None

    def gain(self) -> Tensor | None:
        """By what the residual is multiplied in this iteration; None for 1."""
        framework, synthesis = self.codec.reconstruction, self.codec.frontend.synthesis
        if not isinstance(framework, ResidualScaling):
            return framework.gain(self.t)
        if self.t == 0:
            return None
        last = self.coefficients
        if not framework.from_reconstruction and self.previous is not None:
            last = last - self.previous
        return framework.gain(self.t, synthesis(last))

    def advance(self, codes: Tensor, gain: Tensor | None) -> Tensor:
        """Run the decoder once; returns the new reconstruction in the front end's domain."""
        if self.t == 0:
            for _ in range(self.codec.config.priming):
                _, self.states = self.codec._run(self.codec.decoder, codes, self.states, self.t)
        output, self.states = self.codec._run(self.codec.decoder, codes, self.states, self.t)
        if gain is not None:
            output = output / gain
        self.previous = self.coefficients if self.t and self.codec.reconstruction.additive else None
        self.coefficients = output if self.previous is None else self.previous + output
        self.t += 1
        return self.coefficients

    def detach(self) -> None:
        """Cut gradients to all iterations so far."""
        self.coefficients, self.states = self.coefficients.detach(), _detached(self.states)
        self.previous = None if self.previous is None else self.previous.detach()


def _call(network: Encoder | Decoder, x: Tensor, states: list | None, t: int) -> tuple[Tensor, list]:
    return network(x, states, t)


def _detached(states: list | None) -> list | None:
    return None if states is None else [s.detach() if isinstance(s, Tensor) else tuple(part.detach() for part in s) for s in states]
