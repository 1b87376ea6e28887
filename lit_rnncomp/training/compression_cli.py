"""LightningCLI over the compressors, the entropy models and their data."""

from __future__ import annotations

import sys
from argparse import SUPPRESS
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import lightning as L
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins.environments import SLURMEnvironment

from ..advice import fail, of_parser

# Imported so that their short class names are known: `--model GRUCompressor`, `class_path: EntropyData`.
from ..data.module import PhotographData
from ..sweep.trials import metrics_kept
from . import compressors, entropy, entropy_data, ternary
from .agreement import Agreement
from .artifacts import BestArtifact
from .callbacks import Diagnostics, Precision, StepSeeds
from .checkpoints import (
    LAST,
    LastCheckpoint,
    WholeFiles,
    best_checkpoint,
    go_on,
    keep_name,
    last_of_run,
    last_run,
    metrics_folder,
    model_options,
    named_folder,
)
from .command import last_value
from .processes import Distributed, Validations
from .provenance import Provenance, RunConfig, begin
from .report import PredictedPictures, RunReport, WandbPanels
from .restart import MovedCheckpoints, RatesOfThisStart, TimeOfThisStart
from .yaml_of_names import MODE

__all__ = ["CompressionCLI", "compressors", "entropy", "entropy_data", "ternary"]


