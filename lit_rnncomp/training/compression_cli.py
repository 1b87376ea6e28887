"""LightningCLI over the compressors, the entropy models and their data."""

from __future__ import annotations

import sys
from argparse import SUPPRESS
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins.environments import SLURMEnvironment

# Imported so that their short class names are known: `--model GRUCompressor`, `class_path: EntropyData`.
from ..data.module import PhotographData
from . import compressors, entropy, entropy_data, ternary
from .agreement import Agreement
from .artifacts import BestArtifact
from .callbacks import Diagnostics, Precision, StepSeeds
from .checkpoints import LastCheckpoint, WholeFiles, best_checkpoint, check_whole, go_on, named_folder
from .command import model_options
from .processes import Distributed, Validations
from .provenance import Provenance, RunConfig, begin
from .report import PredictedPictures, RunReport, WandbPanels
from .restart import MovedCheckpoints, RatesOfThisStart, TimeOfThisStart

__all__ = ["CompressionCLI", "compressors", "entropy", "entropy_data", "ternary"]


class CompressionCLI(LightningCLI):
    """One parser for every model of the package; the data are photographs unless another class is named."""

    def __init__(self, **options: Any) -> None:
        defaults: dict[str, Any] = {
            "subclass_mode_model": True,
            "subclass_mode_data": True,
            "seed_everything_default": 1,
            "save_config_callback": RunConfig,
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
            "parser_kwargs": {"prog": "lit-rnncomp", "parser_mode": "omegaconf", "allow_abbrev": False},
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

    def _parse_ckpt_path(self) -> None:
        chosen = self.config[self.config.subcommand].get("ckpt_path") if self.config.get("subcommand") else None
        if chosen and Path(chosen).is_file():
            check_whole(Path(chosen))  # Lightning's own words for it are a traceback
        # Lightning lets the options that a checkpoint was trained with win over those of the command line.
        names = [f"{self.config.get('subcommand')}.{name}" for name in model_options(sys.argv[1:])]
        given = {name: self.config[name] for name in names if name in self.config}
        super()._parse_ckpt_path()
        for name, value in given.items():
            self.config[name] = value

    def before_instantiate_classes(self) -> None:
        if self.subcommand == "fit":
            if self.config.fit.get("json"):
                raise ValueError("--json is an option of --plan, and a run prints no JSON")
            go_on(self.config.fit)

    def before_fit(self) -> None:
        folder = named_folder(self.config.fit)
        if folder is not None and self.trainer.is_global_zero and not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            begin(folder)

    def instantiate_trainer(self, **options: Any) -> L.Trainer:
        """Adds what makes a run survive: checkpoints written whole, and on SLURM a requeue that the job script does."""
        chosen = self._get(self.config_init, "trainer.plugins") or []
        plugins = [*(chosen if isinstance(chosen, list) else [chosen]), WholeFiles()]
        if SLURMEnvironment.detect():
            plugins.append(SLURMEnvironment(auto_requeue=False))
        if isinstance(self._get(self.config_init, "trainer.val_check_interval"), float):  # a share of each epoch
            chosen = self._get(self.config_init, "trainer.check_val_every_n_epoch")
            options = {"check_val_every_n_epoch": chosen or 1, **options}
        return super().instantiate_trainer(**{"plugins": plugins, **options})
