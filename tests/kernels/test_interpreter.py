"""The real Triton kernels, without a GPU: these tests again in processes where Triton interprets its kernels on the
CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rnncomp_kernels import _launch

pytest.importorskip("triton", reason="triton is not installed")
if _launch.INTERPRETED:
    pytest.skip("already in the interpreter", allow_module_level=True)

HERE = Path(__file__).parent


GROUPS = {
    "promises": ["test_ops.py", "test_layer_step.py", "test_binarize.py", "test_ternarize.py"],
    "accuracy": [
        "on_kernels/test_accuracy.py",
        "on_kernels/test_fused_convolutions.py",
        "on_kernels/test_training_step.py",
    ],
    "benchmark": ["test_benchmark_providers.py"],
    "registration": ["on_kernels/test_registration.py", "on_kernels/test_capture.py", "test_compiled.py"],
}


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_in_the_interpreter(group):
    # CUDA is hidden, so that interpreted kernels meet CPU tensors everywhere
    environment = os.environ | {"TRITON_INTERPRET": "1", "TRITON_DEFAULT_FP_FUSION": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n0",
        "--no-header",
        "-p",
        "no:cacheprovider",
        *(str(HERE / name) for name in GROUPS[group]),
    ]
    run = subprocess.run(command, env=environment, cwd=HERE.parents[1], capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert " passed" in run.stdout and "skipped" not in run.stdout, run.stdout[-500:]
