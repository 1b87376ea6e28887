"""Collected only where kernels run: in the interpreter (test_interpreter.py starts it) or on a CUDA device."""

import torch

from rnncomp_kernels import _launch

collect_ignore_glob = (
    [] if _launch.use_kernels(torch.empty(0, device="cuda" if torch.cuda.is_available() else "cpu")) else ["*"]
)
