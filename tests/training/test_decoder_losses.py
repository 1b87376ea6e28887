"""What the decoder of ternary codes also learns from: iterations that end early, and the similarity of pictures."""

import numpy as np
import pytest
import torch
from helpers.ternary_runs import SMALL, fit, signal
from PIL import Image

from lit_rnncomp.models import ternary
from lit_rnncomp.models.context_model import levels
from lit_rnncomp.models.ternary import PASSES, groups
from lit_rnncomp.training import decoder_losses
from lit_rnncomp.training.ternary import middle, threshold
from lit_rnncomp.training.ternary_decoder import TernaryDecoder


def test_files_that_end_early_leave_out_what_comes_later():
    torch.manual_seed(0)
    sent = decoder_losses.reached(400, 0.5, 3, 5, torch.device("cpu"))
    whole = sent.flatten(1).all(1)
    assert 0.4 < whole.float().mean() < 0.6
    odd = torch.from_numpy(ternary.parity(3, 5))
    for picture in sent[~whole]:
        passes = [picture[torch.from_numpy(groups()[group])][:, odd == bool(parity)] for group, parity in PASSES]
        assert all((codes == codes[:, :1]).all() for codes in passes), "of a pass, the same codes of every block"
        read = torch.cat([codes[:, 0] for codes in passes])
        assert (read[:-1] >= read[1:]).all(), "a beginning"
    assert decoder_losses.reached(9, 0.0, 3, 5, torch.device("cpu")).all()


def test_a_decoder_learns_from_early_ends_and_similarity(pictures, tmp_path):
    torch.manual_seed(0)
    module = TernaryDecoder(**SMALL, ms_ssim_weight=0.5, early_ends=0.5, lr=0.01)
    fit(module, pictures, tmp_path)
    assert {"train/relative_error", "train/relative_1-ms_ssim"} == module.step_values.keys()
    image = signal(np.asarray(Image.open(pictures / "0.png"))[:64, :64])
    sample = module.at(image, 5, "visual")
    middles = module.synthesis(middle(levels(sample.x, sample.t + 1)), sample)
    torch.testing.assert_close(module.dissimilarity(image, middles, middles), torch.ones(1))
    exact = module.synthesis(sample.x / threshold(sample.t), sample)
    torch.testing.assert_close(exact, image, atol=1e-4, rtol=0)
    assert float(module.dissimilarity(image, exact, middles)) < 1e-3
    module.training_step(image, 0).backward()  # a batch of one
    with pytest.raises(ValueError, match=r"early_ends=2 is outside \[0, 1\]"):
        TernaryDecoder(**SMALL, early_ends=2)
    with pytest.raises(ValueError, match="ms_ssim_weight=-1 is negative"):
        TernaryDecoder(**SMALL, ms_ssim_weight=-1)
