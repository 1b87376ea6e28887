"""What the bytes and digests of files depend on. A test that fails here means that files which people have no longer
decode."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from helpers import binary_models, ternary_models

from lit_rnncomp.codec import container, weights, zoo
from lit_rnncomp.codec.api import load_for
from lit_rnncomp.codec.container import BitstreamError
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
    "layers": "toderici2017",
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


# Model and entropy model of every network that files of released versions name. A row is never taken away: who has
# such a file has nothing else to decode it with. A retired model keeps its weights and loses its place as default.
RELEASED = {
    "residual_gru_dct64": ("672f7338e00c5cd9", "0038b46299215a7e"),
    "ternary64": ("fd879ae777537a84", None),
    "ternary64_5h": ("d68085f49477b200", None),
    "ternary64_7h": ("a53badca12f23e24", None),
    "ternary64_9h": ("9e404cc2e845c5d9", None),
    "ternary64_11h": ("67fe3cafdc174d67", None),
    "ternary64_16h": ("9e4a8b679fd6e2fc", None),
}


@pytest.mark.parametrize("name", RELEASED)
def test_weights_whose_files_exist_stay(name: str) -> None:
    digest, entropy = RELEASED[name]
    path = zoo.find_digest(bytes.fromhex(digest))
    assert path is not None and path == zoo.shipped()[name], "a release never drops weights whose files exist"
    codec = load_for(_header(digest))
    assert codec.digest.hex() == digest
    held = getattr(codec, "entropy", None)
    assert (held.digest.hex() if held else None) == entropy


# A picture that each of the shipped ternary models once coded (97x121 pixels of an astronaut at 0.8 bits per pixel, in
# `golden/`), as it decodes with `exact`, on every machine.
PICTURES = {
    "ternary64": "506d5596f08a38187d100972f6e863c221b7d00a876f91970241d4f94cfd08e2",
    "ternary64_5h": "760170d56e5c234e802235f7c61de08545f3cbb5adf7d6e5333466858a71ed92",
    "ternary64_7h": "90086f48753f31d8fd46f0bb330ed31e1200314930a7e62e9eb5951a583f47b9",
    "ternary64_9h": "c781b2f6a41f4b9abeb01b3605885db5f3259d215bffafa53a0893bb3869e41b",
    "ternary64_11h": "40ee27058048b9f74d5d6eeb0c406211935d53a82d94b1dbc11a18fd3056e731",
    "ternary64_16h": "d953c330be08c29e77e1dc16bb09022cd846f7f68119d327fcfd84b676f11ff5",
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_file_decodes_for_ever(name: str) -> None:
    data = (Path(__file__).parent / "golden" / f"{name}.rnnc").read_bytes()
    picture = np.asarray(load_for(data).decode(data, exact=True))
    assert hashlib.sha256(picture.tobytes()).hexdigest() == PICTURES[name]


def test_what_ships_is_held_from_its_release_on() -> None:
    assert set(zoo.shipped()) == set(RELEASED), "weights that ship stay: add the new row here"


def test_a_file_of_weights_that_do_not_ship_names_them() -> None:
    """And with them it decodes; with others it does not."""
    codec = ternary_models.codec()
    data = codec.encode(ternary_models.picture(24, 24), step=1500)
    made = f"made by model {codec.digest.hex()}, "
    with pytest.raises(BitstreamError, match=f"{made}which does not ship: name its weights, model=FILE"):
        load_for(data)
    for other in (ternary_models.codec(seed=1), binary_models.codec()):
        with pytest.raises(BitstreamError, match=f"{made}this one .* is {other.digest.hex()}"):
            other.decode(data)


def _header(digest: str) -> bytes:
    layout = container.Ternary(0, 0, 0)
    return container.Header(container.TERNARY, 8, 8, bytes.fromhex(digest), layout).to_bytes()
