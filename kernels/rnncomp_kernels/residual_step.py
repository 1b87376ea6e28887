"""End of an iteration (paper, equations 1-3, 16-19): new reconstruction, next residual and the residual's L1 sum, in
one pass.

`reconstruction = output / gain + previous`, `residual = image - reconstruction`. Forward reads image, output and, where
given, previous and gain, and writes 2; the sum is taken in float32 over one partial sum a program, in a fixed order (no
atomics: the loss repeats to the bit). Backward reads the residual, two gradients and the gain, and writes one gradient
each for output, image (only if asked for) and gain. Kept for backward: the residual, and output and gain if there is a
gain. A gain of one element is read once; any other is expanded to the size of the image.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import _check, reference
from ._launch import DEVICE_TYPES, Plane, jit, launch, tile_of, tl, use_kernels
from ._math import load, tile
from .reference import ResidualStep


@jit
def _forward_kernel(  # type: ignore[no-untyped-def]
    image, output, previous, gain, reconstruction, residual, partial, rows, inner,
    PREVIOUS: tl.constexpr, GAIN: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    row, column, mask = tile(rows, inner, ROWS, COLS)
    at = row * inner + column
    new = load(output, at, mask)
    if GAIN == 1:
        new = new / tl.load(gain).to(new.dtype)
    if GAIN == 2:
        new = new / tl.load(gain + at, mask=mask, other=1.0).to(new.dtype)
    if PREVIOUS:
        new += load(previous, at, mask)
    left = load(image, at, mask) - new
    tl.store(reconstruction + at, new, mask)
    tl.store(residual + at, left, mask)
    tl.store(partial + tl.program_id(0), tl.sum(tl.sum(tl.abs(tl.where(mask, left, 0.0)), axis=1), axis=0))


@jit
def _backward_kernel(  # type: ignore[no-untyped-def]
    residual, output, gain, grad_reconstruction, grad_residual, grad_l1, out_output, out_previous, out_image, out_gain,
    rows, inner,
    GAIN: tl.constexpr, GRAD_REC: tl.constexpr, GRAD_RES: tl.constexpr, GRAD_L1: tl.constexpr, IMAGE: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr,
):  # fmt: skip
    row, column, mask = tile(rows, inner, ROWS, COLS)
    at = row * inner + column
    left = load(residual, at, mask)
    d_left = tl.zeros_like(left)
    if GRAD_RES:
        d_left += load(grad_residual, at, mask)
    if GRAD_L1:
        d_left += tl.load(grad_l1).to(left.dtype) * tl.where(left > 0, 1.0, tl.where(left < 0, -1.0, 0.0))
    if IMAGE:
        tl.store(out_image + at, d_left, mask)
    d = -d_left
    if GRAD_REC:
        d += load(grad_reconstruction, at, mask)
    if GAIN > 0:
        tl.store(out_previous + at, d, mask)
        if GAIN == 1:
            g = tl.load(gain).to(d.dtype)
        else:
            g = tl.load(gain + at, mask=mask, other=1.0).to(d.dtype)
        d = d / g
        tl.store(out_gain + at, -d * load(output, at, mask) / g, mask)
    tl.store(out_output + at, d, mask)


def _kind(gain: Tensor | None) -> int:
    return 0 if gain is None else 1 if gain.numel() == 1 else 2


def _expanded(plane: Plane, gain: Tensor | None, like: Tensor) -> Tensor | None:
    return plane.dense(gain.expand_as(like)) if gain is not None and _kind(gain) == 2 else gain


def _outputs(image: Tensor) -> tuple[Plane, Tensor, Tensor]:
    plane = Plane.of(image, 1)
    return plane, plane.empty(image, image.shape[1]), plane.empty(image, image.shape[1])


def _launch_forward(
    image: Tensor, output: Tensor, previous: Tensor | None, gain: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    plane, reconstruction, residual = _outputs(image)
    rows, columns = tile_of(plane.inner)
    wide = torch.float64 if image.dtype == torch.float64 else torch.float32
    partial = image.new_empty(-(-plane.inner // columns) * -(-plane.rows // rows), dtype=wide)
    launch(
        _forward_kernel, plane, plane.dense(image), plane.dense(output), plane.dense(previous),
        _expanded(plane, gain, image),
        reconstruction, residual, partial, PREVIOUS=previous is not None, GAIN=_kind(gain),
    )  # fmt: skip
    return reconstruction, residual, partial.sum().to(image.dtype)


Gradients = tuple[Tensor, Tensor, Tensor, Tensor]


def _gradients(residual: Tensor, gain: Tensor | None, image: bool) -> tuple[Plane, Gradients]:
    """Gradients of output, previous, image and (per element) gain; empty where not asked for, previous's where it
    equals output's."""
    plane = Plane.of(residual, 1)
    wanted = (True, gain is not None, image, gain is not None)
    output, previous, target, scale = (
        plane.empty(residual, residual.shape[1]) if w else residual.new_empty(0) for w in wanted
    )
    return plane, (output, previous, target, scale)


