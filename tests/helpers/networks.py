"""What tests do to small networks."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def away_from_start(network: Network) -> Network:
    """The network, with weights that are not those that it starts from."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def arrays(network: nn.Module) -> dict[str, np.ndarray]:
    """Its weights, for the same network in NumPy."""
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}
