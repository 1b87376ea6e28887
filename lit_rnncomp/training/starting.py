"""What a module begins with: the weights that it names, or those of a checkpoint of the same network."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import lightning as L
from lightning.fabric.utilities.data import AttributeDict

from ..files import printable


class Starting(L.LightningModule):
    """A module with an option `weights`, from which it starts in every verb, unless a checkpoint is restored.

    A checkpoint says under `config_key` what network it has.
    """

    config_key: ClassVar[str]
    _started = False

    @abstractmethod
    def start_from(self, weights: str) -> None:
        """Takes the weights that the option names."""

    @abstractmethod
    def described(self) -> dict[str, Any]:
        """The network's configuration."""

    @property
    def hparams_initial(self) -> AttributeDict:
        """The options as loggers write them: in UTF-8, which names of files need not be."""
        options = super().hparams_initial
        texts = {name: value for name, value in options.items() if isinstance(value, str)}
        return AttributeDict(options | {name: printable(text) for name, text in texts.items()})

    def setup(self, stage: str) -> None:
        # Only once: after training, `test` is not to go back to the start.
        if not self._started and self.trainer.ckpt_path is None and (weights := self.hparams["weights"]):
            self.start_from(weights)
        self._started = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[self.config_key] = self.described()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses to go on with another network than the checkpoint has, which a folder shared by several runs may
        hold, or to measure it; after fewer iterations, or more, it is the same to measure. Raises `ValueError`."""
        self._started = True
        if self._trainer is None:
            return
        goes_on, here = self.trainer.state.fn == "fit", self.described()
        differ = [
            f"{name} is {here.get(name)} in this run, {value} there"
            for name, value in checkpoint.get(self.config_key, {}).items()
            if value != here.get(name) and (goes_on or name != "iterations")
        ]
        if differ:
            what = "go on from" if goes_on else "measure"
            own = ", or a folder of its own with --trainer.logger.init_args.version" if goes_on else ""
            raise ValueError(f"cannot {what} {self.trainer.ckpt_path}: {', '.join(differ)}; give the same options{own}")
