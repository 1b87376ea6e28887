"""Recurrent networks of ternary codes: untrained an embedded transform coder, measured at their codes' lengths."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lit_rnncomp.cli import main
from lit_rnncomp.codec.tensor_files import CheckpointError
from lit_rnncomp.codec.weights import load_binary
from lit_rnncomp.data.samples import sample_photographs
from lit_rnncomp.evaluation import rd
from lit_rnncomp.evaluation.baselines import BASELINES
from lit_rnncomp.evaluation.metric_table import METRICS
from lit_rnncomp.images import round_to_255, to_signal
from lit_rnncomp.models import ternary
from lit_rnncomp.training import GRUCompressor
from lit_rnncomp.training.code_lengths import lengths, priced
from lit_rnncomp.training.loss import segment_losses

TERNARY = {"codes": "ternary", "frontend": "lapped", "bits": 192, "code_stride": 8}
RECIPE = Path(__file__).parents[2] / "configs/ternary/recurrent.yaml"
SMALL = [
    f"--config={RECIPE}",
    "--model.init_args.width=0.02",
    "--model.init_args.iterations=5",
    "--data.batch_size=2",
    "--data.patch=48",
    "--data.max_side=64",
    "--data.steps_per_epoch=2",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--trainer.log_every_n_steps=1",
]


def module(**options):
    torch.manual_seed(0)
    return GRUCompressor(**{"width": 0.02, "iterations": 9, **TERNARY, **options})


def signal(picture):
    return to_signal(torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float())


@pytest.fixture(scope="module")
def photographs():
    """The middle 256 pixels of each sample photograph."""
    found = []
    for path in sample_photographs():
        with Image.open(path) as image:
            left, top = (image.width - 256) // 2, (image.height - 256) // 2
            found.append(image.convert("RGB").crop((left, top, left + 256, top + 256)))
    return found


@pytest.fixture(scope="module")
def untrained(photographs):
    """What a validation measures before the first step: curves, and areas or means."""
    compressor = module().eval()
    with torch.no_grad():
        for number, photograph in enumerate(photographs):
            compressor.validation_step(signal(photograph), number)
    curves = compressor.curve.compute()
    return curves, {metric.name: value for metric, value in compressor.curve.summary(curves).items()}


def test_an_untrained_network_is_about_as_good_as_jpeg(photographs, untrained):
    """More than a dB of PSNR ahead of JPEG 4:2:0, headers included; at the squared error's weights less than 0.01 of
    MS-SSIM's area behind."""
    curves, summary = untrained
    truths = [round_to_255(signal(photograph)) for photograph in photographs]
    of_jpeg = {"psnr": [], "ms_ssim": []}
    for photograph, truth in zip(photographs, truths, strict=True):
        coded = list(BASELINES["jpeg420"].measure(photograph))
        decoded = torch.cat([round_to_255(signal(one.picture)) for one in coded])
        bpp = [8 * one.size / 256**2 for one in coded]
        for name, found in of_jpeg.items():
            metric = METRICS[name]
            values = metric.measure(truth.expand_as(decoded), decoded).double().numpy()
            found.append(metric.summarise(metric.area(rd.Curve(np.array(bpp), values))))
    assert summary["psnr"] > np.mean(of_jpeg["psnr"]) + 1
    assert summary["ms_ssim"] > np.mean(of_jpeg["ms_ssim"]) - 0.01 > 1.8
    assert (np.diff(curves["bpp"]) > 0).all() and (np.diff(curves["psnr"]) > 0).all()
    assert curves["bpp"][0] < 0.01 < 2 < curves["bpp"][-1]


def test_the_curve_has_the_lengths_of_the_codes(photographs, untrained):
    codec, bits = module().codec.eval(), np.zeros(9)
    with torch.no_grad():
        for photograph in photographs:
            bits += np.cumsum([lengths(step).item() for step in codec.encode(signal(photograph))])
    assert untrained[0]["bpp"] == pytest.approx(bits / len(photographs) / 256**2)


def test_the_loss_is_the_residual_in_thresholds_and_the_price_of_bits(photographs):
    compressor, image = module(iterations=4), signal(photographs[0])[..., :64, :48]
    torch.nn.init.normal_(compressor.codec.decoder.head.weight, std=0.1)
    steps = list(compressor.codec.encode(image))
    pictures = [compressor.codec.picture(step.estimate) for step in steps]
    residuals = [(127.5 * (image - picture)).abs().mean() / ternary.threshold(t) for t, picture in enumerate(pictures)]
    bpp = [priced(step) for step in steps]
    expected = sum(residuals) / 4 + 0.3 * sum(bpp) / 4
    for length in (None, 1, 3):
        parts = list(segment_losses(compressor.codec, image, 4, length, 0.0, 0.3))
        torch.testing.assert_close(sum(part.loss for part in parts), expected)
        torch.testing.assert_close(sum(part.bpp for part in parts), sum(bpp) / 4)
        torch.testing.assert_close(sum(part.l1 for part in parts), sum(residuals) / 4)


