"""`python -m lit_rnncomp.rehearsal.accuracy cuda | cpu`: the kernels' errors, beside those of plain PyTorch.

A kernel may be at most twice as far from the formula in float64 as plain PyTorch in the same type, and half a rounding
of the largest value. On a CPU the kernels run where `TRITON_INTERPRET=1` lets Triton interpret them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import rnncomp_kernels as ops
from rnncomp_kernels import reference
from rnncomp_kernels._launch import use_kernels

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class Op(NamedTuple):
    """An op of `rnncomp_kernels`, and the channels of each of its inputs in units of C."""

    name: str
    blocks: tuple[int, ...]
    options: dict[str, float] = {}  # noqa: RUF012  # never changed


OPS = (
    Op("lstm_update", (4, 1, 4)),
    Op("associative_lstm_update", (9, 2, 9)),
    Op("gru_reset", (3, 2, 1)),
    Op("gru_update", (3, 2, 1, 1)),
    Op("residual_gru_update", (4, 3, 1, 1), {"alpha_h": 0.3, "alpha_x": 0.2}),
)


def accuracy(device: str, channels: int = 32, side: int = 16) -> dict[str, Any]:
    """The largest error of each op's outputs and gradients, over what is allowed, by type: at most 1 is right.

    And the share of stochastic codes that differ from those of the definition on a CPU with the same seed: where tanh
    rounds differently at the threshold.

    Raises:
        SystemExit: an error is larger than allowed, or one code in a thousand differs; the message says which.
        ValueError: kernels would not run on `device`.
    """
    if not use_kernels(torch.empty(0, device=device)):
        raise ValueError(f"kernels do not run on {device} here: Triton is missing, or TRITON_INTERPRET=1 on a CPU")
    found: dict[str, Any] = {}
    for op in OPS:
        for dtype in DTYPES:
            found.setdefault(op.name, {})[str(dtype).removeprefix("torch.")] = _error(op, dtype, device, channels, side)
    x = torch.randn(4, channels, side, side, generator=torch.Generator().manual_seed(1))
    codes = ops.binarize(x.to(device), stochastic=True, seed=7).cpu()
    differ = (codes != reference.binarize(x, True, torch.tensor(7))).float().mean().item()
    wrong = [f"{name} in {dtype}" for name, errors in found.items() for dtype, e in errors.items() if not e <= 1]
    wrong += ["binarize"] if differ > 1e-3 else []
    if wrong:
        raise SystemExit(f"too far from the formula: {', '.join(wrong)}")
    return {"errors_over_allowed": found, "codes_that_differ": differ}


def _error(op: Op, dtype: torch.dtype, device: str, channels: int, side: int) -> float:
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, k * channels, side, side) for k in op.blocks]
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64).to(device, dtype) for shape in shapes]
    definition = getattr(reference, op.name)
    exact = _results(op, definition, [x.double() for x in inputs], dtype)
    plain, ours = (_results(op, function, inputs, dtype) for function in (definition, getattr(ops, op.name)))
    worst = 0.0
    for truth, eager, kernel in zip(exact, plain, ours, strict=True):
        rounding = torch.finfo(dtype).eps * truth.abs().max().item()
        allowed = 2 * (eager.double() - truth).abs().max().item() + 0.5 * rounding
        worst = max(worst, (kernel.double() - truth).abs().max().item() / allowed)
    return worst


def _results(op: Op, function: Callable[..., Any], given: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Outputs, and gradients of a weighted sum of them, with weights that `dtype` has too."""
    inputs = [x.detach().requires_grad_() for x in given]
    made = function(*inputs, **op.options)
    outputs = [made] if isinstance(made, Tensor) else list(made)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(x.shape, generator=generator).to(dtype).to(given[0]) for x in outputs]
    return [*outputs, *torch.autograd.grad(outputs, inputs, weights)]


if __name__ == "__main__":
    size = {"channels": 16, "side": 6} if sys.argv[1] == "cpu" else {}  # interpreted, a thousand times slower
    Path("result.json").write_text(json.dumps(accuracy(sys.argv[1], **size)))
