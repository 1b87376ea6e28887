"""`lit-rnncomp fit | validate | test | predict`: LightningCLI over the compressors and the photographs."""

from __future__ import annotations

import warnings

from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from ..data.module import PhotographData
from .callbacks import FiniteLoss, StepSeeds
from .compressors import Compressor
from .report import RunReport


class CompressionCLI(LightningCLI):
    """One parser for every architecture; `iterations` is given once."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.set_defaults({"trainer.logger": {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "runs"}}})

    def before_instantiate_classes(self) -> None:
        # Lightning 2.6 advertises a product and torch 2.13 deprecates a private class that Lightning still uses.
        warnings.filterwarnings("ignore", message=".*litlogger.*|.*LeafSpec.*|.*does not have many workers.*")


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
    CompressionCLI(
        Compressor,
        PhotographData,
        subclass_mode_model=True,
        seed_everything_default=1,
        save_config_kwargs={"overwrite": True},
        trainer_defaults={
            "callbacks": [best_checkpoint(), StepSeeds(), FiniteLoss(), RunReport()],
            "num_sanity_val_steps": -1,
            "log_every_n_steps": 10,
        },
        parser_kwargs={"parser_mode": "omegaconf", "allow_abbrev": False},
    )