def _launch_backward(
    residual: Tensor,
    output: Tensor | None,
    gain: Tensor | None,
    grads: tuple[Tensor | None, Tensor | None, Tensor | None],
    image: bool,
) -> Gradients:
    plane, gradients = _gradients(residual, gain, image)
    grad_reconstruction, grad_residual, grad_l1 = grads
    launch(
        _backward_kernel, plane, plane.dense(residual), plane.dense(output), _expanded(plane, gain, residual),
        plane.dense(grad_reconstruction), plane.dense(grad_residual), grad_l1, *gradients,
        GAIN=_kind(gain), GRAD_REC=grad_reconstruction is not None, GRAD_RES=grad_residual is not None,
        GRAD_L1=grad_l1 is not None,
        IMAGE=image,
    )  # fmt: skip
    return gradients


@torch.library.custom_op("rnncomp::residual_step", mutates_args=(), device_types=DEVICE_TYPES)
def _forward(
    image: Tensor, output: Tensor, previous: Tensor | None, gain: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    return _launch_forward(image, output, previous, gain)


@torch.library.custom_op("rnncomp::residual_step_backward", mutates_args=(), device_types=DEVICE_TYPES)
def _backward(
    residual: Tensor,
    output: Tensor | None,
    gain: Tensor | None,
    grad_reconstruction: Tensor | None,
    grad_residual: Tensor | None,
    grad_l1: Tensor | None,
    image: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _launch_backward(residual, output, gain, (grad_reconstruction, grad_residual, grad_l1), image)


@_forward.register_fake
def _(image: Tensor, output: Tensor, previous: Tensor | None, gain: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    return *_outputs(image)[1:], image.new_empty(())


@_backward.register_fake
def _(
    residual: Tensor,
    output: Tensor | None,
    gain: Tensor | None,
    grad_reconstruction: Tensor | None,
    grad_residual: Tensor | None,
    grad_l1: Tensor | None,
    image: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _gradients(residual, gain, image)[1]


def _setup(ctx: Any, inputs: tuple, output: tuple) -> None:
    _, unscaled, previous, gain = inputs
    ctx.save_for_backward(output[1], None if gain is None else unscaled, gain)
    ctx.set_materialize_grads(False)
    ctx.previous = previous is not None


def _differentiate(
    ctx: Any, grad_reconstruction: Tensor | None, grad_residual: Tensor | None, grad_l1: Tensor | None
) -> tuple:
    if grad_reconstruction is None and grad_residual is None and grad_l1 is None:
        return None, None, None, None
    residual, output, gain = ctx.saved_tensors
    image = ctx.needs_input_grad[0]
    d_output, d_previous, d_image, d_gain = _backward(
        residual, output, gain, grad_reconstruction, grad_residual, grad_l1, image
    )
    return (
        d_image if image else None,
        d_output,
        (d_output if gain is None else d_previous) if ctx.previous else None,
        None if gain is None else d_gain.sum_to_size(gain.shape),
    )


_forward.register_autograd(_differentiate, setup_context=_setup)


def residual_step(
    image: Tensor, output: Tensor, previous: Tensor | None = None, gain: Tensor | None = None
) -> ResidualStep:
    """The new reconstruction, the residual `image - reconstruction` and the scalar sum of its absolute values.

    `image`, `output` and `previous`: `(B, C, H, W)`. One-shot: no `previous`. Additive: the reconstruction before.
    Residual scaling: its `gain` too, broadcastable to `image`. The result has the type of `image`, whatever that of
    `output`. Raises `ValueError` when shapes, dtypes or devices do not fit.
    """
    channels = _check.gates_of("residual_step", image, 1)[1]
    output = output.to(image.dtype)
    _check.matches("residual_step", "output", output, image, channels)
    _check.matches("residual_step", "previous", previous, image, channels)
    if gain is not None and (
        gain.dtype != image.dtype or gain.device != image.device or _broadcast(gain, image) != image.shape
    ):
        raise ValueError(
            f"residual_step: gain is {gain.dtype} {tuple(gain.shape)} on {gain.device}, which does not broadcast "
            f"to image, "
            f"{image.dtype} {tuple(image.shape)} on {image.device}"
        )
    if not use_kernels(image):
        return reference.residual_step(image, output, previous, gain)
    return ResidualStep(*_forward(image, output, previous, gain))


def _broadcast(gain: Tensor, image: Tensor) -> torch.Size | None:
    try:
        return torch.broadcast_shapes(gain.shape, image.shape)
    except RuntimeError:
        return None
