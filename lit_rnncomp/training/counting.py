"""What a training step costs, counted on tensors without data: nothing is computed, and no device is needed."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any, NamedTuple

import lightning as L
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from rnncomp_kernels._launch import kernels_chosen


class StepCost(NamedTuple):
    """Of one step on one device: `multiply_adds` of convolutions and matrix products, forward and backward, and bytes.

    `weights`: parameters and buffers. `gradients`: of the parameters that want one. `optimizer`: its state.
    `activations`: what the peak of a step holds beyond these.
    """

    multiply_adds: int
    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def memory(self) -> int:
        """Bytes in all, at the peak of a step; what libraries and allocators keep for themselves comes on top."""
        return self.weights + self.gradients + self.optimizer + self.activations


def step_cost(
    module: L.LightningModule, batch: Tensor, precision: torch.dtype = torch.float32, kernels: bool = False
) -> StepCost:
    """Counts a step of `module` on a batch of the shape and type of `batch`.

    The module's weights are gone afterwards: it has ones without data.

    Args:
        module: with a trainer that has a data module, as `configure_optimizers` asks for it.
        batch: what `training_step` gets.
        precision: the type that autocast computes in; float32 is none.
        kernels: gates are fused kernels, as on a GPU, and not PyTorch's own operations, which keep other tensors for
            backward (more for the LSTMs, less for the residual GRU).
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    forget_values(module, mode)
    module.log = module.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign, assignment]
    parameters = [p for p in module.parameters() if p.requires_grad]
    cast = nullcontext() if precision == torch.float32 else torch.autocast("cpu", precision)
    with mode, kernels_chosen() if kernels else nullcontext():
        with Count() as count:
            data = torch.empty(batch.shape, dtype=batch.dtype)
            with cast:
                loss: Any = module.train().training_step(data, 0)
            loss.backward()
        gradients = size(p.grad for p in parameters if p.grad is not None)
        optimizer = _optimizer(module)
        optimizer.step()
        state = size(tree_leaves([dict(values) for values in optimizer.state.values()]))
    return StepCost(
        multiply_adds=count.operations // 2,
        weights=size((*module.parameters(), *module.buffers())),
        gradients=gradients,
        optimizer=state,
        activations=count.peak - gradients,
    )


class Count(TorchDispatchMode):
    """Counts bytes of tensors made inside of it that are still there, `now`, and at most, `peak`; and `operations`,
    two for a multiply-add, by PyTorch's own formulas.

    (PyTorch's `FlopCounterMode` holds on to what a recomputed network could let go of, and its `MemTracker` does not
    know modules that run more than once.)
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = self.operations = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and (storage := tensor.untyped_storage()) not in self._known:
                self._known.add(storage)
                self.now += storage.nbytes()
                weakref.finalize(storage, self._free, storage.nbytes())
        self.peak = max(self.peak, self.now)
        if formula := flop_registry.get(function._overloadpacket):
            self.operations += formula(*args, **(kwargs or {}), out_val=result)
        return result

    def _free(self, count: int) -> None:
        self.now -= count


def forget_values(module: nn.Module, mode: FakeTensorMode) -> None:
    """Puts tensors of the same shapes and memory formats without data in the place of all parameters and buffers."""
    for part in module.modules():
        tables: tuple[dict[str, Any], ...] = (part._parameters, part._buffers)
        for table in tables:
            for name, value in table.items():
                if value is not None:
                    with mode:
                        empty: Tensor = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype)
                    table[name] = nn.Parameter(empty, value.requires_grad) if table is part._parameters else empty


def size(tensors: Iterable[Any]) -> int:
    """Bytes of the tensors among these."""
    return sum(x.numel() * x.element_size() for x in tensors if isinstance(x, Tensor))


def _optimizer(module: L.LightningModule) -> torch.optim.Optimizer:
    """The one that a module configures, in any of the ways in which Lightning lets it say so."""
    made: Any = module.configure_optimizers()
    made = made["optimizer"] if isinstance(made, dict) else made
    while isinstance(made, (list, tuple)):
        made = made[0]
    assert isinstance(made, torch.optim.Optimizer)
    return made
