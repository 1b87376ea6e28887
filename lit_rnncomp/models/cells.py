"""Convolutional recurrent units: convolutions, then one fused gate update of `rnncomp_kernels` (section 2.1 of the
paper).

Every cell maps `(B, in_channels, H, W)` and a state to an output `(B, channels, H / stride, W / stride)` and the next
state. A state of `None` is zeros. The input convolution has a bias and the layer's kernel and stride; the hidden
convolution has none.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rnncomp_kernels as ops

from .config import ALPHA, CodecConfig, Padding, Unit, assert_never

State = Tensor | tuple[Tensor, Tensor] | None


class PaddedConv2d(nn.Conv2d):
    """A convolution whose output is exactly `1 / stride` of its input, for even kernels and either padding rule.

    Weights start as a truncated normal of deviation `1 / sqrt(fan_in)`, biases at zero, as in Google's released
    convolutional LSTM.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        bias: bool = True,
        padding: Padding = "symmetric",
    ) -> None:
        total = {"symmetric": kernel - 1, "tf_same": max(kernel - stride, 0)}[padding]
        before = total // 2
        even = total == 2 * before
        super().__init__(in_channels, out_channels, kernel, stride, padding=before if even else 0, bias=bias)
        self.pad = None if even else (before, total - before) * 2

    def reset_parameters(self) -> None:
        _start(self, self.weight[0].numel())

    def padded(self, x: Tensor) -> Tensor:
        """`x` with the zeros that the convolution itself can't add: as many on all sides it adds."""
        return x if self.pad is None else F.pad(x, self.pad)

    def forward(self, x: Tensor) -> Tensor:
        """In the type of the weights: autocast is for the convolution, not for gates, states and sums behind it."""
        return super().forward(self.padded(x)).to(self.weight.dtype)


def _start(conv: nn.Conv2d | nn.ConvTranspose2d, fan_in: int) -> None:
    """Weights and biases as `PaddedConv2d` says."""
    deviation = 1 / math.sqrt(fan_in)
    nn.init.trunc_normal_(conv.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


class Cell(nn.Module):
    """What all units share: convolutions as wide as the unit has gates, in units of `channels`.

    `forgetting` is the share of `channels` that are forget gates, which come first: a bias of 1 lets a new network
    remember. With `has_candidate` a third convolution makes the candidate of the reset state.
    """

    input_gates: float
    hidden_gates: float
    forgetting = 0.0
    has_candidate = False

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int,
        stride: int,
        hidden_kernel: int,
        padding: Padding = "symmetric",
    ) -> None:
        super().__init__()
        self.input_conv = PaddedConv2d(in_channels, int(self.input_gates * channels), kernel, stride, padding=padding)
        self.hidden_conv = PaddedConv2d(channels, int(self.hidden_gates * channels), hidden_kernel, bias=False)
        if self.has_candidate:
            self.candidate_conv = PaddedConv2d(channels, channels, hidden_kernel, bias=False)
        if self.forgetting:
            assert self.input_conv.bias is not None
            nn.init.ones_(self.input_conv.bias[: int(self.forgetting * channels)])

    def forward(self, x: Tensor, state: State = None, convolve: Convolve | None = None) -> tuple[Tensor, State]:
        return (convolve or convolve_now).layer(self, x, state)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """What `forward` returns, with autograd's own gradients."""
        raise NotImplementedError

    def is_one_op(self, x: Tensor) -> bool:
        """Whether an op of `rnncomp_kernels` can take the whole layer: for inference, symmetric padding, one type for
        all."""
        symmetric = (
            self.input_conv.pad is None and self.hidden_conv.pad is None and self.input_conv.kernel_size[0] % 2 == 1
        )
        mixed = torch.is_autocast_enabled(x.device.type) or x.dtype != self.input_conv.weight.dtype
        return symmetric and not mixed and not torch.is_grad_enabled()


class Convolve:
    """How a network runs its convolutions and layers. Here with autograd's own gradients; in training those of weights
    may be deferred (`deferred.py`)."""

    def __call__(self, conv: PaddedConv2d, x: Tensor) -> Tensor:
        """`conv(x)`."""
        return conv(x)

    def layer(self, cell: Cell, x: Tensor, state: State) -> tuple[Tensor, State]:
        """`cell(x, state)`."""
        return cell.step(x, state)


convolve_now = Convolve()


