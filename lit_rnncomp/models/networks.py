"""Encoder and decoder. The paper's layer table (figure 1), at `width` 1.0 and for a 32x32 picture:

    layer     kernel  channels  stride  hidden kernel   output
    E-Conv       3x3        64       2              -   16x16x64
    E-RNN#1      3x3       256       2            1x1   8x8x256
    E-RNN#2      3x3       512       2            1x1   4x4x512
    E-RNN#3      3x3       512       2            1x1   2x2x512
    B-Conv       1x1        32       1              -   2x2x32      (binarizer.py)
    D-Conv#1     1x1       512       1              -   2x2x512
    D-RNN#1      2x2       512       1            1x1   2x2x512,   depth to space 4x4x128
    D-RNN#2      3x3       512       1            1x1   4x4x512,   depth to space 8x8x128
    D-RNN#3      3x3       256       1            3x3   8x8x256,   depth to space 16x16x64
    D-RNN#4      3x3       128       1            3x3   16x16x128, depth to space 32x32x32
    D-Conv#2     1x1         3       1              -   32x32x3

With `code_stride` 8, E-RNN#3 has stride 1 and nothing follows D-RNN#1. The networks around a DCT, plain or lapped, have
all their layers at 1/8 resolution; with `code_stride` 16 the second encoder layer has stride 2 and twice the channels,
and the first decoder layer is followed by depth to space.

With `layers` of 2016, the network that the paper compares with (Toderici et al., ICLR 2016, figure 3 and section 3.6):

    layer     kernel  channels  stride  output
    E-Conv       3x3        64       2  16x16x64
    E-RNN#1      3x3       256       1  16x16x256
    E-RNN#2      3x3       512       2  8x8x512
    B-Conv       1x1         2       1  8x8x2
    D-Conv#1     3x3       128       1  8x8x128
    D-RNN#1      2x2       512     1/2  16x16x512   deconvolved, as is the next
    D-RNN#2      2x2       512     1/2  32x32x512
    D-Conv#2     1x1         3       1  32x32x3     tanh
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from .cells import Convolve, DeconvLSTM, PaddedConv2d, State, convolve_now, make_cell
from .config import CodecConfig, assert_never
from .dct import COEFFICIENTS
from .frontend import make_frontend
from .projections import Shortcut, make_projection, start_at_zero


class Layer(NamedTuple):
    """One recurrent row of the table; `expand`: depth to space by 2 follows; `deconvolve`: its input's convolution is
    transposed, 2x2 of stride 2."""

    channels: int
    kernel: int = 3
    stride: int = 1
    hidden_kernel: int = 1
    expand: bool = False
    deconvolve: bool = False


def encoder_layers(config: CodecConfig) -> list[Layer]:
    """The recurrent rows of the encoder, with the paper's channel counts."""
    half = config.code_stride == 16
    if config.frontend == "dct" or config.frontend == "lapped":
        return [Layer(512), Layer(1024, stride=2) if half else Layer(512)]
    if config.layers == "toderici2016":
        return [Layer(256), Layer(512, stride=2)]
    if config.frontend == "conv":
        return [Layer(256, stride=2), Layer(512, stride=2), Layer(512, stride=2 if half else 1)]
    assert_never(config.frontend)


def decoder_layers(config: CodecConfig) -> list[Layer]:
    """The recurrent rows of the decoder, with the paper's channel counts."""
    half = config.code_stride == 16
    if config.frontend == "dct" or config.frontend == "lapped":
        return [Layer(1024, expand=True) if half else Layer(512), Layer(512)]
    if config.layers == "toderici2016":
        return [Layer(512, deconvolve=True), Layer(512, deconvolve=True)]
    if config.frontend == "conv":
        last = [Layer(channels, hidden_kernel=3, expand=True) for channels in (256, 128)]
        return [Layer(512, kernel=2, expand=half), Layer(512, expand=True), *last]
    assert_never(config.frontend)


class Encoder(nn.Module):
    """Residual `(B, C, H, W)` and the layers' states to features at the code's resolution and the next states."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        if config.frontend == "dct" or config.frontend == "lapped":
            channels = config.channels(512)
            self.stem = make_projection(config, COEFFICIENTS, channels)
        elif config.frontend == "conv":
            channels = config.channels(64)
            self.stem = make_projection(config, 3, channels, 3, 2, config.padding)
        else:
            assert_never(config.frontend)
        unit = "lstm" if config.unit == "associative_lstm" else config.unit
        self.layers = nn.ModuleList()
        for layer in encoder_layers(config):
            out = config.channels(layer.channels)
            self.layers.append(make_cell(config, unit, channels, out, layer.kernel, layer.stride, layer.hidden_kernel))
            channels = out
        self.out_channels = channels

    def forward(
        self, x: Tensor, states: list[State] | None = None, t: int = 0, convolve: Convolve = convolve_now
    ) -> tuple[Tensor, list[State]]:
        x = self.stem(x, t, convolve)
        new_states = []
        for cell, state in zip(self.layers, states or [None] * len(self.layers), strict=True):
            x, state = cell(x, state, convolve)
            new_states.append(state)
        return x, new_states


class Decoder(nn.Module):
    """Codes `(B, bits, h, w)` and the layers' states to one estimate (of the picture or of the residual) and the next
    states."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.rows = decoder_layers(config)
        old = config.layers == "toderici2016"
        channels = config.channels(128 if old else self.rows[0].channels)
        self.stem = make_projection(config, config.bits, channels, 3 if old else 1)
        self.layers = nn.ModuleList()
        for layer in self.rows:
            out = config.channels(layer.channels)
            if layer.deconvolve:
                self.layers.append(DeconvLSTM(channels, out, layer.hidden_kernel))
            else:
                cell = make_cell(config, config.unit, channels, out, layer.kernel, 1, layer.hidden_kernel)
                self.layers.append(cell)
            channels = out // 4 if layer.expand else out
        self.head = make_projection(config, channels, make_frontend(config).channels)
        self.shortcut = Shortcut(config, config.bits, COEFFICIENTS) if config.shortcut else None
        if self.shortcut is not None:
            self.gate = PaddedConv2d(channels, COEFFICIENTS, 1)
            nn.init.zeros_(self.gate.weight)
        if config.codes == "ternary":
            start_at_zero(self.head)
        self.bounded = {"linear": False, "tanh": True}[config.output]

    def forward(
        self, codes: Tensor, states: list[State] | None = None, t: int = 0, convolve: Convolve = convolve_now
    ) -> tuple[Tensor, list[State]]:
        x = self.stem(codes, t, convolve)
        new_states = []
        for row, cell, state in zip(self.rows, self.layers, states or [None] * len(self.rows), strict=True):
            x, state = cell(x, state, convolve)
            new_states.append(state)
            if row.expand:
                x = F.pixel_shuffle(x, 2)
        output = self.head(x, t, convolve)
        if self.shortcut is not None:
            output = output + self.shortcut(codes, t) * (1 + convolve(self.gate, x))
        return (output.tanh() if self.bounded else output), new_states
