"""What the launchers hand to their kernels, recorded on tensors without data: no GPU, no interpreter."""

import importlib
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import rnncomp_kernels as ops
from rnncomp_kernels import _convolve, _launch

pytest.importorskip("triton", reason="triton is not installed")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "kernels" / "benchmarks"))
from recorded import recorders

lstm, gru, residual, update, reset = (
    importlib.import_module(f"rnncomp_kernels.{name}")
    for name in ("conv_lstm_step", "conv_gru_step", "conv_residual_gru_step", "lstm_update", "gru_reset")
)
# What a GPU multiplies float32 by, as PyTorch's own settings say it: the older switch, and the newer ones.
SETTINGS = [
    ("cudnn", "allow_tf32", True, "tf32"),
    ("cudnn", "allow_tf32", False, "ieee"),
    ("cudnn.conv", "fp32_precision", "tf32", "tf32"),
    ("cudnn.conv", "fp32_precision", "ieee", "ieee"),
    ("cudnn", "fp32_precision", "ieee", "ieee"),
    ("", "fp32_precision", "ieee", "ieee"),
]


@pytest.fixture
def recorded():
    """No kernel runs; the launches."""
    with recorders() as launches:
        yield launches


def layer(gates, hidden_gates, **where):
    """x, weight, bias, hidden weight, candidate weight and state of a layer of 4 channels."""
    sizes = (1, 3, 8, 8), (gates * 4, 3, 3, 3), (gates * 4,), (hidden_gates * 4, 4, 1, 1), (4, 4, 1, 1), (1, 4, 8, 8)
    last = torch.channels_last  # what convolutions read without a copy
    return [torch.empty(size, memory_format=last if len(size) == 4 else None, **where) for size in sizes]


def launch_all(**where):
    """One launch of each way to a kernel: element-wise, the whole LSTM, the whole GRUs (two kernels each)."""
    x, weight, bias, hidden, _, h = layer(4, 4, **where)
    gates = torch.empty(1, 16, 8, 8, memory_format=torch.channels_last, **where)
    update._launch_forward(gates, h, None, False)
    lstm._launch_forward(x, weight, bias, h, hidden, h, 1, False)
    x, weight, bias, hidden, candidate, h = layer(3, 2, **where)
    gru._launch_forward(x, weight, bias, hidden, candidate, h, 1)
    x, weight, bias, hidden, candidate, h = layer(4, 3, **where)
    residual._launch_forward(x, weight, bias, hidden, candidate, h, 1, 0.1, 0.1)


@contextmanager
def process_settings():
    """PyTorch's settings of float32 products as in a new process, and put back afterwards."""
    conv, rnn = torch.backends.cudnn.conv.fp32_precision, torch.backends.cudnn.rnn.fp32_precision
    older = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = older  # which raises where it is read beside settings that say otherwise
        torch.backends.fp32_precision = "none"
        torch.backends.cudnn.fp32_precision = "none"
        torch.backends.cudnn.conv.fp32_precision, torch.backends.cudnn.rnn.fp32_precision = conv, rnn


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="needs the settings of torch 2.9")
@pytest.mark.parametrize(("owner", "name", "value", "expected"), SETTINGS)
def test_precision_is_that_of_the_library(owner, name, value, expected, recorded):
    with process_settings():
        if (owner, name) in {("", "fp32_precision"), ("cudnn", "fp32_precision")}:  # reach what has none of its own
            torch.backends.cudnn.conv.fp32_precision = "none"
        owners = {"": torch.backends, "cudnn": torch.backends.cudnn, "cudnn.conv": torch.backends.cudnn.conv}
        setattr(owners[owner], name, value)
        assert _convolve.precision() == expected
        launch_all(device="meta")
    assert [launch.values["PRECISION"] for launch in recorded if "PRECISION" in launch.values] == [expected] * 5


