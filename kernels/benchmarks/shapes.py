"""The shapes at which the ops run, taken from the networks themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from lit_rnncomp.models.config import UNITS as UNITS
from lit_rnncomp.models.config import CodecConfig, Unit
from lit_rnncomp.models.frontend import COEFFICIENTS
from lit_rnncomp.models.networks import decoder_layers, encoder_layers


class Layer(NamedTuple):
    """One recurrent layer at work: what goes in, `(B, in_channels, height * stride, width * stride)`, and the size of
    its state."""

    name: str
    batch: int
    in_channels: int
    channels: int
    height: int
    width: int
    kernel: int
    stride: int
    hidden_kernel: int


NETWORKS = {
    "paper": CodecConfig(),
    "dct": CodecConfig(frontend="dct", code_stride=8, bits=8, width=48 / 512, unit="residual_gru"),
}
# batch, height and width of the pictures: training patches, and one photograph
SCENES = {"train": (32, 32, 32), "picture": (1, 512, 768)}


def network(frontend: str, unit: Unit, width: float, iterations: int) -> CodecConfig:
    """The paper's network (`frontend` is `conv`) or the one on a DCT, of another unit and size."""
    kind = NETWORKS["dct" if frontend == "dct" else "paper"]
    return replace(kind, unit=unit, width=width, iterations=iterations)


def layers(network: str, scene: str) -> list[Layer]:
    """Every recurrent layer of `network` (of `NETWORKS`) at the pictures of `scene` (of `SCENES`), encoder first."""
    config, (batch, height, width) = NETWORKS[network], SCENES[scene]
    dct = config.frontend == "dct"
    side = 8 if dct else 2
    channels = config.channels(512 if dct else 64)
    rows = []
    for i, row in enumerate(encoder_layers(config), 1):
        side *= row.stride
        out = config.channels(row.channels)
        size = (batch, channels, out, height // side, width // side)
        rows.append(Layer(f"{network} E{i}", *size, row.kernel, row.stride, row.hidden_kernel))
        channels = out
    channels = config.channels(decoder_layers(config)[0].channels)
    for i, row in enumerate(decoder_layers(config), 1):
        out = config.channels(row.channels)
        size = (batch, channels, out, height // side, width // side)
        rows.append(Layer(f"{network} D{i}", *size, row.kernel, 1, row.hidden_kernel))
        channels = out // 4 if row.expand else out
        side = side // 2 if row.expand else side
    return rows


def code_shape(network: str, scene: str) -> tuple[int, int, int, int]:
    """What the binarizer sees."""
    config, (batch, height, width) = NETWORKS[network], SCENES[scene]
    return batch, config.bits, height // config.code_stride, width // config.code_stride


def target_shape(network: str, scene: str) -> tuple[int, int, int, int]:
    """What the residual is taken of: the picture, or its DCT coefficients."""
    batch, height, width = SCENES[scene]
    return (
        (batch, COEFFICIENTS, height // 8, width // 8)
        if NETWORKS[network].frontend == "dct"
        else (batch, 3, height, width)
    )
