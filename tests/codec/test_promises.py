"""What the bytes and digests of files depend on. A test that fails here means that files which people have no longer
decode."""

from __future__ import annotations

import numpy as np

from lit_rnncomp.codec import weights
from lit_rnncomp.codec.digest import fingerprint
from lit_rnncomp.models.config import RECONSTRUCTIONS, UNITS, CodecConfig
from lit_rnncomp.models.numpy_codec import NumpyCodec

DEFAULTS = {
    "unit": "lstm",
    "reconstruction": "additive",
    "width": 1.0,
    "iterations": 16,
    "bits": 32,
    "code_stride": 16,
    "frontend": "conv",
    "binarize": "stochastic",
    "gain_input": "residual",
    "output": "linear",
    "padding": "symmetric",
    "priming": 0,
    "projections": "shared",
    "shortcut": False,
    "codes": "binary",
}


def test_numbers_in_headers_keep_their_meaning() -> None:
    message = "a header names these by their place: add new ones at the end and here"
    assert UNITS == ("lstm", "associative_lstm", "gru", "residual_gru"), message
    frameworks = "one_shot additive residual_scaling iteration_gain coefficient_gain measured_gain"
    assert " ".join(RECONSTRUCTIONS) == frameworks, message


def test_defaults_stay_and_new_options_have_one() -> None:
    message = "a digest leaves out defaults, so another default is another network: add new options here, change none"
    assert CodecConfig().to_dict() == DEFAULTS, message


def test_a_digest_is_of_names_shapes_values_and_options_other_than_defaults() -> None:
    tensors = {"b": np.arange(6, dtype=np.int8).reshape(2, 3), "a": np.array([0.5], np.float64)}
    assert fingerprint({"y": 1, "x": "z"}, tensors, "<f4").hex() == "8384d1423feef7b5"
    assert fingerprint({"x": "z", "y": 1}, tensors, "<i4").hex() == "7fd28941f614a4b2"


def test_the_digest_of_a_network_leaves_out_defaults() -> None:
    network = object.__new__(NumpyCodec)
    network.config, network.tensors = CodecConfig(unit="gru", width=1.0), {"w": np.ones((1, 2), np.float16)}
    assert weights.digest(network) == fingerprint({"unit": "gru"}, {"w": np.ones((1, 2))}, "<f4")