class OneLineParser(LightningArgumentParser):
    """Says in one line what is wrong with a command line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        fail(of_parser(_told(message), (name for action in self._actions for name in action.option_strings)))


def _told(message: str) -> str:
    """What the parser says of a value, without all the types that it might have had, and the value at length."""
    left_out = (
        "Does not validate against any",
        "Subtypes:",
        "Errors:",
        "Expected a <class 'NoneType'>",
        "Given value",
    )
    lines = (line.strip().removeprefix("- ") for line in message.splitlines())
    return "\n".join(line for line in lines if not line.startswith(left_out))


class CompressionCLI(LightningCLI):
    """One parser for every model of the package; the data are photographs unless another class is named."""

    def __init__(self, **options: Any) -> None:
        defaults: dict[str, Any] = {
            "subclass_mode_model": True,
            "subclass_mode_data": True,
            "seed_everything_default": 1,
            "save_config_callback": RunConfig,
            "parser_class": OneLineParser,
            "trainer_defaults": {
                "callbacks": [
                    best_checkpoint(),
                    Precision(),
                    StepSeeds(),
                    Agreement(),
                    Diagnostics(),
                    Provenance(),
                    WandbPanels(),
                    BestArtifact(),
                    RunReport(),
                    TimeOfThisStart(),
                    RatesOfThisStart(),
                    Validations(),
                    Distributed(),
                    MovedCheckpoints(),
                    PredictedPictures(),
                ],
                "num_sanity_val_steps": -1,
                "log_every_n_steps": 10,
            },
            "parser_kwargs": {"prog": "lit-rnncomp", "parser_mode": MODE, "allow_abbrev": False},
        }
        super().__init__(L.LightningModule, L.LightningDataModule, **{**defaults, **options})

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.set_defaults(
            {
                "data": {"class_path": f"{PhotographData.__module__}.PhotographData"},
                "trainer.check_val_every_n_epoch": None,  # `Validations` then chooses
                "trainer.logger": {
                    "class_path": "lightning.pytorch.loggers.CSVLogger",
                    "init_args": {"save_dir": "runs"},
                },
            }
        )
        parser.add_lightning_class_args(LastCheckpoint, "last_checkpoint")  # type: ignore[arg-type]

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **options: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **options)
        if subcommand == "fit":
            text = "Only say what the run would cost and where it would write: nothing is trained or written."
            parser.add_argument("--plan", action="store_true", default=SUPPRESS, help=text)
            parser.add_argument("--json", action="store_true", default=SUPPRESS, help="Print the plan as JSON.")
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """The options that a checkpoint was trained with are the model's defaults: what files and words say, wins.

        (Lightning lets those of the checkpoint win over both.)
        """
        if not getattr(self, "_subcommand_parsers", None):  # of a program that runs nothing by itself
            super().parse_arguments(parser, args)
            return
        words = sys.argv[1:] if args is None else args
        named = last_value(words, "--ckpt_path")
        known = self._restore(words[0], named) if named else False
        self.config = parser.parse_args(words)
        config = self.config[self.config.subcommand]
        if self.config.subcommand != "fit":
            last_of_run(config)
        if (chosen := config.get("ckpt_path")) and (chosen != named or not known):
            kind = getattr(config.get("model"), "class_path", None)
            if self._restore(self.config.subcommand, chosen, kind):
                self.config = parser.parse_args(words)
                self.config[self.config.subcommand]["ckpt_path"] = chosen
        name = last_value(words, r"--trainer\.logger\.(?:init_args\.)?version")
        keep_name(self.config[self.config.subcommand], name)

    def _restore(self, verb: str, checkpoint: str, kind: str | None = None) -> bool:
        """Makes the options of a checkpoint's model the defaults of a verb's, of a model of this `kind` where the
        checkpoint does not say; whether there are any."""
        if not Path(checkpoint).is_file():
            return False
        options = model_options(Path(checkpoint), resume=verb == "fit")
        kind = options.pop("_class_path", kind)
        if not options or kind is None:
            return False
        self._subcommand_parsers[verb].set_defaults({"model": {"class_path": kind, "dict_kwargs": options}})
        return True

    def _parse_ckpt_path(self) -> None:
        """Nothing: the arguments are parsed with the checkpoint's options already."""

    def before_instantiate_classes(self) -> None:
        if self.subcommand == "fit":
            if self.config.fit.get("json"):
                raise ValueError("--json is an option of --plan, and a run prints no JSON")
            go_on(self.config.fit)

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except ValueError as error:
            raise ValueError(_told(str(error)) or str(error)) from error

    def before_fit(self) -> None:
        folder = named_folder(self.config.fit)
        if folder is not None and self.trainer.is_global_zero and not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            begin(folder)

    def _run_subcommand(self, subcommand: str) -> None:
        config = self.config[subcommand]
        folder = metrics_folder(config) if subcommand != "fit" or config.get("ckpt_path") else None
        kept = metrics_kept(folder, subcommand) if folder and self.trainer.is_global_zero else nullcontext()
        with kept:
            super()._run_subcommand(subcommand)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """The trainer knows the checkpoint before it starts: `Starting` then takes no other weights."""
        given = super()._prepare_subcommand_kwargs(subcommand)
        chosen, last = given.get("ckpt_path"), last_run(self.config[subcommand])
        path = Path(last / "checkpoints" / LAST if last else chosen or "")
        if path.is_file():
            self.trainer.ckpt_path, given["ckpt_path"] = str(path), None
        return given

    def instantiate_trainer(self, **options: Any) -> L.Trainer:
        """Adds what makes a run survive: checkpoints written whole, and on SLURM a requeue that the job script does."""
        for name in ("accumulate_grad_batches", "check_val_every_n_epoch", "val_check_interval"):
            if isinstance(value := self._get(self.config_init, f"trainer.{name}"), int) and value < 1:
                way_out = "; trainer.limit_val_batches=0 leaves validations out" if "val" in name else ""
                raise ValueError(f"trainer.{name} is {value}, must be at least 1{way_out}")
        chosen = self._get(self.config_init, "trainer.plugins") or []
        plugins = [*(chosen if isinstance(chosen, list) else [chosen]), WholeFiles()]
        if SLURMEnvironment.detect():
            plugins.append(SLURMEnvironment(auto_requeue=False))
        if isinstance(self._get(self.config_init, "trainer.val_check_interval"), float):  # a share of each epoch
            chosen = self._get(self.config_init, "trainer.check_val_every_n_epoch")
            options = {"check_val_every_n_epoch": chosen or 1, **options}
        return super().instantiate_trainer(**{"plugins": plugins, **options})
