"""Every metric against an independent implementation: numpy in float64, torchmetrics, or the package psnr_hvsm."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve, correlate1d
from skimage import data
from skimage.metrics import structural_similarity

from lit_rnncomp.evaluation import metrics

WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])


@pytest.fixture(scope="module")
def pair():
    """A photograph and a noisy, shifted copy, odd sides, uint8 `(H, W, 3)`."""
    image = data.astronaut()[:333, 60:419]
    noise = np.random.default_rng(0).normal(0, 12, image.shape)
    return image, np.clip(image * 0.95 + noise, 0, 255).astype(np.uint8)


def batch(*images, dtype=torch.float64):
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).to(dtype)


def gaussian_mean(image):
    """11-tap Gaussian of deviation 1.5 where it fits whole, `(H, W, C)`."""
    taps = np.exp(-(np.arange(-5.0, 6.0) ** 2) / 4.5)
    taps /= taps.sum()
    return correlate1d(correlate1d(image, taps, axis=0), taps, axis=1)[5:-5, 5:-5]


def numpy_ssim(a, b):
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mu_a, mu_b = gaussian_mean(a), gaussian_mean(b)
    var_a, var_b = gaussian_mean(a * a) - mu_a**2, gaussian_mean(b * b) - mu_b**2
    covariance = gaussian_mean(a * b) - mu_a * mu_b
    v1, v2 = 2 * covariance + c2, var_a + var_b + c2
    return np.mean((2 * mu_a * mu_b + c1) * v1 / ((mu_a**2 + mu_b**2 + c1) * v2)), np.mean(v1 / v2)


def numpy_ms_ssim(a, b):
    """Written from Google's script: the same steps with SciPy's own filters, everything in float64."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    similarity, contrast = [], []
    for _ in range(5):
        s, c = numpy_ssim(a, b)
        similarity.append(s)
        contrast.append(c)
        a, b = (convolve(x, np.full((2, 2, 1), 0.25), mode="reflect")[::2, ::2] for x in (a, b))
    return np.prod(np.array(contrast[:4]) ** WEIGHTS[:4]) * similarity[4] ** WEIGHTS[4]


def test_ms_ssim_equals_float64_numpy(pair):
    ours = metrics.ms_ssim(batch(pair[0]), batch(pair[1])).item()
    assert ours == pytest.approx(numpy_ms_ssim(*pair), abs=1e-6)
    assert 0.5 < ours < 0.97


def test_float32_is_close_to_float64(pair):
    for metric, tolerance in [
        (metrics.ms_ssim, 2e-6),
        (metrics.ssim, 2e-6),
        (metrics.psnr, 1e-4),
        (metrics.psnr_ycbcr, 1e-4),
        (metrics.psnr_hvs, 1e-4),
        (metrics.psnr_hvs_m, 1e-4),
    ]:
        single = metric(batch(pair[0], dtype=torch.uint8), batch(pair[1], dtype=torch.uint8))
        assert single.dtype == torch.float32
        assert single.item() == pytest.approx(metric(batch(pair[0]), batch(pair[1])).item(), abs=tolerance), (
            metric.__name__
        )


def test_torchmetrics_agrees(pair):
    from torchmetrics.functional.image import (
        multiscale_structural_similarity_index_measure,
        peak_signal_noise_ratio,
    )

    a, b = batch(pair[0]), batch(pair[1])
    options = {"data_range": 255.0}
    assert metrics.psnr(a, b).item() == pytest.approx(peak_signal_noise_ratio(a, b, **options).item(), abs=1e-5)
    assert metrics.ms_ssim(a, b).item() == pytest.approx(
        multiscale_structural_similarity_index_measure(a, b, **options).item(), abs=1e-3
    )


