"""The element-wise arithmetic of recurrent image compression: one function a gate update, one for
each kind of code.

On a CUDA device each is a fused Triton kernel, forward and backward; elsewhere, and where Triton is absent, it is
`reference`. `conv_lstm_step`, `conv_gru_step` and `conv_residual_gru_step` are whole layers, the convolutions fused
with the update where that pays.
"""

from .associative_lstm_update import associative_lstm_update
from .binarize import binarize
from .conv_gru_step import conv_gru_step
from .conv_lstm_step import conv_lstm_step
from .conv_residual_gru_step import conv_residual_gru_step
from .gru_reset import gru_reset
from .gru_update import gru_update
from .lstm_update import lstm_update
from .reference import LSTMUpdate, ResidualGRUUpdate
from .residual_gru_update import residual_gru_update
from .ternarize import ternarize

__all__ = [
    "LSTMUpdate",
    "ResidualGRUUpdate",
    "associative_lstm_update",
    "binarize",
    "conv_gru_step",
    "conv_lstm_step",
    "conv_residual_gru_step",
    "gru_reset",
    "gru_update",
    "lstm_update",
    "residual_gru_update",
    "ternarize",
]
