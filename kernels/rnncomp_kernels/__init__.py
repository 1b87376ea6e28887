"""The element-wise arithmetic of recurrent image compression: one function a gate update, one for the binarizer."""

from .reference import (
    LSTMUpdate,
    ResidualGRUUpdate,
    ResidualStep,
    associative_lstm_update,
    binarize,
    gru_reset,
    gru_update,
    lstm_update,
    residual_gru_update,
    residual_step,
)

__all__ = [
    "LSTMUpdate",
    "ResidualGRUUpdate",
    "ResidualStep",
    "associative_lstm_update",
    "binarize",
    "gru_reset",
    "gru_update",
    "lstm_update",
    "residual_gru_update",
    "residual_step",
]
