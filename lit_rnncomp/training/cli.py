"""`lit-rnncomp fit | validate | test | predict`: LightningCLI over the compressors, the entropy models and their data."""

from __future__ import annotations

import logging
import sys
import warnings

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

# Imported so that their short class names are known: `--model GRUCompressor`, `class_path: EntropyData`.
from ..data.module import PhotographData
from . import compressors, entropy, entropy_data
from .callbacks import FiniteLoss, StepSeeds
from .report import RunReport

__all__ = ["CompressionCLI", "best_checkpoint", "compressors", "entropy", "entropy_data", "main"]


class CompressionCLI(LightningCLI):
    """One parser for every model of the package; the data are photographs unless another class is named."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.set_defaults(
            {
                "data": {"class_path": f"{PhotographData.__module__}.PhotographData"},
                "trainer.logger": {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "runs"}},
            }
        )


def best_checkpoint() -> ModelCheckpoint:
    """Keeps the checkpoint with the largest area under the MS-SSIM curve, and the last one, for `--ckpt_path last`."""
    return ModelCheckpoint(
        monitor="val/auc_ms_ssim",
        mode="max",
        save_last=True,
        save_on_exception=True,
        auto_insert_metric_name=False,
        filename="best",
        enable_version_counter=False,
    )


def main() -> None:
    """Parse the command line and run. Reads `sys.argv`, which Lightning's launchers execute again in other processes."""
    _quiet()
    sys.argv[0] = "lit-rnncomp"
    CompressionCLI(
        L.LightningModule,
        L.LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        seed_everything_default=1,
        save_config_kwargs={"overwrite": True},
        trainer_defaults={
            "callbacks": [best_checkpoint(), StepSeeds(), FiniteLoss(), RunReport()],
            "num_sanity_val_steps": -1,
            "log_every_n_steps": 10,
        },
        parser_kwargs={"parser_mode": "omegaconf", "allow_abbrev": False},
    )


def _quiet() -> None:
    """Leave out what is no news: an advertisement, and deprecations between Lightning 2.6 and torch 2.13."""
    warnings.filterwarnings("ignore", message=".*LeafSpec.*|.*does not have many workers.*|.*exists and is not empty.*")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(lambda record: "litlogger" not in record.getMessage())
