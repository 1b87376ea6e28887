"""The iteration loop of section 2.2, once for every engine: residual, encoder, bits, decoder, estimate, residual, ...

With `x` the picture and an estimate `x_0 = 0` of it, iteration `t` makes the codes `b_t` and the next estimate:

    b_t = B(E_t(g_t (x - x_{t-1})))        x_t = D_t(b_t) / g_t + gamma x_{t-1}        (equations 1 and 16 to 19)

The encoder E and the decoder D remember; gamma is 0 in one-shot reconstruction and 1 otherwise; the gain g_t is a
function of the estimate. With ternary codes the estimate is linear in them, and what D makes of them corrects pictures:

    x_t = b_t / g_t + x_{t-1}        picture: x_t + m_t + D_t(b_t) / g_t

so that no floating point of a network decides what a code means; m_t, half of 1 / g_t and of the sign of x_t, leads to
the middle of what x_t stands for. All of it happens in the domain of `Layers.analysis`. Nothing here makes a picture:
an engine makes it of an `Estimate`, when somebody looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from .config import CodecConfig

# Tensors of torch or arrays of NumPy: the loop only adds, multiplies and divides them.
Array = Any
States = Any
Network = Callable[[Array, States, int], tuple[Array, States]]


class Estimate(NamedTuple):
    """What encoder and decoder both know after `t` iterations, from the codes alone.

    `value`: the reconstruction in the domain of `Layers.analysis`; `previous`: what the last decoder output was added
    to; `states`: the decoder's; `correction`: of ternary codes, what a picture adds to `value`.
    """

    t: int = 0
    value: Array = 0.0
    previous: Array = 0.0
    states: States = None
    correction: Array | None = None

    @property
    def drawn(self) -> Array:
        """What a picture is made of."""
        return self.value if self.correction is None else self.value + self.correction


class Iteration(NamedTuple):
    """What one iteration yields: its codes, and the estimate that they lead to."""

    codes: Array
    estimate: Estimate


class Layers(Protocol):
    """What an engine computes for the loop; `t` counts iterations from 0. States of None are those before the first
    run."""

    config: CodecConfig

    def analysis(self, image: Array) -> Array:
        """A picture in the domain in which residuals live; linear."""

    def gain(self, estimate: Estimate) -> Array | None:
        """What the next residual is multiplied by and the next decoder output divided by; None is 1."""

    def observe(self, t: int, residual: Array) -> None:
        """Called with each residual before it is encoded: in training, gains may follow them."""
        return None

    def run_encoder(self, scaled: Array, states: States, t: int) -> tuple[Array, States]:
        """Features of a scaled residual, and the next states."""

    def activation(self, features: Array, scaled: Array, t: int) -> Array:
        """What the codes are made of."""

    def binarize(self, activation: Array, estimate: Estimate) -> Array:
        """The codes of an activation; `estimate` is what the decoder knows before it sees them."""

    def run_decoder(self, codes: Array, states: States, t: int) -> tuple[Array, States]:
        """The decoder's output, and its next states."""

    def detach(self, value: Any) -> Any:
        """An array, states or a number that no gradient flows back from."""
        return value


def encode(
    layers: Layers,
    image: Array,
    iterations: int,
    choose: Callable[[int, Array], Array] | None = None,
    truncate: int | None = None,
) -> Iterator[Iteration]:
    """The encoder's side, lazily. `choose(t, codes)` may put others in the place of an iteration's codes.

    After every `truncate` iterations gradients are cut: what comes later does not flow back into them.
    """
    target = layers.analysis(image)
    residual, states, estimate = target, None, Estimate()
    for t in range(iterations):
        gain = layers.gain(estimate)
        scaled = residual if gain is None else residual * gain
        layers.observe(t, residual)
        features, states = _run(layers, layers.run_encoder, scaled, states, t)
        codes = layers.binarize(layers.activation(features, scaled, t), estimate)
        if choose is not None:
            codes = choose(t, codes)
        estimate = _advance(layers, estimate, codes, gain)
        residual = target - estimate.value
        yield Iteration(codes, estimate)
        if truncate and (t + 1) % truncate == 0:
            residual, states = layers.detach(residual), layers.detach(states)
            estimate = Estimate(*map(layers.detach, estimate))


def decode(layers: Layers, codes: Iterable[Array]) -> Iterator[Estimate]:
    """The decoder's side, lazily: the estimate after each iteration's codes."""
    estimate = Estimate()
    for code in codes:
        estimate = _advance(layers, estimate, code, layers.gain(estimate))
        yield estimate


def _advance(layers: Layers, estimate: Estimate, codes: Array, gain: Array | None) -> Estimate:
    """One run of the decoder, equation 1: the half that encoder and decoder share."""
    output, states = _run(layers, layers.run_decoder, codes, estimate.states, estimate.t)
    if gain is not None:
        output = output / gain
    previous = estimate.value if layers.config.additive else 0.0
    if layers.config.codes == "ternary":
        value = previous + codes / gain
        # A whole number times the gain: clipped it is its sign.
        middle = layers.detach(value * gain).clip(-1, 1) / 2 / gain
        return Estimate(estimate.t + 1, value, previous, states, middle + output)
    return Estimate(estimate.t + 1, previous + output, previous, states)


def _run(layers: Layers, network: Network, x: Array, states: States, t: int) -> tuple[Array, States]:
    """One run of a network; at first after `priming` others, whose outputs are dropped (Johnston et al., 2018)."""
    for _ in range(layers.config.priming if t == 0 else 0):
        _, states = network(x, states, t)
    return network(x, states, t)
