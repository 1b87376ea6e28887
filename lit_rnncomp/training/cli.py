"""`lit-rnncomp fit | validate | test | predict`."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from pathlib import Path

import lightning as L
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from .command import prepared
from .compression_cli import CompressionCLI
from .plan_cli import planned, print_plan


def main() -> None:
    """Parses the command line and runs. Reads `sys.argv`, which Lightning's launchers execute again in other
    processes."""
    _quiet()
    sys.path.append(str(Path.cwd()))  # for `--model mine.Codec` of a file mine.py beside the run
    sys.argv[1:] = prepared(sys.argv[1:])
    try:
        if "--plan" in sys.argv:
            print_plan(planned(), "--json" in sys.argv)
            return
        CompressionCLI()
    except MisconfigurationException as error:  # a device that is not there, options that exclude each other
        raise ValueError(str(error)) from error
    except (RuntimeError, TypeError) as error:
        what, _, reasons = str(error).partition("\n")
        if what.startswith("Error(s) in loading state_dict for"):
            reason = reasons.strip().split("\n")[0]
            raise ValueError(f"the checkpoint's weights are not those of this model: {reason}") from error
        if not _of_lightning(error):
            raise
        raise ValueError(str(error)) from error
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning makes exit code 1 of it
            raise end.__context__ from None
        raise


def _of_lightning(error: Exception) -> bool:
    """Whether it is Lightning itself that objects, which it does to options, often with no class of its own."""
    raised = traceback.extract_tb(error.__traceback__)[-1]
    return Path(raised.filename).is_relative_to(Path(L.__file__).parent) and (raised.line or "").startswith("raise ")


def _quiet() -> None:
    """Leaves out what is no news: an advertisement, and deprecations between Lightning 2.6 and torch 2.13."""
    warnings.filterwarnings("ignore", message=".*LeafSpec.*|.*does not have many workers.*|.*exists and is not empty.*")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "litlogger" not in record.getMessage()
    )
