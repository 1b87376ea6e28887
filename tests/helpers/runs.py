"""A folder in which a small run is started again and again with the same command."""

import time
from pathlib import Path

import torch
import yaml

from .starts import Start, Starts, together

STEPS, EPOCH = 40, 12
VALIDATIONS = 4  # after each epoch, and at the end


class Run:
    """A folder in which a small run is started again and again with the same command."""

    def __init__(self, starts: Starts, folder: Path, workers: int = 0, processes: int = 1, **trainer: object) -> None:
        self.starts, self.folder, self.processes = starts, folder, processes
        self.environment: dict[str, object] = {}
        folder.mkdir()
        config = {
            "model": {
                "class_path": "LSTMCompressor",
                "init_args": {"width": 0.03, "iterations": 2, "schedule": "cosine", "lr": 0.002},
            },
            "data": {"init_args": {"batch_size": 2, "steps_per_epoch": EPOCH, "max_side": 64, "num_workers": workers}},
            "last_checkpoint": {"every_n_steps": 3},
            "trainer": {
                **{"max_steps": STEPS, "max_epochs": -1, "accelerator": "cpu", "devices": processes},
                **{
                    "enable_progress_bar": False,
                    "enable_model_summary": False,
                    "strategy": "ddp" if processes > 1 else "auto",
                },
                **{"callbacks": [{"class_path": "onlookers.Recorder"}], **trainer},
            },
        }
        (folder / "run.yaml").write_text(yaml.safe_dump(config))

    def start(self, *arguments: object) -> list[Start]:
        """The processes of one start, the first of them first."""
        command = ["fit", "--config", "run.yaml", "--ckpt_path", "last", *arguments]
        return together(self.starts, self.processes, self.folder, *command, **self.environment)

    def finish(self, *arguments: object) -> None:
        for process in self.start(*arguments):
            assert process.wait() == 0, process.output()

    def until(self, step: int, processes: list[Start]) -> None:
        """Waits until `step` steps are done."""
        while self.step() < step:
            assert all(process.exit_code() is None for process in processes), processes[0].output()
            time.sleep(0.002)

    def step(self) -> int:
        """Steps done by the start that got furthest."""
        path = self.folder / "record-0.txt"
        return max((int(line.split()[1]) for line in path.read_text().splitlines()), default=0) if path.exists() else 0

    def record(self, kind: str = "") -> list[list[str]]:
        """What each process computed, over all starts; a step that was done twice with the same result counts once."""
        paths = [self.folder / f"record-{rank}.txt" for rank in range(self.processes)]
        return [sorted({line for line in path.read_text().splitlines() if line.startswith(kind)}) for path in paths]

    def last(self) -> dict:
        """The last checkpoint; starts that were killed before their first one left folders without."""
        (path,) = self.folder.glob("runs/lightning_logs/*/checkpoints/last.ckpt")
        return torch.load(path, weights_only=False)


def assert_same(run: Run, whole: Run) -> None:
    """Each loss and batch of each process, each validation, and what the last checkpoint holds of the training."""
    ours, theirs = run.record(), whole.record()
    assert [len(lines) for lines in theirs] == [STEPS + VALIDATIONS] * run.processes
    assert ours == theirs
    assert run.last()["global_step"] == STEPS
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "loops"):
        torch.testing.assert_close(run.last()[part], whole.last()[part], rtol=0, atol=0)
