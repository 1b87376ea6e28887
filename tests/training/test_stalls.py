"""What the processes of a run wait for: the gradients, and a word with each other every few steps."""

import json
from pathlib import Path

import pytest
from helpers.starts import together

pytestmark = pytest.mark.slow
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
SMALL = ["--data.batch_size=2", "--data.max_side=64", "--data.steps_per_epoch=100", "--trainer.num_sanity_val_steps=0"]
CODEC = ["--model.init_args.width=0.02", "--model.init_args.iterations=3", "--model.init_args.optimizer=sgd"]
MEASURED = ["--model.init_args.frontend=dct", "--model.init_args.code_stride=8", "--model.init_args.bits=8"]
TERNARY = ["--model.init_args.channels=16", "--model.init_args.blocks=1", "--data.patch=32"]
MODELS = {
    "codec": ["--model=GRUCompressor", "--model.init_args.reconstruction=additive", *CODEC],
    "measured gain": ["--model=GRUCompressor", "--model.init_args.reconstruction=measured_gain", *CODEC, *MEASURED],
    "early iterations": ["--model=GRUCompressor", *CODEC, "--model.init_args.early_iterations=1"],
    "entropy model": ["--model=TernaryEntropyModel", *TERNARY, "--model.init_args.optimizer=sgd"],
    "decoder": ["--model=TernaryDecoder", *TERNARY, "--model.init_args.optimizer=sgd"],
}


def run(starts, folder: Path, processes: int, *arguments: str) -> list[dict[str, int]]:
    """What each process waited for in the steps from 10 to before 30, which are two intervals of logging."""
    watch = ["--trainer.callbacks+=onlookers.Waits", "--trainer.callbacks.first=10", "--trainer.callbacks.last=30"]
    length = ["--trainer.max_steps=31", "--trainer.max_epochs=-1", "--trainer.max_time=00:01:00:00", *watch]
    devices = [f"--trainer.devices={processes}", "--trainer.strategy=ddp"] if processes > 1 else []
    started = together(starts, processes, folder, "fit", *arguments, *SMALL, *length, *devices, *QUIET)
    assert [process.wait(300) for process in started] == [0] * processes, started[0].output()
    return [json.loads((folder / f"waits-{rank}.json").read_text()) for rank in range(processes)]


@pytest.mark.parametrize("name", MODELS)
def test_processes_wait_for_gradients_and_once_an_interval(starts, tmp_path, name):
    """Twenty steps: one reduction of gradients in each, and two of all else; nothing is sent by one to the others."""
    unused = 20 if name == "early iterations" else 0  # which parameters had a part, which torch must be told
    for waits in run(starts, tmp_path, 2, *MODELS[name]):
        fetched = waits.pop("fetched")
        assert waits == {"allreduce_": 20 + unused + 2}
        # From tensors of the CPU: what is logged, the value shown after every step, and checks of `one_hot`.
        assert fetched < 5 * 20 or unused
