"""PNM files of every maximum."""

from __future__ import annotations

import io

import numpy as np
import pytest

from lit_rnncomp.images import read_image

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("most", [1, 3, 100, 127, 255, 256, 1000, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", [2, 3, 5, 6])
def test_pnm_of_any_maximum(most: int, kind: int) -> None:
    samples = RANDOM.integers(0, most + 1, (3, 4, 3 if kind in (3, 6) else 1))
    head = f"P{kind} 4 3 {most}\n".encode()
    body = samples.astype(">u2" if most > 255 else ">u1").tobytes()
    plain = " ".join(map(str, samples.ravel().tolist())).encode() + b"\n"
    got = np.asarray(read_image(io.BytesIO(head + (plain if kind < 4 else body))))
    assert np.abs(got - samples / most * 255).max() <= 1
