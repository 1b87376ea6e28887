"""What a step costs is what it costs on tensors with data, and what the layer table says."""

from types import SimpleNamespace

import lightning as L
import pytest
import torch

from lit_rnncomp.training import LSTMCompressor, ResidualGRUCompressor
from lit_rnncomp.training.counting import Count, StepCost, size, step_cost

BATCH = torch.zeros(2, 3, 32, 32)


def made(variant: type = LSTMCompressor, **options: object) -> LSTMCompressor:
    module = variant(**{"width": 0.05, "iterations": 4, **options})
    module.trainer = L.Trainer(max_steps=5, logger=False, accelerator="cpu", enable_checkpointing=False)
    module.trainer.datamodule = SimpleNamespace(steps_per_epoch=10)
    return module


def cost(variant: type = LSTMCompressor, **options: object) -> StepCost:
    return step_cost(made(variant, **options), BATCH)


@pytest.mark.parametrize("options", [{}, {"recompute": True}, {"truncate": 1}, {"reconstruction": "additive"}])
def test_a_step_without_data_costs_what_one_with_data_does(options: dict) -> None:
    module = made(**options).train()
    module.log = lambda *args, **kwargs: None
    with Count() as count:
        module.training_step(BATCH.clone(), 0).backward()
    gradients = size(p.grad for p in module.parameters())
    found = cost(**options)
    assert (found.multiply_adds, found.gradients) == (count.operations // 2, gradients)
    assert found.activations == pytest.approx(count.peak - gradients, abs=1000)  # numbers that stand alone
    assert found.weights == size((*module.parameters(), *module.buffers()))


def test_memory_follows_what_is_kept() -> None:
    whole, again, cut = cost(iterations=8), cost(iterations=8, recompute=True), cost(iterations=8, truncate=1)
    assert max(again.activations, cut.activations) < 0.6 * whole.activations
    assert again.multiply_adds > 1.2 * whole.multiply_adds
    assert cost(iterations=4).activations < 0.6 * whole.activations


def test_a_further_iteration_of_the_papers_network_is_that_of_the_layer_table() -> None:
    """Forward and backward of each convolution of section 2.1's LSTM: 3 products for each weight and position."""
    four, five = (cost(width=1.0, iterations=n, optimizer="sgd") for n in (4, 5))
    # (kernel, inputs, outputs, positions) of 32x32 patches; gates are four times the channels.
    layers = [(3, 3, 64, 256), (3, 64, 1024, 64), (1, 256, 1024, 64), (3, 256, 2048, 16), (1, 512, 2048, 16)]
    layers += [(3, 512, 2048, 4), (1, 512, 2048, 4), (1, 512, 32, 4)]
    layers += [(1, 32, 512, 4), (2, 512, 2048, 4), (1, 512, 2048, 4), (3, 128, 2048, 16), (1, 512, 2048, 16)]
    layers += [(3, 128, 1024, 64), (3, 256, 1024, 64), (3, 64, 512, 256), (3, 128, 512, 256), (1, 32, 3, 1024)]
    by_hand = 3 * len(BATCH) * sum(k * k * i * o * positions for k, i, o, positions in layers)
    assert five.multiply_adds - four.multiply_adds == pytest.approx(by_hand, rel=0.01)


@pytest.mark.parametrize(("optimizer", "copies"), [("adam", 2), ("sgd", 1)])
def test_the_optimizers_state_is_counted(optimizer: str, copies: int) -> None:
    found = cost(optimizer=optimizer)
    assert found.optimizer == pytest.approx(copies * found.gradients, rel=1e-3)


def test_fused_gates_of_an_lstm_keep_less() -> None:
    plain, fused = (step_cost(made(), BATCH, kernels=kernels) for kernels in (False, True))
    assert fused.activations < plain.activations and fused.multiply_adds == plain.multiply_adds


def test_the_shipped_recipe_is_counted() -> None:
    options = {"reconstruction": "measured_gain", "frontend": "dct", "code_stride": 8, "bits": 8, "shortcut": True}
    found = cost(ResidualGRUCompressor, projections="per_iteration", optimizer="muon", ms_ssim_weight=0.5, **options)
    assert min(found) > 0 and found.memory == sum(found[1:])
