"""The recipes of `configs/` as a rehearsal runs them: whole, or at the size of a CPU's few seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

CODEC = Path(__file__).parents[1] / "zoo" / "residual_gru_dct64.safetensors"
_LENGTH = "trainer/paper"
_BASE = "model/lstm_additive"
# The paper's length is that of all networks, bf16 a way to run them, and W&B nothing that a GPU changes.
_LEFT_OUT = ("paper", "bf16", "wandb")
_SMALL = {
    "Compressor": ["--model.init_args.width=0.02", "--model.init_args.iterations=2"],
    "EntropyModel": ["--model.init_args.width=8", "--data.init_args.patch=64"],
    "TernaryEntropyModel": ["--model.init_args.channels=16", "--model.init_args.blocks=1", "--data.init_args.patch=32"],
    "TernaryDecoder": ["--model.init_args.channels=16", "--model.init_args.blocks=1", "--data.init_args.patch=32"],
}


class Recipe(NamedTuple):
    """`words`: options of `fit`. `option`: it changes another recipe, and one way to run it is enough. `no_graph`,
    `no_compile`: why its step is not accelerated so, None where it is."""

    name: str
    words: list[str]
    option: bool
    no_graph: str | None
    no_compile: str | None


def recipes(configs: Path, small: bool) -> list[Recipe]:
    """Networks at the paper's length, what is added to that, and whole recipes.

    Raises:
        ValueError: `configs` is no folder of recipes.
    """
    names = sorted(path.relative_to(configs).with_suffix("").as_posix() for path in configs.rglob("*.yaml"))
    found = [recipe for name in names if (recipe := _recipe(configs, name, small))]
    if not found:
        raise ValueError(f"configs={configs} holds no recipes: give the folder configs of a checkout")
    return found


def _recipe(configs: Path, name: str, small: bool) -> Recipe | None:
    folder, _, stem = name.rpartition("/")
    files = {
        "model": [name, "data/photographs", _LENGTH],
        "trainer": [_BASE, "data/photographs", _LENGTH, name],
        "data": [],
    }.get(folder, [name])
    if not files or (folder == "trainer" and stem in _LEFT_OUT):
        return None
    kind, options = _model(configs, files)
    words = [f"--config={(configs / file).resolve()}.yaml" for file in files]
    words += [f"--model.init_args.codec={CODEC}"] if kind == "EntropyModel" else []
    words += ["--trainer.check_val_every_n_epoch=1", "--data.init_args.max_side=256"]
    if options.get("early_iterations"):  # a third of the batches; the timed ones unroll all
        words += ["--model.init_args.early_fraction=0.34"]
    if small:
        compresses = kind.endswith("Compressor")
        words += [*_SMALL.get("Compressor" if compresses else kind, []), "--data.init_args.batch_size=2"]
        words += ["--data.init_args.max_side=64"]
        words += [f"--model.init_args.{name}=1" for name in ("early_iterations", "truncate") if options.get(name)]
    other = None if kind.endswith("Compressor") else f"{kind} has no accelerate"
    separate = options.get("projections", "shared") != "shared" or options.get("shortcut")
    return Recipe(
        name=name,
        words=words,
        option=folder == "trainer",
        no_graph=other,
        no_compile=other or ("compile needs projections=shared and no shortcut" if separate else None),
    )


def _model(configs: Path, files: list[str]) -> tuple[str, dict[str, Any]]:
    """The class and the options of a recipe's network, as its files say."""
    import yaml

    kind = ""
    options: dict[str, Any] = {}
    for file in files:
        path = configs / f"{file}.yaml"
        try:
            read = yaml.safe_load(path.read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
        if not isinstance(read or {}, dict):
            raise ValueError(f"{path} is no recipe: not a mapping of keys to values")
        model = (read or {}).get("model") or {}
        kind = str(model.get("class_path", kind)).rsplit(".", 1)[-1]
        options |= model.get("init_args") or {}
    return kind, options
