"""BinaryRNN: the probability of every bit of the codes, given the bits coded before it (Toderici et al., CVPR 2017,
section 3).

Bits are coded iteration by iteration, inside an iteration in raster order of positions; the bits of one position are
independent given what came before. `B` pictures, `T` iterations, `C` = `width`, `S` = `state`:

=================  ==================================================================  ========  ==============
block              op                                                                  channels  non-linearity
=================  ==================================================================  ========  ==============
`causal`           7x7 convolution of the codes: rows above, and left of the centre    C         tanh
`adapt`            3x3 convolution of the layer state ("released" wiring only)         C         tanh
`line.input`       1x2 convolution (left, centre) of both, concatenated                4C
`line.hidden`      1x3 convolution of the row above's output                           4C
line LSTM          one row at a time, its state comes from the row above               C         LSTM
`head`             1x1 -> C tanh -> 1x1                                                bits      sigmoid
`summary`          3x3 convolution of the codes -> C tanh -> 3x3                       S         tanh
`layer`            1x1 LSTM over iterations, one for all of them                       C         LSTM
`project`          1x1 -> C tanh -> 1x1                                                S         tanh
=================  ==================================================================  ========  ==============

The layer state of iteration `t` is what `project` made of the codes of the iterations before `t`; it is zero at the
first. Wiring "released" is that of Google's training code; "paper" that of Fig. 4: no `adapt`, and `S` = `C`. A model
that is not `progressive` has no `adapt`, `summary`, `layer` and `project`: each iteration is coded by itself (section
3.1). With `line` "conv" the line LSTM is its input convolution alone, C channels and tanh: no memory down the rows, a
fifth of the products on the way that a decoder must go front by front, and quicker to train.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .quantized_rnn import ACTIVATION_BITS, RasterConv2d, Tables, round_weight, row_exponent


@dataclass(frozen=True)
class BinaryRNNConfig:
    """The shape of an entropy model.

    Args:
        bits: bits per position and iteration, as in the codec it serves.
        iterations: the most iterations it can code.
        width: channels of the line LSTM and of most layers; 64 in the paper.
        state: channels of the layer state; 32 in Google's code. Ignored with wiring "paper", where it is `width`.
        progressive: whether an iteration is coded knowing the iterations before it.
        wiring: "released" (Google's training code) or "paper" (Fig. 4).
        line: "lstm" (the paper), or "conv": no memory down the rows.
        shared: one set of weights for all iterations, with biases and the last 1x1 of the head for each; otherwise, as
            in the paper, each iteration has its own weights.
    """

    bits: int = 8
    iterations: int = 16
    width: int = 64
    state: int = 32
    progressive: bool = True
    wiring: Literal["released", "paper"] = "released"
    line: Literal["lstm", "conv"] = "lstm"
    shared: bool = True

    def __post_init__(self) -> None:
        for name in ("bits", "iterations", "width", "state"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name, known in (("wiring", ("released", "paper")), ("line", ("lstm", "conv"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be {known[0]} or {known[1]}, not {getattr(self, name)!r}")

    @property
    def state_channels(self) -> int:
        return self.width if self.wiring == "paper" else self.state

    @property
    def context_channels(self) -> int:
        """Channels that the line LSTM sees of the iterations before."""
        return self.width if self.progressive else 0


class LineLSTM(nn.Module):
    """An LSTM that runs down the rows: its state is a line, its hidden convolution 1x3 over the line above (section
    3.1)."""

    def __init__(self, iterations: int, in_channels: int, width: int, tables: Tables, *, shared: bool) -> None:
        super().__init__()
        self.input = RasterConv2d(iterations, in_channels, 4 * width, (1, 3), shared=shared, taps=2)
        self.hidden = RasterConv2d(iterations, width, 4 * width, (1, 3), shared=shared, bias=False)
        self.tables = tables
        _remember(self.input, width)

    def exponent(self) -> Tensor:
        """One for the rows of both weights: their products share an accumulator."""
        return row_exponent(self.input.weight, self.hidden.weight)

    def forward(self, x: Tensor) -> Tensor:
        exponent = self.exponent()
        gates = self.input(x, exponent)
        weight = self.hidden.dense_weight(exponent)
        rows: list[Tensor] = []
        cell = None
        for row in gates.split(1, dim=3):
            if rows:
                row = row + self.hidden.convolve(rows[-1], weight)
            h, cell = self.tables.lstm(row, cell)
            rows.append(h)
        return torch.cat(rows, dim=3)


class LineConv(RasterConv2d):
    """What stands for the line LSTM with `line` "conv": a 1x2 convolution and tanh."""

    def __init__(self, iterations: int, in_channels: int, width: int, tables: Tables, *, shared: bool) -> None:
        super().__init__(iterations, in_channels, width, (1, 3), shared=shared, taps=2)
        self.tables = tables

    def forward(self, x: Tensor, exponent: Tensor | None = None) -> Tensor:
        return self.tables.activate(super().forward(x, exponent))


class LayerLSTM(nn.Module):
    """A 1x1 LSTM that runs over the iterations; `x` `(B, T, S, H, W)`, returns `(B, T, C, H, W)`."""

    def __init__(self, in_channels: int, width: int, tables: Tables) -> None:
        super().__init__()
        self.input = RasterConv2d(1, in_channels, 4 * width, (1, 1), shared=True)
        self.hidden = RasterConv2d(1, width, 4 * width, (1, 1), shared=True, bias=False)
        self.tables = tables
        _remember(self.input, width)

    def exponent(self) -> Tensor:
        return row_exponent(self.input.weight, self.hidden.weight)

    def forward(self, x: Tensor) -> Tensor:
        exponent = self.exponent()
        weight = self.hidden.dense_weight(exponent)
        outputs: list[Tensor] = []
        cell = None
        for step in x.split(1, dim=1):
            gates = self.input(step, exponent)
            if outputs:
                gates = gates + self.hidden.convolve(outputs[-1], weight)
            h, cell = self.tables.lstm(gates, cell)
            outputs.append(h)
        return torch.cat(outputs, dim=1)


def _remember(convolution: RasterConv2d, width: int) -> None:
    """Start with open forget gates, as Google's code does."""
    assert convolution.bias is not None
    with torch.no_grad():
        convolution.bias[:, :width] = 1


class BinaryRNN(nn.Module):
    """`codes` `(B, T, bits, H, W)` in {-1, +1}, `T` at most `config.iterations`, to logits of +1 of the same shape.

    `quantized` switches between float arithmetic and the arithmetic of the integer model (straight-through gradients).
    """

    def __init__(self, config: BinaryRNNConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or BinaryRNNConfig()
        count, width, state = config.iterations, config.width, config.state_channels
        self.tables = Tables()

        def conv(
            i: int, o: int, side: int, shared: bool = config.shared, codes: bool = False, taps: int | None = None
        ) -> RasterConv2d:
            bits = 0 if codes else ACTIVATION_BITS
            return RasterConv2d(count, i, o, (side, side), shared=shared, taps=taps, input_bits=bits)

        self.causal = conv(config.bits, width, 7, taps=24, codes=True)
        seen = width + config.context_channels
        self.line = {"lstm": LineLSTM, "conv": LineConv}[config.line](
            count, seen, width, self.tables, shared=config.shared
        )
        self.head = nn.ModuleList([conv(width, width, 1), conv(width, config.bits, 1, shared=False)])
        if config.progressive:
            self.summary = nn.ModuleList([conv(config.bits, width, 3, codes=True), conv(width, state, 3)])
            self.layer = LayerLSTM(state, width, self.tables)
            self.project = nn.ModuleList([conv(width, width, 1, shared=True), conv(width, state, 1, shared=True)])
            if config.wiring == "released":
                self.adapt = conv(state, width, 3)

    @property
    def quantized(self) -> bool:
        return self.tables.quantized

    @quantized.setter
    def quantized(self, value: bool) -> None:
        for module in self.modules():
            if isinstance(module, (RasterConv2d, Tables)):
                module.quantized = value

    def forward(self, codes: Tensor) -> Tensor:
        config, activate = self.config, self.tables.activate
        if codes.ndim != 5 or codes.shape[2] != config.bits or not 1 <= codes.shape[1] <= config.iterations:
            raise ValueError(
                f"codes must be (B, T, {config.bits}, H, W) with 1 to {config.iterations} iterations, not "
                f"{tuple(codes.shape)}"
            )
        context = activate(self.causal(codes))
        if config.progressive:
            context = torch.cat((context, self._from_iterations_before(codes)), dim=2)
        hidden = self.line(context)
        return self.tables.logits(self.head[1](activate(self.head[0](hidden))))

    def _from_iterations_before(self, codes: Tensor) -> Tensor:
        activate = self.tables.activate
        x = codes
        for convolution in self.summary:
            x = activate(convolution(x))
        x = self.layer(x)
        for convolution in self.project:
            x = activate(convolution(x))
        before = torch.cat((torch.zeros_like(x[:, :1]), x[:, :-1]), dim=1)
        return activate(self.adapt(before)) if self.config.wiring == "released" else before

    @torch.no_grad()
    def integers(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The integer model: tensors (int8, int16, int32) and the configuration that gives them meaning.

        Of each layer: `NAME.weight` `(G, taps * in, out)`, tap-major; `NAME.bias` `(T, out)` in units of the
        accumulator; `NAME.exponent` `(G, out)`, the accumulator's unit as a power of two.
        """
        tensors = {f"table.{name}": table for name, table in self.tables.named_buffers()}
        layers: dict[str, list[RasterConv2d]] = {}
        for name, module in self.named_modules():
            if isinstance(module, (LineLSTM, LayerLSTM)):
                layers[name] = [module.input, module.hidden]
            elif isinstance(module, RasterConv2d) and name.rpartition(".")[2] not in ("input", "hidden"):
                layers[name] = [module]
        for name, parts in layers.items():
            exponent = row_exponent(*(part.weight for part in parts))
            weights = [round_weight(part.weight, exponent).permute(0, 3, 2, 1).flatten(1, 2) for part in parts]
            tensors[f"{name}.weight"] = torch.cat(weights, dim=1).to(torch.int8)
            tensors[f"{name}.bias"] = parts[0].rounded_bias(exponent).to(torch.int32)
            tensors[f"{name}.exponent"] = (exponent - parts[0].input_bits).to(torch.int8)
        return {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, asdict(self.config)
