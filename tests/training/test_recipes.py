"""What ships is parsed: every YAML of `configs/` and `sweeps/`, against the code that would run it."""

from __future__ import annotations

import re
from dataclasses import fields
from importlib import import_module
from itertools import product
from pathlib import Path

import pytest
import torch
from helpers.pages import PAGES, commands
from torch.utils.flop_counter import FlopCounterMode

from lit_rnncomp.models.config import CodecConfig
from lit_rnncomp.sweep.definition import Choice
from lit_rnncomp.sweep.reading import read_sweep
from lit_rnncomp.training.compression_cli import CompressionCLI

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = {
    folder: sorted((ROOT / "configs" / folder).glob("*.yaml"))
    for folder in ("model", "data", "trainer", "entropy", "ternary", ".")
}
BASELINE = ROOT / "configs/model/lstm_2016.yaml"
LENGTHS = ("paper", "common", "quarter", "small")


class Parser(CompressionCLI):
    """Stops before anything is built."""

    def instantiate_classes(self) -> None:
        pass


@pytest.fixture(scope="module")
def parse(request: pytest.FixtureRequest):
    patch = pytest.MonkeyPatch()
    patch.setattr("sys.argv", ["lit-rnncomp"])
    patch.chdir(ROOT)
    request.addfinalizer(patch.undo)
    parser = Parser(run=False, args=["--model=LSTMCompressor"]).parser

    def of(*arguments: object):
        return parser.parse_args([str(argument) for argument in arguments])

    return of


def configs(*paths: Path) -> list[str]:
    return [f"--config={path}" for path in paths]


def build(spec) -> torch.nn.Module:
    """The model of a parsed configuration, without memory for its weights unless it reads a codec's."""
    module, name = spec.class_path.rsplit(".", 1)
    with torch.device("cpu" if "codec" in spec.init_args else "meta"):
        return getattr(import_module(module), name)(**spec.init_args.as_dict())


def test_every_file_is_in_a_folder_that_is_parsed_here() -> None:
    found = {path for paths in CONFIGS.values() for path in paths}
    assert found == set((ROOT / "configs").rglob("*.yaml"))
    assert {path.stem for path in CONFIGS["trainer"]} >= set(LENGTHS)


def test_the_papers_networks_are_all_there(parse) -> None:
    seen = set()
    for path in set(CONFIGS["model"]) - {BASELINE}:
        parsed = parse(*configs(path, ROOT / "configs/data/hard_tiles.yaml", ROOT / "configs/trainer/paper.yaml"))
        config = build(parsed.model).codec.config
        assert path.stem == f"{config.unit}_{config.reconstruction}"
        assert (config.width, config.iterations, config.bits, config.bpp_per_iteration) == (1.0, 16, 32, 1 / 8)
        assert (parsed.model.init_args.optimizer, parsed.trainer.max_steps) == ("adam", 1_000_000)
        assert (parsed.data.init_args.batch_size, parsed.data.init_args.patch) == (32, 32)
        seen.add((config.unit, config.reconstruction))
    units = ("lstm", "associative_lstm", "gru", "residual_gru")
    assert seen == set(product(units, ("one_shot", "additive", "residual_scaling")))


def test_the_papers_baseline_spends_as_many_bits(parse) -> None:
    parsed = parse(*configs(BASELINE, ROOT / "configs/data/thumbnails.yaml", ROOT / "configs/trainer/paper.yaml"))
    config = build(parsed.model).codec.config
    assert (config.unit, config.reconstruction, config.layers) == ("lstm", "one_shot", "toderici2016")
    assert (config.width, config.iterations, config.bpp_per_iteration) == (1.0, 16, 1 / 8)


def test_the_rows_of_the_table_cost_the_same_within_a_tenth(parse) -> None:
    costs, seen = [], set()
    for number in range((sweep := read_sweep(ROOT / "sweeps/table.yaml")).grid_size()):
        command = sweep.command_line(sweep.grid_point(number))
        parsed = parse(*command[command.index("fit") + 1 :])
        module = build(parsed.model)
        seen.add((module.codec.config.unit, module.codec.config.reconstruction))
        assert (parsed.trainer.max_steps, module.codec.config.iterations) == (3000, 16)
        if module.codec.config.reconstruction != "residual_scaling":  # whose small network for gains comes on top
            costs.append(sum(p.numel() for p in module.codec.parameters() if p.dim() == 4))
    assert len(seen) == 16
    assert max(costs) <= 1.1 * min(costs), "all layers are at one resolution: a weight is a multiply-add a position"


