"""What the kernels share: tile addresses and the non-linearities, computed in float32 (float64 for float64 inputs)."""

from __future__ import annotations

from ._launch import jit, tl


@jit
def tile(rows, inner, ROWS: tl.constexpr, COLS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Row numbers `(ROWS, 1)` in 64 bits, columns `(1, COLS)` and the mask of this program's tile."""
    across = tl.cdiv(inner, COLS)
    row = (tl.program_id(0) // across) * ROWS + tl.arange(0, ROWS)[:, None]
    column = (tl.program_id(0) % across) * COLS + tl.arange(0, COLS)[None, :]
    return row.to(tl.int64), column, (row < rows) & (column < inner)


@jit
def load(pointer, at, mask):  # type: ignore[no-untyped-def]
    """Load and widen to the type of the arithmetic."""
    x = tl.load(pointer + at, mask=mask, other=0.0)
    return x if x.dtype == tl.float64 else x.to(tl.float32)


@jit
def sigmoid(x):  # type: ignore[no-untyped-def]
    """`1 / (1 + exp(-x))`: exp overflows to infinity below -88, which gives 0, as it should."""
    return 1.0 / (1.0 + tl.exp(-x))


@jit
def tanh(x):  # type: ignore[no-untyped-def]
    """Without overflow, and without cancellation near zero: there a polynomial (Cephes, relative error 1e-7) takes
    over."""
    a = tl.abs(x)
    e = tl.exp(-2.0 * a)
    far = (1.0 - e) / (1.0 + e)
    far = tl.where(x < 0, -far, far)
    if x.dtype == tl.float64:
        return far
    z = x * x
    p = -5.70498872745e-3 * z + 2.06390887954e-2
    p = p * z - 5.37397155531e-2
    p = p * z + 1.33314422036e-1
    p = p * z - 3.33332819422e-1
    return tl.where(a < 0.625, p * z * x + x, far)


@jit
def sigmoid_slope(grad, y):  # type: ignore[no-untyped-def]
    """Gradient before a sigmoid whose value is `y`."""
    return grad * y * (1.0 - y)


@jit
def tanh_slope(grad, y):  # type: ignore[no-untyped-def]
    """Gradient before a tanh whose value is `y`."""
    return grad * (1.0 - y * y)