def test_a_few_steps_lower_the_loss_and_keep_the_coder(photographs):
    compressor, image = module(iterations=7, width=0.06), signal(photographs[0])[..., 96:192, 96:192]
    optimizer = torch.optim.Adam(compressor.codec.parameters(), 2e-3)
    losses = []
    for _ in range(30):
        (part,) = segment_losses(compressor.codec, image, 7, None, 0.0, 0.1)
        optimizer.zero_grad()
        part.loss.backward()
        optimizer.step()
        losses.append(part.loss.item())
    assert losses[-1] < 0.98 * losses[0]
    assert min(losses) == losses[-1] or losses[-1] < 1.01 * min(losses)
    before, after = module(iterations=7, width=0.06).codec.eval(), compressor.codec.eval()
    with torch.no_grad():
        first, last = (codec(image) for codec in (before, after))
    changed = [(a != b).float().mean().item() for a, b in zip(first.codes, last.codes, strict=True)]
    assert 0 < max(changed) < 0.05, "the encoder learns, too, and slowly"
    for old, new in zip(first.residuals, last.residuals, strict=True):
        assert new.square().mean() < 1.01 * old.square().mean()


@pytest.fixture(scope="module")
def run(starts, tmp_path_factory):
    """The folder of a short run of the recipe, and what it printed."""
    folder = tmp_path_factory.mktemp("run")
    process = starts(folder, "fit", *SMALL, "--trainer.max_steps=4", "--trainer.check_val_every_n_epoch=1")
    assert process.wait() == 0, process.output()
    return folder / "runs/lightning_logs/version_0", process.output()


def column(folder, name):
    rows = [row for path in sorted(folder.glob("metrics*.csv")) for row in csv.DictReader(path.open())]
    return {int(row["step"]): float(row[name]) for row in rows if row.get(name)}


@pytest.mark.slow
def test_a_run_logs_rates_and_reports_areas_before_and_after(run):
    folder, output = run
    rates = [column(folder, f"val/bpp_{t:02d}")[3] for t in range(1, 6)]
    assert 0 < rates[0] < rates[1] < rates[2] < rates[3] < rates[4]
    assert len(column(folder, "train/bpp")) == len(column(folder, "train/l1")) == 4
    assert "before" in output and "MS-SSIM" in output
    row = next(line for line in output.splitlines() if "MS-SSIM" in line)
    before, after = (float(word) for word in row.split() if word[0].isdigit())
    assert after == pytest.approx(before, abs=0.02)
    assert after == pytest.approx(column(folder, "val/auc_ms_ssim")[3], abs=1e-4)
    for name in ("rate_distortion.png", "strip.png"):
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 50


@pytest.mark.slow
def test_a_run_that_was_cut_goes_on_to_the_bit(run, starts, tmp_path):
    for length in (2, 4):
        process = starts(tmp_path, "fit", *SMALL, f"--trainer.max_steps={length}", "--ckpt_path=last")
        assert process.wait() == 0, process.output()
    last = tmp_path / "runs/lightning_logs/version_0/checkpoints/last.ckpt"
    ours, theirs = (
        torch.load(path, weights_only=False)["state_dict"] for path in (last, run[0] / "checkpoints/last.ckpt")
    )
    weights = [name for name in ours if name.startswith("codec.")]
    assert len(weights) > 20
    assert all(torch.equal(ours[name], theirs[name]) for name in weights)


@pytest.mark.slow
def test_no_file_is_made_of_it_and_one_line_says_so(run, tmp_path, capsys, photographs):
    checkpoint = str(run[0] / "checkpoints/best.ckpt")
    photographs[0].save(tmp_path / "photo.png")
    for words in (
        ["export", checkpoint, str(tmp_path / "out.safetensors")],
        ["encode", str(tmp_path / "photo.png"), str(tmp_path / "out.rnnc"), "--model", checkpoint],
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        said = capsys.readouterr().err
        assert ended.value.code == 2 and said.count("\n") == 1 and checkpoint in said
        assert "of a recurrent network with codes='ternary' no files can be made" in said
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
    with pytest.raises(CheckpointError, match="no files can be made"):
        load_binary(checkpoint)


def test_a_price_is_not_negative():
    with pytest.raises(ValueError, match="bit_price=-1 is negative"):
        module(bit_price=-1)
