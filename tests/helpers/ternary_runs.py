"""Short runs of the networks of ternary codes."""

from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image

from lit_rnncomp.codec.container import parse
from lit_rnncomp.data.module import PhotographData
from lit_rnncomp.images import tensor_to_uint8, to_signal
from lit_rnncomp.training.callbacks import StepSeeds

SMALL = {"channels": 8, "blocks": 1, "warmup": 2}


def soft_pictures(folder: Path) -> Path:
    """The folder, with five of them."""
    random = np.random.default_rng(0)
    for index in range(5):
        small = Image.fromarray(random.integers(0, 256, (6, 7, 3), dtype=np.uint8))
        small.resize((112, 96), Image.Resampling.BICUBIC).save(folder / f"{index}.png")
    return folder


def signal(picture):
    return to_signal(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float())


def fit(module, pictures, folder, steps=6, callbacks=(), **options):
    data = PhotographData(
        train=str(pictures), holdout=2, patch=64, batch_size=3, steps_per_epoch=3, multiple=8, max_side=96
    )
    trainer = L.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        max_epochs=-1,
        max_steps=steps,
        gradient_clip_val=1.0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[StepSeeds(), *callbacks],
        num_sanity_val_steps=0,
    )
    trainer.fit(module, data, **options)
    return trainer, data


def assert_bits_are_those_of_files(module, codec, tune):
    noise = np.random.default_rng(0).integers(0, 256, (96, 80, 3), dtype=np.uint8)
    payload = parse(codec.encode(noise, step=9 * 256, tune=tune)).iterations[-2].payload
    assert tuple(payload[:3]) == tuple(map(len, codec.context.bands.groups))
    with torch.no_grad():
        sample = module.at(signal(noise), 8, tune, last=9)
        bpp = module.bpp(sample) + (module.coarse_bpp(sample, sample.t) if module.stages == 2 else 0)
    assert 8 * (len(payload) - 3) / (96 * 80) == pytest.approx(float(bpp), rel=0.01)


def assert_pictures_are_those_of_files(module, codec, path):
    picture = np.asarray(Image.open(path))
    file = codec.encode(picture, step=8 * 256, tune="psnr")
    # The last iteration is left out: in it the encoder zeroes what is not worth its bits.
    ours = np.asarray(codec.decode(file, iterations=len(parse(file).iterations) - 1)).astype(int)
    with torch.no_grad():
        (decoded,) = module.decoded(signal(picture), [7], "psnr", last=8)
    theirs = tensor_to_uint8(decoded)
    assert np.abs(ours - theirs).max() <= 1
    assert np.mean(ours != theirs) < 0.01