def test_other_front_ends_cost_as_much_as_the_table_within_an_eighth(parse) -> None:
    def cost(command: list[str]) -> int:
        parsed = parse(*command[command.index("fit") + 1 :])
        assert parsed.trainer.max_steps == 3000
        codec = build(parsed.model).codec.to_empty(device="cpu")
        assert codec.config.bpp_per_iteration == 1 / 8
        with torch.no_grad(), FlopCounterMode(display=False) as counted:
            codec(torch.zeros(1, 3, 64, 64), 4)  # the state before the first costs nothing
        return counted.get_total_flops()

    table, others = (read_sweep(ROOT / f"sweeps/{name}.yaml") for name in ("table", "front_end"))
    expected = cost(table.command_line(table.grid_point(0)))
    *costs, baseline = [cost(others.command_line(others.grid_point(number))) for number in range(others.grid_size())]
    assert expected * 7 / 8 < min(costs) <= max(costs) < expected * 9 / 8
    assert expected < baseline < expected * 1.3


@pytest.mark.parametrize("data", CONFIGS["data"], ids=lambda path: path.stem)
def test_data_files_combine_with_every_length(parse, data: Path) -> None:
    for length in LENGTHS:
        parsed = parse(*configs(CONFIGS["model"][0], data, ROOT / "configs/trainer" / f"{length}.yaml"))
        assert parsed.data.class_path.endswith("PhotographData")
        assert build(parsed.model).codec.config.multiple <= parsed.data.init_args.patch


@pytest.mark.parametrize("path", CONFIGS["trainer"], ids=lambda path: path.stem)
def test_trainer_files_change_what_they_say(parse, path: Path) -> None:
    base = configs(CONFIGS["model"][0], CONFIGS["data"][0])
    before, after = parse(*base), parse(*base, *configs(path))
    assert before.as_dict() != after.as_dict()
    build(after.model)


@pytest.mark.parametrize("path", [*CONFIGS["."], *CONFIGS["entropy"], *CONFIGS["ternary"]], ids=lambda path: path.stem)
def test_whole_recipes_are_parsed(parse, path: Path) -> None:
    codec = ["--model.init_args.codec=residual_gru_dct64"] if path.parent.name == "entropy" else []
    build(parse(*configs(path), *codec).model)


@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_commands_of_sweeps_are_parsed(parse, path: Path) -> None:
    sweep = read_sweep(path)
    for pick in (0, -1):
        values = {
            key: choice.values[pick] if isinstance(choice, Choice) else (choice.low, choice.high)[pick]
            for key, choice in sweep.parameters.items()
        }
        command = sweep.command_line(values)
        parsed = parse(*command[command.index("fit") + 1 :])
        build(parsed.model)
        for key, value in values.items():
            found = parsed[key]
            assert str(value) in str(found) if isinstance(value, str) else found == value


@pytest.mark.parametrize("page", [page for page in PAGES if "fit" in page.read_text()], ids=lambda page: page.stem)
def test_the_training_commands_of_the_pages_are_parsed(parse, page: Path) -> None:
    for words in commands(page):
        if words[0] in ("fit", "validate", "test", "predict"):
            parse(*re.sub("--ckpt_path last|--plan|--json", "", " ".join(words[1:])).split())


def test_help_has_the_networks_options_with_their_documentation(parse, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--model.help=ResidualGRUCompressor")
    words = " ".join(capsys.readouterr().out.split())
    for field in fields(CodecConfig)[1:]:
        assert re.search(rf" --model\.{field.name} \S+ (?!\(type)", words), field.name
    assert "--model.unit" not in words and "multiplies every channel count of the layer table" in words


@pytest.mark.parametrize(
    "wrong", ["--model.init_args.unit=gru", "--model.init_args.widht=1", "--trainer.max_step=3", "--data.patches=2"]
)
def test_a_misspelt_key_is_refused(parse, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--model=LSTMCompressor", wrong)
    assert wrong.split("=")[0].rsplit(".", 1)[1] in capsys.readouterr().err
