"""What every test shares: one thread a process, and tiny seeded networks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from lit_rnncomp.models.config import CodecConfig
from lit_rnncomp.models.recurrent_codec import RecurrentCodec

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_codec() -> Callable[..., RecurrentCodec]:
    """A seeded network of 8 channels a layer: same options, same weights, on every machine."""

    def make(**options: object) -> RecurrentCodec:
        values = {"width": 0.01, "iterations": 4, **options}
        codec = RecurrentCodec(CodecConfig(**values))  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for name, parameter in codec.named_parameters():
                if name.endswith("weight"):
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * parameter[0].numel() ** -0.5)
        return codec.eval()

    return make


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of photographs beside the checkout (or `LIT_RNNCOMP_SHARED`); tests that need it skip where it is
    absent."""
    folder = Path(os.environ.get("LIT_RNNCOMP_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("the folder of test photographs is not on this machine")
    return folder
