"""Muon as in pytorch_optimizer, in float32 on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_optimizer import Muon
from pytorch_optimizer.optimizer.utils.matrix import zero_power_via_newton_schulz_5
from torch import Tensor


class Float32Muon(Muon):
    """Muon whose Newton-Schulz steps run in float32 on a CPU.

    (The package runs them in bfloat16, which most CPUs emulate: six sevenths of a training step went there. On other devices it stays.)
    """

    @staticmethod
    def _orthogonalize(group: dict[str, Any], updates: list[Tensor]) -> list[Tensor]:
        if updates[0].device.type != "cpu":
            orthogonal: list[Tensor] = Muon._orthogonalize(group, updates)
            return orthogonal
        steps, weights = group["ns_steps"], group["ns_coeffs"]
        matrices = (update.reshape(len(update), -1) for update in updates)
        return [zero_power_via_newton_schulz_5(m, num_steps=steps, weights=weights, dtype=torch.float32) for m in matrices]
