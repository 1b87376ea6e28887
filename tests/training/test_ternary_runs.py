"""Runs of the networks of ternary codes: cut and resumed, continued, started from earlier weights, by their recipes."""

from pathlib import Path

import lightning as L
import pytest
import torch
import yaml
from helpers.onlookers import CutAt
from helpers.ternary_runs import SMALL, fit

from lit_rnncomp.codec import ternary_weights
from lit_rnncomp.training.checkpoints import LastCheckpoint
from lit_rnncomp.training.optimizers import make_schedule
from lit_rnncomp.training.recurrent_ternary import RecurrentTernaryDecoder, RecurrentTernaryEntropyModel
from lit_rnncomp.training.ternary_decoder import TernaryDecoder
from lit_rnncomp.training.ternary_entropy import TernaryEntropyModel

CONFIGS = Path(__file__).parents[2] / "configs" / "ternary"
STATELESS = (TernaryEntropyModel, TernaryDecoder)


@pytest.mark.parametrize("kind", [*STATELESS, RecurrentTernaryEntropyModel, RecurrentTernaryDecoder])
def test_a_run_that_was_cut_resumes_to_the_same_weights(kind, pictures, tmp_path):
    def run(folder, callbacks, **options):
        L.seed_everything(1)
        module = kind(**SMALL)
        fit(module, pictures, folder, callbacks=callbacks, **options)
        return torch.cat([value.double().flatten() for value in module.state_dict().values()])

    whole = run(tmp_path / "whole", [])
    with pytest.raises(RuntimeError, match="cut"):
        run(tmp_path / "cut", [CutAt(5), LastCheckpoint(1)])
    resumed = run(tmp_path / "cut", [LastCheckpoint(1)], ckpt_path="last")
    torch.testing.assert_close(resumed, whole, rtol=0, atol=0)


def test_a_run_can_be_continued_with_another_length(pictures, tmp_path):
    """One that would not have ended, decayed from its last checkpoint, is the run of that length from the start."""

    def run(folder, steps, callbacks, **options):
        L.seed_everything(1)
        module = TernaryDecoder(**SMALL, decay=0.5)
        fit(module, pictures, folder, steps, callbacks, **options)
        return torch.nn.utils.parameters_to_vector(module.network.parameters())

    with pytest.raises(RuntimeError, match="cut"):
        run(tmp_path / "open", -1, [CutAt(5), LastCheckpoint(1)])
    branched = run(tmp_path / "open", 8, [LastCheckpoint(1)], ckpt_path="last")
    torch.testing.assert_close(branched, run(tmp_path / "whole", 8, []), rtol=0, atol=0)


@pytest.mark.parametrize("kind", STATELESS)
def test_a_run_can_start_from_earlier_weights(kind, pictures, tmp_path):
    trainer, _ = fit(kind(**SMALL, lr=0.01), pictures, tmp_path / "earlier", steps=3)
    earlier = Path(trainer.checkpoint_callback.best_model_path)
    module = kind(**SMALL, weights=str(earlier), lr=0.0)
    fit(module, pictures, tmp_path, steps=3)
    state = torch.load(earlier, weights_only=True)["state_dict"]
    for name, value in module.network.state_dict().items():
        assert torch.equal(value, state[f"network.{name}"])
    for options, message in (
        ({"channels": 16}, "another shape"),
        ({"blocks": 0}, "another shape"),
        ({"weights": "none.ckpt"}, "no such"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            fit(kind(**{**SMALL, "weights": str(earlier), **options}), pictures, tmp_path, steps=1)


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("kind", STATELESS)
def test_more_blocks_begin_as_none(kind, stages, pictures, tmp_path):
    """A run from fewer blocks starts with the same function, and its new blocks learn."""
    torch.manual_seed(0)
    small = {**SMALL, "stages": stages}
    earlier = kind(**small)
    fit(earlier, pictures, tmp_path / "earlier", steps=3)
    (path,) = (tmp_path / "earlier").rglob("best.ckpt")
    module = kind(**{**small, "blocks": small["blocks"] + 2}, weights=str(path), lr=0.0)
    fit(module, pictures, tmp_path / "same", steps=3)
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    logged = module.trainer.callback_metrics[module.monitor[0]]
    assert logged == pytest.approx(float(earlier.trainer.callback_metrics[module.monitor[0]]), rel=1e-5)
    module.train()
    for _ in range(2):  # what comes before a block that adds nothing learns nothing at first
        module.training_step(image, 0).backward()
        with torch.no_grad():
            for parameter in module.network.parameters():
                parameter -= 0.01 * parameter.grad.sign()
    assert all(torch.any(p.grad != 0) for n, p in module.network.named_parameters() if "wide.2.weight" in n)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["entropy", "decoder"])
def test_recipes_run(name, starts, tmp_path):
    options = {
        "model": {"init_args": {"channels": 8, "blocks": 1}},
        "data": {"init_args": {"steps_per_epoch": 2, "batch_size": 2, "max_side": 64}},
        "trainer": {"max_steps": 4, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False},
    }
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(options))
    start = starts(tmp_path, "fit", "--config", CONFIGS / f"{name}.yaml", "--config", "small.yaml")
    assert start.wait() == 0, start.output()
    (best,) = tmp_path.glob("runs/lightning_logs/*/checkpoints/best.ckpt")
    network = ternary_weights.load_context_model(best) if name == "entropy" else ternary_weights.load_refiner(best)
    assert sum(p.numel() for p in network.parameters()) > 1000


def test_the_rate_of_a_recipe_falls_at_its_end_alone():
    recipe = yaml.safe_load((CONFIGS / "decoder.yaml").read_text())
    options, total = recipe["model"]["init_args"], recipe["trainer"]["max_steps"]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    schedule = make_schedule(optimizer, "wsd", options["warmup"], total, options["final_lr"], options["decay"])
    factor = schedule.lr_lambdas[0]
    assert factor(options["warmup"]) == factor(int(0.75 * total)) == 1
    assert factor(total) == pytest.approx(options["final_lr"])
