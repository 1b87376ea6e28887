"""Every differentiable op with inputs of a given shape: what the tests of this folder are parametrised over."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

import rnncomp_kernels as ops
from rnncomp_kernels import reference

# "cuda" where there is one; the interpreter runs kernels on the CPU's memory
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Case(NamedTuple):
    """An op, its definition, the channels of each of its tensors in units of C (None: left out) and which of them is
    the state."""

    name: str
    op: Callable
    definition: Callable
    blocks: tuple[int | None, ...]
    state: int | None = None
    options: dict = {}  # noqa: RUF012 - never changed

    def inputs(
        self, shape: tuple[int, int, int, int], dtype: torch.dtype, scale: float = 1.0, seed: int = 0
    ) -> list[Tensor | None]:
        """Normal numbers, each asking for its gradient; pre-activations `scale` times as large."""
        batch, channels, height, width = shape
        generator = torch.Generator().manual_seed(seed)
        tensors: list[Tensor | None] = []
        for i, k in enumerate(self.blocks):
            if k is None:
                tensors.append(None)
                continue
            x = torch.randn((batch, k * channels, height, width), generator=generator, dtype=torch.float64)
            if i != self.state:
                x = x.clamp(-1, 1) * scale if scale > 1 else x * scale
            tensors.append(x.to(DEVICE, dtype).requires_grad_())
        return tensors

    def run(self, function: Callable, inputs: list[Tensor | None]) -> list[Tensor]:
        result = function(*inputs, **self.options)
        return [result] if isinstance(result, Tensor) else list(result)


CASES = [
    Case("lstm_update", ops.lstm_update, reference.lstm_update, (4, 1, 4), 1),
    Case("lstm_update-first", ops.lstm_update, reference.lstm_update, (4,)),
    Case("lstm_update-one_sum", ops.lstm_update, reference.lstm_update, (4, 1), 1),
    Case("associative_lstm_update", ops.associative_lstm_update, reference.associative_lstm_update, (9, 2, 9), 1),
    Case("associative_lstm_update-first", ops.associative_lstm_update, reference.associative_lstm_update, (9,)),
    Case("gru_reset-gru", ops.gru_reset, reference.gru_reset, (3, 2, 1), 2),
    Case("gru_reset-residual", ops.gru_reset, reference.gru_reset, (4, 3, 1), 2),
    Case("gru_update", ops.gru_update, reference.gru_update, (3, 2, 1, 1), 3),
    Case("gru_update-first", ops.gru_update, reference.gru_update, (3,)),
    Case(
        "residual_gru_update",
        ops.residual_gru_update,
        reference.residual_gru_update,
        (4, 3, 1, 1),
        3,
        {"alpha_h": 0.3, "alpha_x": 0.2},
    ),
    Case("residual_gru_update-first", ops.residual_gru_update, reference.residual_gru_update, (4,)),
]


def gradients(
    case: Case, function: Callable, inputs: list[Tensor | None], seed: int = 1, rounded: torch.dtype = torch.float64
) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs, and the gradients of a random weighted sum of them with respect to every input.

    The sum's weights are numbers of the type `rounded`, where one call is to have those of another in a lower type.
    """
    outputs = case.run(function, inputs)
    generator = torch.Generator().manual_seed(seed)
    drawn = (torch.randn(o.shape, generator=generator, dtype=torch.float64).to(rounded) for o in outputs)
    weights = [w.to(o.device, o.dtype) for w, o in zip(drawn, outputs, strict=True)]
    wanted = [x for x in inputs if x is not None]
    return outputs, list(torch.autograd.grad(outputs, wanted, weights))


def results(
    case: Case, function: Callable, inputs: list[Tensor | None], rounded: torch.dtype = torch.float64
) -> list[Tensor]:
    """Outputs and gradients as one list; `rounded` as in `gradients`."""
    outputs, grads = gradients(case, function, inputs, rounded=rounded)
    return [*outputs, *grads]


def promoted(inputs: list[Tensor | None], dtype: torch.dtype = torch.float64) -> list[Tensor | None]:
    """The same numbers in another type, as fresh leaves."""
    return [None if x is None else x.detach().to(dtype).requires_grad_() for x in inputs]