@pytest.mark.parametrize("precision", ["ieee", "tf32"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_only_full_float32_takes_the_smaller_tile(dtype, precision, recorded, monkeypatch):
    monkeypatch.setattr(_convolve, "precision", lambda: precision)
    launch_all(device="meta", dtype=dtype)
    full = dtype == torch.float32 and precision == "ieee"
    tiles = [(x.values["BK"], x.options["num_warps"]) for x in recorded if "BK" in x.values]
    assert tiles == [(16, 8) if full else (32, 4)] * 5


def test_every_launch_is_on_the_device_of_its_tensors(recorded, monkeypatch):
    """Triton launches on the current device, so each launcher must make it that of its tensors."""
    current = []

    @contextmanager
    def device(d):
        current.append(d)
        yield
        current.pop()

    monkeypatch.setattr(torch.cuda, "device", device)
    seen = []
    with monkeypatch.context() as patch, FakeTensorMode():  # undone before the recorders are
        for module in (lstm, gru, update):
            for name in [key for key in vars(module) if key.endswith("_kernel")]:
                recorder = getattr(module, name)
                patch.setattr(module, name, Watched(recorder, lambda: seen.append(list(current))))
        launch_all(device="cuda:1")
    assert seen == [[torch.device("cuda:1")]] * 6
    assert not current


class Watched:
    """A recorder that first calls `look`."""

    def __init__(self, recorder, look):
        self.recorder, self.look = recorder, look

    def __getitem__(self, grid):
        self.look()
        return self.recorder[grid]


class Kept(TorchDispatchMode):
    """The `keep` of each call of an op that has one."""

    def __init__(self):
        super().__init__()
        self.values = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if str(function) in {f"rnncomp.{n}.default" for n in ("lstm_update", "associative_lstm_update")}:
            self.values.append(args[3])
        if str(function) == "rnncomp.conv_lstm_step.default":
            self.values.append(args[7])
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("mode", ["inference", "frozen", "training"])
def test_gates_are_kept_for_a_backward_pass_only(mode, monkeypatch):
    """`no_grad`, or nothing that asks for a gradient: no memory for what backward would need."""
    for name in ("lstm_update", "associative_lstm_update", "conv_lstm_step"):
        monkeypatch.setattr(importlib.import_module(f"rnncomp_kernels.{name}"), "use_kernels", lambda x: True)
    with FakeTensorMode(), torch.set_grad_enabled(mode != "inference"), Kept() as kept:
        x, weight, bias, hidden, _, h = layer(4, 4)
        gates, wide = torch.empty(1, 16, 8, 8), torch.empty(1, 18, 8, 8)
        if mode != "frozen":
            for t in (weight, gates, wide):
                t.requires_grad_()
        ops.lstm_update(gates, h, torch.empty_like(gates))
        ops.associative_lstm_update(wide, h, torch.empty_like(wide))
        ops.conv_lstm_step(x, weight, bias, hidden, h, h)
    assert kept.values == [mode == "training"] * 3


@pytest.mark.parametrize("keep", [False, True])
def test_a_kernel_writes_the_gates_only_when_told(keep, recorded):
    x, weight, bias, hidden, _, h = layer(4, 4, device="meta")
    gates = torch.empty(1, 16, 8, 8, device="meta")
    update._launch_forward(gates, h, gates, keep)
    lstm._launch_forward(x, weight, bias, h, hidden, h, 1, keep)
    assert [launch.values["KEEP"] for launch in recorded] == [keep, keep]


# In units of C, what the two kernels of a layer read and write of the state's size, as their docstrings say: h, s(z),
# s(r) h, n (and W_ox x) by the first; all of these and the new state (and the output) by the second.
STATES_MOVED = {"gru": [4, 5], "residual": [5, 7]}


@pytest.mark.parametrize("unit", STATES_MOVED)
def test_a_whole_gru_moves_what_it_says(unit, recorded):
    module, gates, alphas = (gru, 3, ()) if unit == "gru" else (residual, 4, (0.1, 0.1))
    x, weight, bias, hidden, candidate, h = layer(gates, gates - 1, device="meta")
    module._launch_forward(x, weight, bias, hidden, candidate, h, 1, *alphas)
    handed = [{id(t) for t in launch.values.values() if getattr(t, "shape", None) == h.shape} for launch in recorded]
    assert [len(tensors) for tensors in handed] == STATES_MOVED[unit]
    assert len(handed[0] & handed[1]) == STATES_MOVED[unit][0]


@pytest.mark.parametrize("unit", STATES_MOVED)
def test_without_a_state_the_first_kernel_is_the_layer(unit, recorded):
    module, gates, alphas = (gru, 3, ()) if unit == "gru" else (residual, 4, (0.1, 0.1))
    x, weight, bias, hidden, candidate, _ = layer(gates, gates - 1, device="meta")
    new = module._launch_forward(x, weight, bias, hidden, candidate, None, 1, *alphas)
    assert [(launch.values["STATE"], launch.values["RESIDUAL"]) for launch in recorded] == [(False, unit != "gru")]
    written = {id(recorded[0].values[name]) for name in ("z_out", "skip_out")}
    assert written == {id(t) for t in ([new] if unit == "gru" else new)}


# Sizes whose last block begins beyond 31 bits, and rows beyond them: nothing of it is in memory.
TOO_LARGE = {"gates": (1, 4 * 512, 1024, 1024), "pictures": (3 << 30, 4, 1, 1)}


@pytest.mark.parametrize("size", TOO_LARGE.values(), ids=TOO_LARGE)
def test_a_launch_whose_numbers_would_wrap_is_refused(size, recorded):
    with pytest.raises(ValueError, match=r"shape \(\d+, \d+, \d+, \d+\) is too large .* cut pictures into tiles"):
        update._launch_forward(torch.empty(size, device="meta"), None, None, False)
    assert not recorded


def test_a_reset_counts_the_blocks_of_its_gates(recorded):
    """The state alone would fit; r lies in the second block of gates three times as large."""
    h = torch.empty(1, 768, 1024, 1024, device="meta")
    with pytest.raises(ValueError, match="too large"):
        reset._launch_forward(torch.empty(1, 3 * 768, 1024, 1024, device="meta"), h.expand_as(h), h)
    assert not recorded


def test_the_largest_launch_is_made(recorded):
    """A batch of more elements than 31 bits number is no reason: rows are multiplied in 64."""
    update._launch_forward(torch.empty(64, 4 * 128, 512, 512, device="meta"), None, None, False)
    assert len(recorded) == 1


def test_layers_of_more_pixels_than_31_bits_are_left_to_the_library(monkeypatch):
    fits = _convolve.Geometry.of(torch.empty(1, 1, 1 << 15, 1 << 15, device="meta"), 1).fits()
    more = _convolve.Geometry.of(torch.empty(2, 1, 1 << 15, 1 << 15, device="meta"), 1).fits()
    assert (fits, more) == (True, False)
    launched = []
    steps = ((lstm, "conv_lstm_step"), (gru, "conv_gru_step"), (residual, "conv_residual_gru_step"))
    monkeypatch.setattr(lstm, "use_kernels", lambda x: True)  # all three ask there
    for module, name in steps:
        monkeypatch.setattr(
            module, "_forward", lambda *_, n=name: launched.append(n) or (None,) * (3 if "lstm" in n else 2)
        )
    monkeypatch.setattr(gru, "gru_update", lambda gates, *_: gates)
    monkeypatch.setattr(residual, "residual_gru_update", lambda gates, *_: gates)
    monkeypatch.setattr(lstm, "lstm_update", lambda gates, *_: gates)
    for batch in (1, 2):
        x = torch.empty(batch, 1, 1 << 15, 1 << 15, device="meta")
        ops.conv_lstm_step(x, torch.empty(4, 1, 1, 1, device="meta"), None, torch.empty(4, 1, 1, 1, device="meta"))
        small = torch.empty(1, 1, 1, 1, device="meta")
        ops.conv_gru_step(
            x, torch.empty(3, 1, 1, 1, device="meta"), None, torch.empty(2, 1, 1, 1, device="meta"), small
        )
        ops.conv_residual_gru_step(
            x, torch.empty(4, 1, 1, 1, device="meta"), None, torch.empty(3, 1, 1, 1, device="meta"), small
        )
    assert launched == [name for _, name in steps]
    assert _launch.MOST < 1 << 31


def test_the_reference_can_be_chosen_where_kernels_run(monkeypatch):
    """To time what kernels are compared with; and the other way round, to count without a GPU."""
    monkeypatch.setattr(_launch, "INTERPRETED", True)
    x = torch.zeros(1)
    assert _launch.use_kernels(x)
    with _launch.kernels_chosen(False):
        assert not _launch.use_kernels(x)
        with _launch.kernels_chosen():
            assert _launch.use_kernels(x)
        assert not _launch.use_kernels(x)
    assert _launch.use_kernels(x)
    monkeypatch.setattr(_launch, "INTERPRETED", False)
    assert not _launch.use_kernels(x)
