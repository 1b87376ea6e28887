"""Training the two networks of ternary codes: what is logged is what files and pictures have, resumed exactly, exported
as one model."""

from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from helpers.ternary_runs import (
    SMALL,
    assert_bits_are_those_of_files,
    assert_pictures_are_those_of_files,
    fit,
    signal,
    soft_pictures,
)
from PIL import Image

import lit_rnncomp
from lit_rnncomp.cli import main
from lit_rnncomp.codec import ternary_weights
from lit_rnncomp.codec.ternary_codec import TernaryCodec
from lit_rnncomp.models import ternary
from lit_rnncomp.models.context_model import levels
from lit_rnncomp.models.refiner import Refiner
from lit_rnncomp.models.ternary import PASSES, groups
from lit_rnncomp.training import decoder_losses
from lit_rnncomp.training.checkpoints import LastCheckpoint
from lit_rnncomp.training.optimizers import make_schedule
from lit_rnncomp.training.recurrent_ternary import RecurrentTernaryDecoder, RecurrentTernaryEntropyModel
from lit_rnncomp.training.ternary import middle
from lit_rnncomp.training.ternary_decoder import TernaryDecoder, threshold
from lit_rnncomp.training.ternary_entropy import TernaryEntropyModel

CONFIGS = Path(__file__).parents[2] / "configs" / "ternary"
STATELESS = (TernaryEntropyModel, TernaryDecoder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder with five soft pictures."""
    return soft_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def fitted(pictures, tmp_path_factory):
    """Trainer, module and data of each of the two, after a few steps."""
    runs = {}
    for kind in STATELESS:
        L.seed_everything(1)
        module = kind(**SMALL, lr=0.01)
        trainer, data = fit(module, pictures, tmp_path_factory.mktemp("run"))
        runs[kind] = trainer, module.eval(), data
    return runs


@pytest.fixture(scope="module")
def model(fitted, tmp_path_factory):
    """The file that `export` makes of both."""
    context, decoder = (fitted[kind][0].checkpoint_callback.best_model_path for kind in fitted)
    file = tmp_path_factory.mktemp("export") / "model.safetensors"
    main(["export", decoder, str(file), "--entropy", context])
    return file


def test_bits_per_pixel_are_logged_and_fall(fitted):
    trainer, module, _ = fitted[TernaryEntropyModel]
    rates = [float(trainer.callback_metrics[f"val/bpp_{t:02d}"]) for t in range(1, 10)]
    assert rates == sorted(rates)
    assert float(trainer.callback_metrics["val/bpp"]) == rates[-1]
    assert trainer.checkpoint_callback.monitor == "val/bpp"
    before = TernaryEntropyModel(**SMALL)
    with torch.no_grad():
        for picture in fitted[TernaryEntropyModel][2].val_dataloader():
            before.validation_step(picture / 127.5 - 1, 0)
    assert rates[-1] < 0.9 * before.means.compute()["val/bpp"]
    assert (module.mean_bits > 0).any()


@pytest.mark.parametrize("tune", ["psnr", "visual"])
def test_the_bits_that_are_logged_are_those_of_files(fitted, model, tune):
    """Of an iteration in which every coefficient has a code that is not 0, for files leave out those that have none."""
    path = Path(fitted[TernaryEntropyModel][0].checkpoint_callback.best_model_path)
    module = TernaryEntropyModel(**SMALL)
    module.network.load_state_dict(ternary_weights.load_context_model(path).state_dict())
    assert_bits_are_those_of_files(module, lit_rnncomp.load(model), tune)


def test_decoded_pictures_are_those_of_files(fitted, model):
    module = TernaryDecoder(**SMALL)
    path = Path(fitted[TernaryDecoder][0].checkpoint_callback.best_model_path)
    module.network.load_state_dict(ternary_weights.load_refiner(path).state_dict())
    held = fitted[TernaryDecoder][2].split()[1][0]
    assert_pictures_are_those_of_files(module, lit_rnncomp.load(model), held)


def test_quality_is_logged_for_both_tunes(fitted):
    metrics = fitted[TernaryDecoder][0].callback_metrics
    for name, after in (("psnr", 9), ("ms_ssim", 9), ("psnr_hvs", 9)):
        points = [float(metrics[f"val/{name}_{t:02d}"]) for t in range(5, after + 1)]
        assert points == sorted(points)
        assert float(metrics[f"val/mean_{name}"]) == pytest.approx(np.mean(points), rel=1e-5)
    assert fitted[TernaryDecoder][0].checkpoint_callback.monitor == "val/mean_psnr"


def test_an_untrained_decoder_is_as_good_as_the_middles_of_intervals():
    module = TernaryDecoder(**SMALL)
    module.log = lambda *args, **options: None
    torch.manual_seed(0)
    loss = module.training_step(torch.rand(4, 3, 64, 64) * 2 - 1, 0)
    assert loss.item() == pytest.approx(1)


def test_every_iteration_counts_alike():
    """An iteration's loss is its bits over their running mean, so about 1 however many they are."""
    module = TernaryEntropyModel(**SMALL)
    module.log = lambda *args, **options: None
    module.trainer = L.Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
    torch.manual_seed(0)
    image = torch.rand(12, 3, 64, 64) * 2 - 1
    loss = module.training_step(image, 0)
    drawn = module.mean_bits > 0
    assert 4 < drawn.sum() < 11
    assert 0.9 < loss.item() < 1.1
    before = module.mean_bits.clone()
    module.follow(module.mean_bits, torch.tensor([5, 5]), torch.tensor([2.0, 4.0]))
    kept = 0.98**2
    assert module.mean_bits[5] == pytest.approx(float(before[5]) * kept + 3 * (1 - kept) if before[5] else 3)
    assert torch.equal(module.mean_bits[6:], before[6:])


class CutAt(L.Callback):
    """The plug is pulled after some steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, *rest) -> None:
        if trainer.global_step == self.step:
            raise RuntimeError("cut")


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
def test_a_run_can_start_from_earlier_weights(kind, fitted, pictures, tmp_path):
    earlier = Path(fitted[kind][0].checkpoint_callback.best_model_path)
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


def test_export_makes_one_model_of_both(fitted, model, pictures, tmp_path, capsys):
    context, decoder = (fitted[kind][0].checkpoint_callback.best_model_path for kind in fitted)
    half = tmp_path / "half.safetensors"
    main(["export", decoder, str(half), "--entropy", context, "--half"])
    assert "model " in capsys.readouterr().out
    assert half.stat().st_size < model.stat().st_size
    picture = Image.open(pictures / "0.png")
    for path in (model, half):
        codec = lit_rnncomp.load(path)
        assert isinstance(codec, TernaryCodec)
        assert codec.decode(codec.encode(picture, bpp=1)).size == picture.size
    for arguments, message in (
        ([decoder], "name the checkpoint of their entropy model"),
        ([decoder, "--entropy", decoder], "not a checkpoint of an entropy model of ternary codes"),
        ([context, "--entropy", context], "not a checkpoint of"),
    ):
        with pytest.raises(SystemExit):
            main(["export", arguments[0], str(tmp_path / "x.safetensors"), *arguments[1:]])
        assert message in capsys.readouterr().err
        assert not (tmp_path / "x.safetensors").exists()


def test_an_entropy_model_whose_passes_know_no_codes_trains_and_codes(pictures, tmp_path):
    torch.manual_seed(0)
    module = TernaryEntropyModel(**SMALL, known_codes=False, lr=0.01)
    before = {name: p.clone() for name, p in module.network.named_parameters()}
    fit(module, pictures, tmp_path)
    changed = {name for name, p in module.network.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {name for name in before if not name.startswith(("seen", "mix", "merge"))}
    tensors, _ = ternary_weights.TernaryWeights.of(module.network, Refiner(8, 1))
    assert_bits_are_those_of_files(module, TernaryCodec(tensors), "psnr")


def test_codes_of_a_block_alone_can_be_made_files(pictures, tmp_path):
    torch.manual_seed(0)
    module = TernaryEntropyModel(**SMALL, neighbours=False, lr=0.01)
    fit(module, pictures, tmp_path)
    tensors, _ = ternary_weights.TernaryWeights.of(module.network, Refiner(8, 1))
    assert_bits_are_those_of_files(module, TernaryCodec(tensors), "psnr")


def test_files_that_end_early_leave_out_what_comes_later():
    torch.manual_seed(0)
    sent = decoder_losses.reached(400, 0.5, 3, 5, torch.device("cpu"))
    whole = sent.flatten(1).all(1)
    assert 0.4 < whole.float().mean() < 0.6
    odd = torch.from_numpy(ternary.parity(3, 5))
    for picture in sent[~whole]:
        passes = [picture[torch.from_numpy(groups()[group])][:, odd == bool(parity)] for group, parity in PASSES]
        assert all((codes == codes[:, :1]).all() for codes in passes), "of a pass, the same codes of every block"
        read = torch.cat([codes[:, 0] for codes in passes])
        assert (read[:-1] >= read[1:]).all(), "a beginning"
    assert decoder_losses.reached(9, 0.0, 3, 5, torch.device("cpu")).all()


def test_a_decoder_learns_from_early_ends_and_similarity(pictures, tmp_path):
    torch.manual_seed(0)
    module = TernaryDecoder(**SMALL, ms_ssim_weight=0.5, early_ends=0.5, lr=0.01)
    fit(module, pictures, tmp_path)
    assert {"train/relative_error", "train/relative_1-ms_ssim"} == module.step_values.keys()
    image = signal(np.asarray(Image.open(pictures / "0.png"))[:64, :64])
    sample = module.at(image, 5, "visual")
    level = levels(sample.x, sample.t + 1)
    centre, everything = middle(level), slice(None)
    unrefined = module.dissimilarity(image, sample, centre, module.synthesis(centre, sample), everything)
    torch.testing.assert_close(unrefined, torch.ones(1))
    exact = module.synthesis(sample.x / threshold(sample.t), sample)
    torch.testing.assert_close(exact, image, atol=1e-4, rtol=0)
    assert float(module.dissimilarity(image, sample, centre, exact, everything)) < 1e-3
    module.training_step(image, 0).backward()  # a batch of one
    with pytest.raises(ValueError, match=r"early_ends=2 is outside \[0, 1\]"):
        TernaryDecoder(**SMALL, early_ends=2)
    with pytest.raises(ValueError, match="ms_ssim_weight=-1 is negative"):
        TernaryDecoder(**SMALL, ms_ssim_weight=-1)


def test_weights_of_coefficients_travel_with_the_model(pictures, tmp_path):
    torch.manual_seed(0)
    weighting = {"visual_power": 0.8, "visual_ac": 0.7, "visual_chroma": 0.9}
    module = TernaryEntropyModel(**SMALL, **weighting, lr=0.01)
    fit(module, pictures, tmp_path)
    (path,) = tmp_path.rglob("best.ckpt")
    context = ternary_weights.load_context_model(path)
    tensors, _ = ternary_weights.TernaryWeights.of(context, Refiner(8, 1, **weighting))
    codec = TernaryCodec(tensors)
    assert codec.tune_weights[1, 7] == pytest.approx(1.732 * 0.7 * (16 / 61) ** 0.8)
    assert codec.tune_weights[1, 64 + 7] == pytest.approx(1.732 * 0.7 * 0.9 * 0.375 * (16 / 61) ** 0.8)
    assert codec.tune_weights[1, [0, 64]] == pytest.approx([1.732, 0.75 * 1.732])
    assert_bits_are_those_of_files(module, codec, "visual")
    with pytest.raises(ValueError, match="for visual_power=0.8 and the decoder for 1.0: train both with the same"):
        ternary_weights.TernaryWeights.of(context, Refiner(8, 1))
    with pytest.raises(ValueError, match=r"visual_power=1.5 is outside \[0, 1\]"):
        TernaryDecoder(**SMALL, visual_power=1.5)
    for name in ("visual_ac", "visual_chroma"):
        with pytest.raises(ValueError, match=rf"{name}=0.0 is outside \(0, 1\]"):
            TernaryDecoder(**SMALL, **{name: 0.0})
        with pytest.raises(ValueError, match=f"with {name}=1 alone"):
            RecurrentTernaryEntropyModel(**SMALL, **{name: 0.5})


@pytest.mark.parametrize(
    ("kind", "logged", "options"),
    [
        (RecurrentTernaryEntropyModel, "val/bpp", {"fed": "levels"}),
        (RecurrentTernaryEntropyModel, "val/bpp", {"fed": "codes", "known_codes": False}),
        (RecurrentTernaryDecoder, "val/mean_psnr", {}),
    ],
)
def test_networks_with_a_state_learn(kind, logged, options, pictures, tmp_path):
    """A validation unrolls them: what it logs gets better, and every weight that is used learns."""

    def run(steps, lr):
        L.seed_everything(1)
        module = kind(**SMALL, **options, lr=lr)
        trainer, _ = fit(module, pictures, tmp_path, steps=steps)
        return module, float(trainer.callback_metrics[logged])

    (before, worse), (after, better) = run(3, 0.0), run(12, 0.01)
    assert better < 0.9 * worse if kind is RecurrentTernaryEntropyModel else better > worse + 0.05
    for (name, old), new in zip(before.network.named_parameters(), after.network.parameters(), strict=True):
        assert torch.equal(old, new) is not new.requires_grad, name


def test_files_are_made_with_no_network_that_has_a_state(fitted, pictures, tmp_path, capsys):
    decoder = fitted[TernaryDecoder][0].checkpoint_callback.best_model_path
    trainer, _ = fit(RecurrentTernaryEntropyModel(**SMALL), pictures, tmp_path, steps=3)
    made = trainer.checkpoint_callback.best_model_path
    with pytest.raises(SystemExit) as end:
        main(["export", decoder, str(tmp_path / "x.safetensors"), "--entropy", made])
    assert end.value.code == 2
    assert "not a checkpoint of an entropy model of ternary codes" in capsys.readouterr().err
    assert not (tmp_path / "x.safetensors").exists()


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