def test_ssim_equals_float64_numpy(pair):
    expected, _ = numpy_ssim(*(image.astype(np.float64) for image in pair))
    ours = metrics.ssim(batch(pair[0]), batch(pair[1])).item()
    assert ours == pytest.approx(expected, abs=1e-9)
    options = {
        "gaussian_weights": True,
        "sigma": 1.5,
        "use_sample_covariance": False,
        "data_range": 255,
        "channel_axis": 2,
    }
    assert ours == pytest.approx(structural_similarity(*pair, **options), abs=1e-6)


def test_psnr_hvs_equals_the_reference_package(pair):
    from psnr_hvsm.numpy import psnr_hvs_hvsm

    luma = [(image[:328, :352] @ [0.299, 0.587, 0.114]) / 255 for image in pair]
    with np.errstate(invalid="ignore"):  # the package divides by the variance of flat blocks before it looks at it
        hvs, hvs_m = psnr_hvs_hvsm(*luma)
    a, b = batch(pair[0]), batch(pair[1])
    assert a.shape[2:] == (333, 359), "sides that are no multiples of 8, so that leaving out the rest is tested"
    assert metrics.psnr_hvs(a, b).item() == pytest.approx(hvs.item(), abs=1e-3)
    assert metrics.psnr_hvs_m(a, b).item() == pytest.approx(hvs_m.item(), abs=1e-3)
    assert hvs_m > hvs + 0.5


def test_masking_of_a_flat_block_hides_nothing():
    flat = torch.full((1, 3, 8, 8), 100.0)
    rough = flat + 20 * torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(metrics.psnr_hvs_m(flat, flat + 3), metrics.psnr_hvs(flat, flat + 3))
    assert metrics.psnr_hvs_m(rough, rough + torch.eye(8)) > metrics.psnr_hvs(rough, rough + torch.eye(8))


def test_psnr_ycbcr_weighs_the_planes_6_1_1(pair):
    from PIL import Image

    a, b = (np.asarray(Image.fromarray(image).convert("YCbCr"), dtype=np.float64) for image in pair)
    planes = 10 * np.log10(255**2 / ((a - b) ** 2).mean(axis=(0, 1)))
    expected = (6 * planes[0] + planes[1] + planes[2]) / 8
    # Pillow rounds the planes to 8 bits, which costs a few hundredths of a dB at this quality.
    assert metrics.psnr_ycbcr(batch(pair[0]), batch(pair[1])).item() == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("name", ["psnr", "psnr_ycbcr", "ssim", "ms_ssim", "ms_ssim_db", "psnr_hvs", "psnr_hvs_m"])
def test_a_batch_is_its_pictures(pair, name):
    metric = getattr(metrics, name)
    other = pair[1][:, ::-1].copy()
    together = metric(batch(pair[0], pair[0], pair[0]), batch(pair[1], other, pair[0]))
    assert together.shape == (3,)
    for value, image in zip(together, (pair[1], other, pair[0]), strict=True):
        assert value.item() == pytest.approx(metric(batch(pair[0]), batch(image)).item(), rel=1e-12)
        assert metric(batch(image), batch(pair[0])).item() == pytest.approx(value.item(), rel=1e-12)
    assert together[2].item() == pytest.approx(1 if name in ("ssim", "ms_ssim") else metrics.PSNR_CAP)


def test_ms_ssim_decibels(pair):
    a, b = batch(pair[0]), batch(pair[1])
    assert metrics.ms_ssim_db(a, b).item() == pytest.approx(-10 * np.log10(1 - metrics.ms_ssim(a, b).item()))


def test_ms_ssim_of_an_anticorrelated_picture_is_zero_not_nan(pair):
    a = batch(pair[0])
    assert metrics.ms_ssim(a, 255 - a).item() == 0


