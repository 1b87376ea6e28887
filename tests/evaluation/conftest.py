"""A tiny seeded model, two small photographs, the results of evaluating them and their report, made once for all tests
of the evaluation."""

import json
import re

import pytest
import torch
from PIL import Image
from skimage import data

from lit_rnncomp.evaluation.report import report


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Weights of an untrained network: three iterations, a hundredth of the paper's width."""
    from lit_rnncomp.codec import weights
    from lit_rnncomp.models.config import CodecConfig
    from lit_rnncomp.models.recurrent_codec import RecurrentCodec

    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights.save(path, RecurrentCodec(CodecConfig(unit="gru", width=0.01, iterations=3)))
    return path


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A folder with two photographs, one of them in a subfolder, and a file that is none."""
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "sub").mkdir()
    Image.fromarray(data.astronaut()[:176, 100:292]).save(folder / "astronaut.png")
    Image.fromarray(data.coffee()[:177, 200:401]).save(folder / "sub" / "coffee.png")
    (folder / "broken.png").write_bytes(b"this is no picture")
    return folder


@pytest.fixture(scope="session")
def results(tmp_path_factory, tiny_model, photographs):
    """The folder that `evaluate` writes for the tiny model, JPEG and WebP."""
    from lit_rnncomp.evaluation.evaluate import evaluate

    out = tmp_path_factory.mktemp("evaluation") / "results"
    with pytest.warns(UserWarning, match=r"^broken\.png: cannot read"):
        evaluate(model=[str(tiny_model)], data=str(photographs), codecs="jpeg420,webp", out=str(out), json=True)
    return out


@pytest.fixture(scope="session")
def page(results, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    with pytest.warns(UserWarning, match="published curves are left out"):
        report(str(results), out=str(path), codecs="jpeg420,webp", published="kodak", title="Tiny & <small>")
    return path


@pytest.fixture(scope="session")
def content(page):
    return json.loads(
        re.search(r'<script id="data" type="application/json">(.*?)</script>', page.read_text(), re.DOTALL).group(1)
    )
