"""bfloat16 in Triton's interpreter as a GPU has it. The interpreter cuts off what doesn't fit where a GPU rounds to the
nearest, ties to even, and multiplies matrices of bfloat16 by their bit patterns."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def mend_bfloat16() -> None:
    """Rounds to the nearest in stores and casts from float32, and multiplies matrices as float32, for the rest of this
    process. To be called once."""
    import triton.language as tl
    from triton.runtime import interpreter

    convert, dot = interpreter._convert_float, interpreter.InterpreterBuilder.create_dot

    def nearest(values: Any, source: Any, target: Any, rounding: Any) -> Any:
        if source == tl.float32 and target == tl.bfloat16:
            return torch.from_numpy(np.array(values)).bfloat16().view(torch.int16).numpy().view(np.uint16)
        return convert(values, source, target, rounding)

    def widened(builder: Any, a: Any, b: Any, *rest: Any) -> Any:
        if a.dtype.scalar == tl.bfloat16:
            a, b = builder.cast_impl(a, tl.float32), builder.cast_impl(b, tl.float32)
        return dot(builder, a, b, *rest)

    interpreter._convert_float = nearest
    interpreter.InterpreterBuilder.create_dot = widened
