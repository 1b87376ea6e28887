"""Compiled and captured training steps: the same numbers, the same names of weights, one clear line where they cannot
work."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import lightning as L
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from lit_rnncomp.training import LSTMCompressor, ResidualGRUCompressor
from lit_rnncomp.training.loss import GraphedLoss, require

# The tracer looks at every tensor's .grad; nothing of ours.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
IMAGE = torch.linspace(-1, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32).sin()
DCT = {"frontend": "dct", "code_stride": 8, "bits": 8, "reconstruction": "iteration_gain", "ms_ssim_weight": 0.5}


def made(variant: type = ResidualGRUCompressor, **options: object) -> ResidualGRUCompressor:
    torch.manual_seed(0)
    module = variant(**{"width": 0.02, "iterations": 3, **options}).train()
    module.trainer = L.Trainer(max_steps=1, logger=False, accelerator="cpu", enable_checkpointing=False)
    module.log = lambda *args, **kwargs: None
    return module


def step(module: ResidualGRUCompressor, image: Tensor = IMAGE, seed: int = 5) -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(seed)  # of the binarizer's noise
    module.zero_grad()
    loss = module.training_step(image, 0)
    loss.backward()
    return loss.detach().clone(), {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def assert_same(ours: tuple, theirs: tuple) -> None:
    torch.testing.assert_close(ours[0], theirs[0])
    assert ours[1].keys() == theirs[1].keys()
    for name, gradient in theirs[1].items():
        torch.testing.assert_close(ours[1][name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_compiled_networks_give_the_same_loss_and_gradients() -> None:
    """Through the real compiler, one iteration: what it costs is compiling."""
    if not shutil.which("g++"):
        pytest.skip("needs a C++ compiler")
    plain, compiled = made(**DCT, iterations=1), made(**DCT, iterations=1, accelerate="compile")
    compiled.on_fit_start()
    assert_same(step(compiled), step(plain))
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    torch._dynamo.reset()


# Encoder and decoder, without a state and with one; with one that needs no gradient where gradients are cut.
@pytest.mark.slow
@pytest.mark.parametrize(("options", "graphs"), [({}, 4), ({"recompute": True}, 4), ({"truncate": 2}, 6)])
def test_each_network_is_one_graph_and_only_training_uses_it(options: dict, graphs: int) -> None:
    torch._dynamo.reset()
    plain, module, counter = made(LSTMCompressor), made(LSTMCompressor, **options), CompileCounter()
    module.codec.compile_networks(backend=counter, fullgraph=True)
    ours = step(module)
    assert counter.frame_count == graphs
    if "truncate" not in options:
        assert_same(ours, step(plain))
    assert module.state_dict().keys() == plain.state_dict().keys()
    for size in (48, 64, 96):
        assert len(module.eval().codec(torch.zeros(1, 3, size, 32)).codes) == 3
    assert counter.frame_count == graphs
    torch._dynamo.reset()


@pytest.mark.slow
def test_without_a_gpu_a_cuda_graph_is_refused_before_training(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "picture.png")
    command = [sys.executable, "-c", "from lit_rnncomp.cli import main; main()", "fit", "--model=LSTMCompressor"]
    command += [
        "--model.width=0.02",
        "--model.iterations=2",
        "--model.accelerate=cuda_graph",
        "--trainer.accelerator=cpu",
    ]
    command += ["--data.train=.", "--data.val=."]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1] == (
        "lit-rnncomp: error: accelerate=cuda_graph needs a CUDA GPU and this run is on cpu: "
        "leave it out, or use compile"
    )
    assert not list(tmp_path.rglob("*.ckpt"))


def test_what_cannot_work_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="leave out recompute and truncate"):
        LSTMCompressor(width=0.02, accelerate="cuda_graph", truncate=2)
    for other in ({"recompute": True}, {"accelerate": "compile"}):
        with pytest.raises(ValueError, match=f"leave out {next(iter(other))}.*, or defer_gradients"):
            LSTMCompressor(width=0.02, defer_gradients=True, **other)
    with pytest.raises(ValueError, match="needs projections=shared"):
        LSTMCompressor(width=0.02, accelerate="compile", projections="per_iteration")
    with pytest.raises(ValueError, match="cannot add up the gradients of 2 batches: leave out accumulate_grad_batches"):
        require("cuda_graph", torch.device("cuda"), 1, 2)
    with pytest.raises(ValueError, match="this run has 4"):
        require("cuda_graph", torch.device("cuda"), 4)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match="C\\+\\+ compiler"):
        require("compile", torch.device("cpu"), 1)
    require("none", torch.device("cpu"), 4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize("binarize", ["sign", "stochastic"])
def test_a_captured_step_equals_a_plain_one_and_draws_new_noise(binarize: str, deferred: bool) -> None:
    plain = made(**DCT, binarize=binarize).cuda()
    captured = made(**DCT, binarize=binarize, defer_gradients=deferred).cuda()
    captured._graphed = GraphedLoss(captured.codec, 0.5)
    image = IMAGE.cuda()
    if binarize == "sign":
        for picture in (image, image.flip(-1)):
            assert_same(step(captured, picture), step(plain, picture))
    else:
        assert step(captured, image, seed=1)[0] != step(captured, image, seed=2)[0]
    assert len(captured.eval().codec(torch.zeros(1, 3, 48, 64, device="cuda")).codes) == 3
    assert captured.state_dict().keys() == plain.state_dict().keys()
