"""Training for a transform of blocks of 16x16: what is logged is what files cost and show."""

from __future__ import annotations

import lightning as L
import pytest
import torch
from helpers.ternary_runs import SMALL, assert_bits_are_those_of_files, assert_pictures_are_those_of_files, fit

from lit_rnncomp.codec import ternary_weights
from lit_rnncomp.codec.ternary_codec import TernaryCodec
from lit_rnncomp.models.refiner import Refiner
from lit_rnncomp.training.recurrent_ternary import RecurrentTernaryDecoder
from lit_rnncomp.training.ternary_decoder import TernaryDecoder
from lit_rnncomp.training.ternary_entropy import TernaryEntropyModel

OPTIONS = {**SMALL, "stages": 2, "size": 16, "visual_ac": 0.7}


@pytest.fixture(scope="module")
def fitted(pictures, tmp_path_factory):
    """Both networks after a few steps, as their checkpoints have them."""
    modules, networks = [], []
    for kind in (TernaryEntropyModel, TernaryDecoder):
        L.seed_everything(1)
        module, folder = kind(**OPTIONS, lr=0.01), tmp_path_factory.mktemp("run")
        fit(module, pictures, folder)
        modules.append(module.eval())
        networks.append(next(folder.rglob("best.ckpt")))
    return *modules, ternary_weights.load_context_model(networks[0]), ternary_weights.load_refiner(networks[1])


@pytest.fixture(scope="module")
def codec(fitted):
    return TernaryCodec(ternary_weights.TernaryWeights.of(*fitted[2:]).tensors)


@pytest.mark.parametrize("tune", ["psnr", "visual"])
def test_the_bits_that_are_logged_are_those_of_files(fitted, codec, tune):
    assert codec.size == 16
    assert_bits_are_those_of_files(fitted[0], codec, tune)


def test_decoded_pictures_are_those_of_files(fitted, codec, pictures):
    assert_pictures_are_those_of_files(fitted[1], codec, pictures / "3.png")


def test_networks_learn_where_a_block_lies(fitted):
    for network in fitted[2:]:
        assert network.place is not None and (network.place.table[0] != 0).all()
    assert fitted[2].coarse.place is None, "blocks of blocks are all alike"


@pytest.mark.parametrize("kind", [TernaryEntropyModel, TernaryDecoder])
def test_a_run_starts_from_a_model_of_blocks_of_8(kind, pictures, tmp_path):
    fit(kind(**OPTIONS | {"size": 8}), pictures, tmp_path / "small")
    start = next((tmp_path / "small").rglob("best.ckpt"))
    module = kind(**OPTIONS, weights=str(start), lr=0.0)
    fit(module, pictures, tmp_path / "large", steps=3)
    for name, tensor in module.start(start).state_dict().items():
        torch.testing.assert_close(module.network.state_dict()[name], tensor)
    assert not module.network.place.table.any()


def test_what_does_not_fit_is_named(fitted):
    with pytest.raises(ValueError, match="for size=16 and the decoder for 8: train both with the same"):
        ternary_weights.TernaryWeights.of(fitted[2], Refiner(8, 1, visual_ac=0.7, stages=2))
    with pytest.raises(ValueError, match="size=12 is neither 8 nor 16"):
        TernaryEntropyModel(**SMALL, size=12)
    with pytest.raises(ValueError, match="size=12 is neither 8 nor 16"):
        TernaryDecoder(**SMALL, size=12)
    with pytest.raises(ValueError, match="size=16: networks with a state"):
        RecurrentTernaryDecoder(**SMALL, size=16)
    with pytest.raises(ValueError, match=r"pictures of 64x72 are not whole blocks of size=16: give data.patch"):
        fitted[0].at(torch.zeros(1, 3, 72, 64), 3, "psnr")
