"""Training for a transform of two stages: what is logged is what files cost and show."""

import lightning as L
import numpy as np
import pytest
import torch
from helpers.ternary_runs import (
    SMALL,
    assert_bits_are_those_of_files,
    assert_pictures_are_those_of_files,
    fit,
    signal,
)
from PIL import Image

from lit_rnncomp.codec import ternary_weights
from lit_rnncomp.codec.ternary_codec import TernaryCodec
from lit_rnncomp.models import dc_stage
from lit_rnncomp.models.frontend import DCStage
from lit_rnncomp.models.refiner import Refiner
from lit_rnncomp.training.recurrent_ternary import RecurrentTernaryDecoder
from lit_rnncomp.training.ternary_decoder import TernaryDecoder
from lit_rnncomp.training.ternary_entropy import TernaryEntropyModel


@pytest.fixture(scope="module")
def fitted(pictures, tmp_path_factory):
    """Both networks after a few steps, and the folders of their runs."""
    runs = {}
    for kind in (TernaryEntropyModel, TernaryDecoder):
        L.seed_everything(1)
        module, folder = kind(**SMALL, stages=2, lr=0.01), tmp_path_factory.mktemp("run")
        fit(module, pictures, folder)
        runs[kind] = module.eval(), next(folder.rglob("best.ckpt"))
    return runs


@pytest.fixture(scope="module")
def codec(fitted):
    networks = (module.network for module, _ in fitted.values())
    return TernaryCodec(ternary_weights.TernaryWeights.of(*networks).tensors)


@pytest.mark.parametrize("size", [(4, 4), (12, 20), (5, 3)])
def test_the_stage_in_torch_is_the_same_transform(size):
    dc = (np.random.RandomState(0).uniform(-1, 1, (*size, 3)) * 1760).astype(np.float32)
    stage = DCStage()
    coarse = stage.analysis(torch.from_numpy(dc).permute(2, 0, 1)[None])
    np.testing.assert_allclose(coarse[0].permute(1, 2, 0).numpy(), dc_stage.analysis(dc), atol=0.2)
    back = stage.synthesis(coarse, *size)
    np.testing.assert_allclose(back[0].permute(1, 2, 0).numpy(), dc, atol=0.01)


@pytest.mark.parametrize("tune", ["psnr", "visual"])
def test_the_bits_that_are_logged_are_those_of_files(fitted, codec, tune):
    module = fitted[TernaryEntropyModel][0]
    assert_bits_are_those_of_files(module, codec, tune)
    assert (module.mean_coarse_bits > 0).sum() > 8


def test_the_first_iteration_is_logged_with_all_codes_of_the_second_stage(fitted):
    module = fitted[TernaryEntropyModel][0]
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        rates = module.rates(image, "psnr")
        first, second = (module.at(image, t, "psnr") for t in (0, 1))
        whole = module.bpp(first) + sum(module.coarse_bpp(first, first.t - k) for k in range(3))
        torch.testing.assert_close(rates[:, 0], whole)
        torch.testing.assert_close(rates[:, 1], module.bpp(second) + module.coarse_bpp(second, second.t))


def test_several_iterations_of_the_second_stage_at_once_are_those_one_by_one(fitted):
    module, _ = fitted[TernaryEntropyModel]
    with torch.no_grad():
        sample = module.at(torch.rand(2, 3, 64, 96) * 2 - 1, 3, "visual")
        t = torch.tensor([0, 5, -2, 5])
        expected = [module.coarse_bpp(sample, part) for part in t.split(2)]
        torch.testing.assert_close(module.coarse_bpp(sample, t), torch.cat(expected))


def test_no_iteration_of_the_second_stage_is_refused():
    with pytest.raises(ValueError, match="coarse_iterations=0 is less than 1"):
        TernaryEntropyModel(coarse_iterations=0)


def test_decoded_pictures_are_those_of_files(fitted, codec, pictures):
    assert_pictures_are_those_of_files(fitted[TernaryDecoder][0], codec, pictures / "3.png")


def test_checkpoints_say_how_many_stages_there_are(fitted):
    (_, context), (_, decoder) = fitted.values()
    context, decoder = ternary_weights.load_context_model(context), ternary_weights.load_refiner(decoder)
    assert context.stages == decoder.stages == 2 and context.coarse is not None
    with pytest.raises(ValueError, match="for stages=2 and the decoder for 1: train both with the same"):
        ternary_weights.TernaryWeights.of(context, Refiner(8, 1))
    with pytest.raises(ValueError, match="stages=3 is neither 1 nor 2"):
        TernaryEntropyModel(**SMALL, stages=3)
    with pytest.raises(ValueError, match="stages=2: networks with a state"):
        RecurrentTernaryDecoder(**SMALL, stages=2)


def test_a_run_starts_from_a_model_of_one_stage(pictures, tmp_path):
    """All codes but those of DC cost what they did where nothing is known of DC."""
    torch.manual_seed(0)
    one = TernaryEntropyModel(**SMALL, lr=0.01)
    fit(one, pictures, tmp_path / "one")
    start = next((tmp_path / "one").rglob("best.ckpt"))
    earlier = ternary_weights.load_context_model(start)
    two = TernaryEntropyModel(**SMALL, stages=2, weights=str(start), lr=0.0)
    fit(two, pictures, tmp_path / "two", steps=3)
    level, code = torch.randint(-3, 4, (2, 192, 5, 7)).float(), torch.randint(-1, 2, (2, 192, 5, 7)).float()
    level[:, dc_stage.DC], code[:, dc_stage.DC] = 0, 0
    inputs = (level, code, torch.tensor([20, 21]), torch.tensor([0, 1]))
    with torch.no_grad():
        before, after = earlier(*inputs), two.network(*inputs)
    # Weights may be rounded to another unit, where the largest of a layer is not among them any more.
    torch.testing.assert_close(after[:, 2:4], before[:, 2:4], rtol=2e-3, atol=0)
    # Codes of 0 for DC, which are not sent any more, did cost a little.
    assert (after < before)[:, [0, 1, 4, 5]].all() and (after > 0.95 * before).all()


def test_a_run_of_two_stages_learns(fitted, pictures):
    module, _ = fitted[TernaryEntropyModel]
    images = torch.stack([signal(np.asarray(Image.open(path)))[0] for path in sorted(pictures.iterdir())])
    before = TernaryEntropyModel(**SMALL, stages=2)
    with torch.no_grad():
        for of in (lambda m: m.rates(images, "psnr").sum(), lambda m: coarse_alone(m, images)):
            assert of(module) < 0.95 * of(before)


def coarse_alone(module, images):
    return sum(module.coarse_bpp(sample, sample.t) for sample in [module.at(images, t, "psnr") for t in range(9)]).sum()
