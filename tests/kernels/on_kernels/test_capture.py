"""What a CUDA graph asks of the ops: static shapes, and nothing that the host must wait for."""

import pytest
import torch
from helpers.op_cases import DEVICE
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import rnncomp_kernels as ops
from lit_rnncomp.models.config import CodecConfig
from lit_rnncomp.models.recurrent_codec import RecurrentCodec


class Calls(TorchDispatchMode):
    """The names of every call, forward and backward."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


@pytest.fixture
def shapes_only():
    """Tensors without data, on the device of the kernels: reading a value on the host is an error."""
    with FakeTensorMode():
        yield torch.device(DEVICE)


@pytest.mark.parametrize("binarize", ["sign", "stochastic"])
@pytest.mark.parametrize("unit", ["lstm", "associative_lstm", "gru", "residual_gru"])
def test_the_training_loop_reads_nothing_on_the_host(unit, binarize):
    codec = RecurrentCodec(CodecConfig(unit=unit, width=1 / 64, iterations=2, binarize=binarize)).to(DEVICE)
    mode = FakeTensorMode()
    weights = {name: mode.from_tensor(p) for name, p in (*codec.named_parameters(), *codec.named_buffers())}
    with mode, Calls() as calls:
        image = torch.empty(2, 3, 32, 32, device=DEVICE)
        output = torch.func.functional_call(codec, weights, image)
        torch.stack([r.abs().mean() for r in output.residuals]).mean().backward()
    assert not [name for name in calls.names if "item" in name or "_local_scalar" in name or "nonzero" in name]
    update = {
        "lstm": "lstm_update",
        "associative_lstm": "associative_lstm_update",
        "gru": "gru_update",
        "residual_gru": "residual_gru_update",
    }
    assert f"rnncomp.{update[unit]}.default" in calls.names
    assert f"rnncomp.{update[unit]}_backward.default" in calls.names


def test_nor_does_that_of_ternary_codes():
    options = {"codes": "ternary", "frontend": "lapped", "bits": 192, "code_stride": 8}
    codec = RecurrentCodec(CodecConfig(unit="gru", width=1 / 64, iterations=2, **options)).to(DEVICE)
    mode = FakeTensorMode()
    weights = {name: mode.from_tensor(p) for name, p in (*codec.named_parameters(), *codec.named_buffers())}
    with mode, Calls() as calls:
        output = torch.func.functional_call(codec, weights, torch.empty(2, 3, 32, 32, device=DEVICE))
        torch.stack([r.abs().mean() for r in output.residuals]).mean().backward()
    assert not [name for name in calls.names if "item" in name or "_local_scalar" in name or "nonzero" in name]
    assert calls.names.count("rnncomp.ternarize.default") == 2


def test_the_check_would_notice(shapes_only):
    with pytest.raises(DataDependentOutputException):
        torch.empty((), device=shapes_only).item()


def test_noise_from_a_seed_on_the_device(shapes_only):
    x = torch.empty(1, 8, 4, 4, device=shapes_only, requires_grad=True)
    seed = torch.empty((), dtype=torch.int64, device=shapes_only)
    codes = ops.binarize(x, stochastic=True, seed=seed)
    codes.sum().backward()
    assert x.grad is not None
