"""The layer table: sizes, parameter counts, and what a mistake in a layer would change."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lit_rnncomp.models import cells
from lit_rnncomp.models.cells import ConvGRU, DeconvLSTM, PaddedConv2d, ResidualConvGRU
from lit_rnncomp.models.config import CodecConfig
from lit_rnncomp.models.recurrent_codec import RecurrentCodec

BASELINE = CodecConfig(layers="toderici2016", reconstruction="one_shot", code_stride=4, bits=2, output="tanh")


@pytest.mark.parametrize(
    ("unit", "parameters"),
    [("lstm", 30_225_283), ("associative_lstm", 31_860_291), ("gru", 22_677_763), ("residual_gru", 30_225_283)],
)
def test_parameter_counts_at_full_width(unit: str, parameters: int) -> None:
    with torch.device("meta"):
        codec = RecurrentCodec(CodecConfig(unit=unit))  # type: ignore[arg-type]
    assert sum(p.numel() for p in codec.parameters()) == parameters


def test_parameter_count_of_the_baseline_at_full_width() -> None:
    with torch.device("meta"):
        codec = RecurrentCodec(BASELINE)
    encoder = (27 * 64 + 64) + (9 * 64 + 256) * 1024 + 1024 + (9 * 256 + 512) * 2048 + 2048
    decoder = (9 * 2 * 128 + 128) + (4 * 128 + 512) * 2048 + 2048 + (4 * 512 + 512) * 2048 + 2048 + (512 * 3 + 3)
    assert sum(p.numel() for p in codec.parameters()) == encoder + (512 * 2 + 2) + decoder


def test_the_baseline_codes_128_bits_at_a_quarter_and_pictures_within_tanh() -> None:
    codec = RecurrentCodec(replace(BASELINE, width=0.125, iterations=2))
    output = codec(torch.zeros(1, 3, 32, 48))
    assert [codes.shape for codes in output.codes] == [(1, 2, 8, 12)] * 2
    assert output.reconstructions[0].shape == (1, 3, 32, 48) and output.reconstructions[0].abs().max() <= 1
    assert BASELINE.bpp_per_iteration == 1 / 8


def test_a_deconvolved_lstm_is_one_fed_with_a_transposed_convolution() -> None:
    cell = DeconvLSTM(3, 8).double()
    x, h, c = (torch.randn(2, n, size, size, dtype=torch.float64) for n, size in ((3, 4), (8, 8), (8, 8)))
    hidden = torch.einsum("oi,bihw->bohw", cell.hidden_conv.weight[:, :, 0, 0], h)
    # Each input position makes 2x2 of the output, by a matrix for each of the four.
    pieces = torch.einsum("iouv,bihw->bohuwv", cell.input_conv.weight, x).reshape(2, 32, 8, 8)
    f, i, o, g = (pieces + hidden + cell.input_conv.bias[:, None, None]).chunk(4, 1)
    expected = f.sigmoid() * c + i.sigmoid() * g.tanh()
    out, state = cell(x, (h, c))
    torch.testing.assert_close(state[1], expected)
    torch.testing.assert_close(out, o.sigmoid() * expected.tanh())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unit": "gru"}, "layers='toderici2016' needs unit='lstm'"),
        ({"code_stride": 16}, "code_stride"),
        ({"layers": "toderici2017"}, "code_stride=4 is neither 8 nor 16"),
    ],
)
def test_what_the_baseline_is_not(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(BASELINE, **change)  # type: ignore[arg-type]


def test_gain_estimator_parameter_count() -> None:
    with torch.device("meta"):
        plain = RecurrentCodec(CodecConfig())
        scaled = RecurrentCodec(CodecConfig(reconstruction="residual_scaling"))
    assert sum(p.numel() for p in scaled.parameters()) - sum(p.numel() for p in plain.parameters()) == 28_769


def test_first_decoder_layer_has_a_2x2_kernel_and_late_ones_3x3_hidden_kernels() -> None:
    with torch.device("meta"):
        layers = RecurrentCodec(CodecConfig()).decoder.layers
    assert [cell.input_conv.kernel_size for cell in layers] == [(2, 2), (3, 3), (3, 3), (3, 3)]
    assert [cell.hidden_conv.kernel_size for cell in layers] == [(1, 1), (1, 1), (3, 3), (3, 3)]


@pytest.mark.parametrize("width", [0.01, 0.125, 0.25, 0.3, 1.0])
def test_channels_are_multiples_of_eight(width: float) -> None:
    config = CodecConfig(width=width)
    for paper in (64, 128, 256, 512, 1024):
        assert config.channels(paper) % 8 == 0
        assert config.channels(paper) >= 8
    assert CodecConfig(width=1.0).channels(64) == 64


def test_a_patch_costs_128_bits_an_iteration(tiny_codec) -> None:
    output = tiny_codec()(torch.zeros(1, 3, 32, 32))
    assert [codes.numel() for codes in output.codes] == [128] * 4
    assert CodecConfig().bpp_per_iteration == CodecConfig(code_stride=8, bits=8).bpp_per_iteration == 1 / 8


@pytest.mark.parametrize("padding", ["symmetric", "tf_same"])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (2, 1), (3, 1), (3, 2)])
def test_convolutions_divide_the_size_by_the_stride(padding: str, kernel: int, stride: int) -> None:
    x = torch.rand(1, 2, 8, 12)
    assert PaddedConv2d(2, 3, kernel, stride, padding=padding)(x).shape == (1, 3, 8 // stride, 12 // stride)  # type: ignore[arg-type]


def test_tf_same_samples_one_pixel_later_than_symmetric() -> None:
    conv = {p: PaddedConv2d(1, 1, 3, 2, bias=False, padding=p) for p in ("symmetric", "tf_same")}  # type: ignore[arg-type]
    for c in conv.values():
        torch.nn.init.dirac_(c.weight)
    x = torch.arange(64.0).reshape(1, 1, 8, 8)
    assert torch.equal(conv["symmetric"](x), x[..., ::2, ::2])
    assert torch.equal(conv["tf_same"](x), x[..., 1::2, 1::2])


def test_residual_gru_without_its_skips_is_a_gru(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "ALPHA", 0.0)
    torch.manual_seed(0)
    residual = ResidualConvGRU(6, 8, 3, 2, 3)
    gru = ConvGRU(6, 8, 3, 2, 3)
    with torch.no_grad():
        gru.input_conv.weight.copy_(residual.input_conv.weight[:24])
        gru.input_conv.bias.copy_(residual.input_conv.bias[:24])
        gru.hidden_conv.weight.copy_(residual.hidden_conv.weight[:16])
        gru.candidate_conv.load_state_dict(residual.candidate_conv.state_dict())
    states = [None, None]
    for _ in range(3):
        x = torch.randn(2, 6, 8, 8)
        outputs = []
        for k, cell in enumerate((residual, gru)):
            output, states[k] = cell(x, states[k])
            outputs.append(output)
        torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("unit", "op"), [("lstm", "conv_lstm_step"), ("gru", "conv_gru_step"), ("residual_gru", "conv_residual_gru_step")]
)
def test_inference_gives_a_whole_layer_to_one_op(
    unit: str, op: str, tiny_codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = tiny_codec(unit=unit, frontend="dct", code_stride=8, bits=8)
    image, calls, real = torch.rand(1, 3, 32, 32) * 2 - 1, [], getattr(cells.ops, op)
    monkeypatch.setattr(cells.ops, op, lambda *args: calls.append(1) or real(*args))
    apart = codec(image).reconstructions
    assert not calls  # with gradients, the convolutions and the update are ops of their own
    with torch.inference_mode():
        whole = codec(image).reconstructions
    assert len(calls) == 4 * len(whole)  # four recurrent layers
    torch.testing.assert_close(whole, apart)


def test_a_state_of_none_is_zeros() -> None:
    torch.manual_seed(0)
    for unit in ("lstm", "associative_lstm", "gru", "residual_gru"):
        from lit_rnncomp.models.cells import make_cell

        cell = make_cell(CodecConfig(), unit, 4, 8, 3, 1, 3)  # type: ignore[arg-type]
        x, zeros = torch.randn(1, 4, 6, 6), torch.zeros(1, 8, 6, 6)
        state = (zeros, zeros) if "lstm" in unit else zeros
        torch.testing.assert_close(cell(x, None)[0], cell(x, state)[0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"unit": "rnn"},
        {"reconstruction": "none"},
        {"width": 0.0},
        {"iterations": 0},
        {"bits": 256},
        {"code_stride": 4},
        {"priming": -1},
    ],
)
def test_config_names_the_wrong_value(wrong: dict) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name}='?{value}"):
        CodecConfig(**wrong)


def test_gains_of_coefficients_need_the_dct() -> None:
    with pytest.raises(ValueError, match="reconstruction='coefficient_gain' needs"):
        CodecConfig(reconstruction="coefficient_gain")


def test_config_round_trip_and_unknown_key() -> None:
    config = CodecConfig(unit="gru", width=0.5)
    assert CodecConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match="unknown codec option colour"):
        CodecConfig.from_dict({**config.to_dict(), "colour": 1})
