"""Less memory for the backward pass: recomputing changes no gradient, truncating changes exactly those it should."""

from __future__ import annotations

from collections.abc import Iterator

import lightning as L
import pytest
import torch
from torch import Tensor

from lit_rnncomp.training import GRUCompressor, LSTMCompressor, ResidualGRUCompressor, benchmark
from lit_rnncomp.training.loss import sum_of_segments

IMAGE = torch.linspace(-1, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32).sin()


def gradients(variant: type, seed: int = 5, **options: object) -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(0)
    module = variant(**{"width": 0.02, "iterations": 4, **options}).train()
    module.trainer = L.Trainer(max_steps=1, logger=False, accelerator="cpu", enable_checkpointing=False)
    module.log = lambda *args, **kwargs: None
    torch.manual_seed(seed)  # of the binarizer's noise
    loss = module.training_step(IMAGE, 0)
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in module.codec.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("variant", "options"),
    [
        (LSTMCompressor, {}),
        (GRUCompressor, {"reconstruction": "one_shot", "priming": 1}),
        (ResidualGRUCompressor, {"reconstruction": "residual_scaling"}),
        (LSTMCompressor, {"truncate": 2, "ms_ssim_weight": 0.5}),
    ],
)
def test_recomputing_gives_the_same_gradients_with_the_same_noise(variant: type, options: dict) -> None:
    loss, kept = gradients(variant, **options)
    again, recomputed = gradients(variant, recompute=True, **options)
    assert torch.equal(loss, again)
    assert kept.keys() == recomputed.keys()
    for name, gradient in kept.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=1e-5, atol=1e-8)
    other, _ = gradients(variant, seed=6, **options)
    assert other != loss, "the noise matters, so that it being the same is a result"


@pytest.mark.parametrize("variant", [LSTMCompressor, ResidualGRUCompressor])
def test_truncating_at_the_end_changes_nothing(variant: type) -> None:
    loss, whole = gradients(variant)
    cut_loss, cut = gradients(variant, truncate=4)
    torch.testing.assert_close(cut_loss, loss)
    for name, gradient in whole.items():
        torch.testing.assert_close(cut[name], gradient, rtol=1e-5, atol=1e-8)


def test_truncating_stops_gradients_and_nothing_else() -> None:
    loss, whole = gradients(GRUCompressor)
    cut_loss, cut = gradients(GRUCompressor, truncate=2)
    torch.testing.assert_close(cut_loss, loss)  # forward, nothing is cut
    assert cut.keys() == whole.keys()
    first = next(name for name in whole if name.startswith("encoder"))
    assert (cut[first] - whole[first]).norm() > 0.01 * whole[first].norm()
    torch.manual_seed(0)
    codec = GRUCompressor(width=0.02, iterations=4, binarize="sign").codec.train()
    image = IMAGE.clone().requires_grad_()
    seen: dict[int, Tensor] = {}

    def watch(t: int, codes: Tensor) -> Tensor:
        seen[t] = codes
        return codes

    steps = list(codec.encode(image, choose=watch, truncate=2))
    for t, step in enumerate(steps):
        reach = torch.autograd.grad(
            step.estimate.value.sum(), list(seen.values()), retain_graph=True, allow_unused=True
        )
        assert [gradient is not None for gradient in reach] == [s <= t and s // 2 == t // 2 for s in range(4)]


def test_segments_are_freed_one_by_one() -> None:
    layer, alive = torch.nn.Linear(1, 1), []

    class Held(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            ctx.token = Token()
            return x.clone()

        @staticmethod
        def backward(ctx, above: Tensor) -> Tensor:
            return above

    class Token:
        count = 0

        def __init__(self) -> None:
            Token.count += 1

        def __del__(self) -> None:
            Token.count -= 1

    def segments() -> Iterator[Tensor]:
        for value in range(5):
            alive.append(Token.count)
            yield Held.apply(layer(torch.full((1,), float(value)))).sum()

    loss = sum_of_segments(segments(), layer)
    assert max(alive) <= 1
    (loss * 3).backward()
    assert (layer.weight.grad.item(), layer.bias.grad.item()) == (3 * (0 + 1 + 2 + 3 + 4), 15)
    assert loss.item() == pytest.approx(10 * layer.weight.item() + 5 * layer.bias.item())


@pytest.mark.parametrize("length", [0, 5])
def test_wrong_lengths_are_named(length: int) -> None:
    with pytest.raises(ValueError, match=rf"truncate={length} is outside 1\.\.4"):
        LSTMCompressor(width=0.02, iterations=4, truncate=length)


def test_the_benchmark_measures_every_option_and_network(capsys) -> None:
    for networks, rows in ((False, benchmark.CASES), (True, benchmark.NETWORKS)):
        benchmark.benchmark(width=0.02, batch=1, iterations=4, steps=1, networks=networks)
        lines = capsys.readouterr().out.splitlines()[3:]
        assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == list(rows)
        assert all(float(line.split("|")[-2]) > 0 for line in lines)