class ConvLSTM(Cell):
    """LSTM without peepholes (equations 4-6). The forget gate's bias starts at 1."""

    input_gates = hidden_gates = 4
    forgetting = 1

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if self.is_one_op(x):
            conv, (h, c) = self.input_conv, state or (None, None)
            new = ops.conv_lstm_step(x, conv.weight, conv.bias, self.hidden_conv.weight, h, c, conv.stride[0])
            return new.h, (new.h, new.c)
        gates = self.input_conv(x)
        if state is None:
            new = ops.lstm_update(gates)
        else:
            new = ops.lstm_update(gates, state[1], self.hidden_conv(state[0]))
        return new.h, (new.h, new.c)


class AssociativeConvLSTM(Cell):
    """Associative LSTM with one copy (equations 7-10): `channels / 2` complex units, output real | imaginary."""

    input_gates = hidden_gates = 4.5
    forgetting = 0.5

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        gates = self.input_conv(x)
        if state is None:
            new = ops.associative_lstm_update(gates)
        else:
            new = ops.associative_lstm_update(gates, state[1], self.hidden_conv(state[0]))
        return new.h, (new.h, new.c)


class ConvGRU(Cell):
    """GRU with the reset gate applied before the hidden convolution (equations 11-13)."""

    input_gates, hidden_gates = 3, 2
    has_candidate = True

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        assert not isinstance(state, tuple)
        if self.is_one_op(x):
            conv, hidden, candidate = self.input_conv, self.hidden_conv.weight, self.candidate_conv.weight
            h = ops.conv_gru_step(x, conv.weight, conv.bias, hidden, candidate, state, conv.stride[0])
            return h, h
        gates = self.input_conv(x)
        if state is None:
            h = ops.gru_update(gates)
        else:
            hidden = self.hidden_conv(state)
            h = ops.gru_update(gates, hidden, self.candidate_conv(ops.gru_reset(gates, hidden, state)), state)
        return h, h


class ResidualConvGRU(Cell):
    """The paper's residual GRU (equations 14-15): the state recurs, the state plus `ALPHA W_ox x` is the output.

    `W_ox` has the kernel and stride of the input convolution, `W_h` those of the hidden convolution; the paper does not
    say.
    """

    input_gates, hidden_gates = 4, 3
    has_candidate = True

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        assert not isinstance(state, tuple)
        if self.is_one_op(x):
            conv, hidden, candidate = self.input_conv, self.hidden_conv.weight, self.candidate_conv.weight
            new = ops.conv_residual_gru_step(
                x, conv.weight, conv.bias, hidden, candidate, state, conv.stride[0], ALPHA, ALPHA
            )
            return new.out, new.h
        gates = self.input_conv(x)
        if state is None:
            new = ops.residual_gru_update(gates, alpha_h=ALPHA, alpha_x=ALPHA)
        else:
            hidden = self.hidden_conv(state)
            candidate = self.candidate_conv(ops.gru_reset(gates, hidden, state))
            new = ops.residual_gru_update(gates, hidden, candidate, state, ALPHA, ALPHA)
        return new.out, new.h


class DeconvLSTM(nn.Module):
    """An LSTM whose input comes through a transposed convolution, 2x2 of stride 2: output and state have twice the
    height and width of the input (Toderici et al., ICLR 2016, section 3.6)."""

    def __init__(self, in_channels: int, channels: int, hidden_kernel: int = 1) -> None:
        super().__init__()
        self.input_conv = nn.ConvTranspose2d(in_channels, 4 * channels, 2, 2)
        self.hidden_conv = PaddedConv2d(channels, 4 * channels, hidden_kernel, bias=False)
        _start(self.input_conv, in_channels)
        assert self.input_conv.bias is not None
        nn.init.ones_(self.input_conv.bias[:channels])

    def forward(self, x: Tensor, state: State = None, convolve: Convolve | None = None) -> tuple[Tensor, State]:
        gates = self.input_conv(x).to(self.input_conv.weight.dtype)
        if state is None:
            new = ops.lstm_update(gates)
        else:
            new = ops.lstm_update(gates, state[1], (convolve or convolve_now)(self.hidden_conv, state[0]))
        return new.h, (new.h, new.c)


def make_cell(
    config: CodecConfig, unit: Unit, in_channels: int, channels: int, kernel: int, stride: int, hidden_kernel: int
) -> Cell:
    """The cell of `unit` for one row of the layer table."""
    shape = (in_channels, channels, kernel, stride, hidden_kernel, config.padding)
    if unit == "lstm":
        return ConvLSTM(*shape)
    if unit == "associative_lstm":
        return AssociativeConvLSTM(*shape)
    if unit == "gru":
        return ConvGRU(*shape)
    if unit == "residual_gru":
        return ResidualConvGRU(*shape)
    assert_never(unit)