def test_pictures_too_small_for_five_scales():
    assert [metrics.smallest_side(n) for n in range(1, 6)] == [11, 21, 41, 81, 161]
    image = data.astronaut()
    with pytest.raises(
        metrics.PictureTooSmall, match=r"at least 161 pixels a side and this picture has 200x160.*fewer_scales"
    ):
        metrics.ms_ssim(batch(image[:160, :200]), batch(image[:160, :200]))
    a, b = batch(image[:160, :200]), batch(image[100:260, :200])
    four = metrics.ms_ssim(a, b, fewer_scales=True).item()
    assert 0 < four < 1
    assert metrics.ms_ssim(a[..., :11, :11], b[..., :11, :11], fewer_scales=True).item() == pytest.approx(
        max(0, metrics.ssim(a[..., :11, :11], b[..., :11, :11]).item())
    )
    with pytest.raises(metrics.PictureTooSmall, match="at least 11 pixels"):
        metrics.ms_ssim(a[..., :10, :], b[..., :10, :], fewer_scales=True)
    with pytest.raises(metrics.PictureTooSmall, match="at least 8 pixels"):
        metrics.psnr_hvs(a[..., :7, :], b[..., :7, :])


def test_asking_for_fewer_scales_changes_nothing_where_five_fit(pair):
    a, b = batch(pair[0]), batch(pair[1])
    assert torch.equal(metrics.ms_ssim(a, b), metrics.ms_ssim(a, b, fewer_scales=True))
    edge = a[..., :161, :161], b[..., :161, :161]
    assert metrics.ms_ssim(*edge).isfinite().all()


@pytest.mark.parametrize("side", [32, 64, 65, 190])
def test_one_target_serves_many_pictures(pair, side):
    """Values and gradients, on either side of the size from which windows are convolutions."""
    target = batch(pair[0], pair[1])[..., :side, :side]
    pictures = torch.stack([target.roll(k, -1) * 0.9 + 5 * k for k in range(3)]).requires_grad_()
    together = metrics.MultiScaleTarget(target, fewer_scales=True)(pictures)
    apart = torch.stack([metrics.ms_ssim(target, picture, fewer_scales=True) for picture in pictures])
    assert together.shape == (3, 2)
    torch.testing.assert_close(together, apart, rtol=1e-10, atol=0)
    ours, theirs = (torch.autograd.grad(values.sum(), pictures)[0] for values in (together, apart))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-12)
    assert ours.abs().max() > 0


def test_windows_are_gaussian_means_at_every_size(pair):
    for side in (11, 12, 64, 65, 100):
        image = pair[0][:side, : side + 3].astype(np.float64)
        ours = metrics._Window(batch(image))(batch(image))
        np.testing.assert_allclose(ours[0].permute(1, 2, 0), gaussian_mean(image), rtol=1e-12)


def test_mixed_precision_does_not_reach_the_windows(pair):
    for side in (64, 170):
        a, b = (batch(image, dtype=torch.float32)[..., :side, :side] for image in pair)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = metrics.ms_ssim(a, b, fewer_scales=True)
        assert torch.equal(mixed, metrics.ms_ssim(a, b, fewer_scales=True))


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="two \\(B, 3, H, W\\) tensors of one shape"):
        metrics.psnr(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 9))
    with pytest.raises(ValueError, match="not \\(3, 8, 8\\)"):
        metrics.psnr(torch.zeros(3, 8, 8), torch.zeros(3, 8, 8))


def test_importing_the_metrics_needs_torch_only():
    heavy = {"torchmetrics", "scipy", "lightning", "matplotlib", "PIL"}
    program = f"import sys, lit_rnncomp.evaluation.metrics; print({heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["psnr", "psnr_ycbcr", "ssim", "ms_ssim", "psnr_hvs", "psnr_hvs_m"])
def test_a_gpu_gives_the_same_values(pair, name):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    metric = getattr(metrics, name)
    on_gpu = metric(batch(pair[0]).cuda(), batch(pair[1]).cuda())
    assert on_gpu.is_cuda and on_gpu.item() == pytest.approx(metric(batch(pair[0]), batch(pair[1])).item(), rel=1e-9)
