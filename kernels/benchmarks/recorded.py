"""Launches of kernels, recorded instead of made: what a kernel is handed, and the bytes it moves.

The bytes are those of the kernel's own loads and stores, counted in Triton's first intermediate form after inlining and
after removing what nothing uses; no GPU is needed for it.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.compiler.compiler import make_backend

import rnncomp_kernels

# What Triton does by default, asked for by name: it warns of another default to come.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")

POINTERS = {
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.uint8: "*u8",
    torch.int64: "*i64",
}
BYTES = {"f32": 4, "bf16": 2, "f16": 2, "i8": 1, "i64": 8}
TARGET = GPUTarget("cuda", 80, 32)


class Launch(NamedTuple):
    """A kernel, the values of its parameters, the compiler's options and how many programs run."""

    kernel: Any
    values: dict[str, Any]
    options: dict[str, int]
    programs: int


class Recorder:
    """Stands for a kernel: `recorder[grid](...)` notes the launch instead of making it."""

    def __init__(self, kernel: Any, launches: list[Launch]) -> None:
        self.kernel, self.launches = kernel, launches

    def __getitem__(self, grid: tuple[int, ...]) -> Callable:
        programs = 1
        for n in grid:
            programs *= n

        def launch(*arguments: Any, num_warps: int, num_stages: int = 3, **named: Any) -> None:
            values = dict(zip(self.kernel.arg_names, arguments, strict=False)) | named
            options = {"num_warps": num_warps, "num_stages": num_stages}
            self.launches.append(Launch(self.kernel, values, options, programs))

        return launch


def _modules() -> list[Any]:
    names = [m.name for m in pkgutil.iter_modules(rnncomp_kernels.__path__)]
    return [importlib.import_module(f"rnncomp_kernels.{name}") for name in names]


@contextmanager
def recorders() -> Iterator[list[Launch]]:
    """No kernel runs meanwhile: each launch goes to the list."""
    launches: list[Launch] = []
    kernels = [(m, key, value) for m in _modules() for key, value in vars(m).items() if key.endswith("_kernel")]
    for module, key, kernel in kernels:
        setattr(module, key, Recorder(kernel, launches))
    try:
        yield launches
    finally:
        for module, key, kernel in kernels:
            setattr(module, key, kernel)


def signature(kernel: Any, values: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Types of the kernel's parameters, and the values of its constants, as Triton's launcher would make them."""
    types, constants = {}, {}
    for parameter in kernel.params:
        value = values[parameter.name]
        if parameter.is_constexpr:
            types[parameter.name], constants[parameter.name] = "constexpr", value
        elif isinstance(value, torch.Tensor):
            types[parameter.name] = POINTERS[value.dtype]
        else:
            types[parameter.name] = "fp32" if isinstance(value, float) else "i32"
    return types, constants


@cache
def _accesses(kernel: Any, types: tuple, constants: tuple, options: tuple) -> tuple[int, int]:
    """Bytes of all loads and stores for an element of the tile, and for a program (of single values)."""
    backend = make_backend(TARGET)
    parsed, context = backend.parse_options(dict(options)), ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    source = ASTSource(fn=kernel, signature=dict(types), constexprs=dict(constants))
    module = source.make_ir(
        TARGET, parsed, backend.get_codegen_implementation(parsed), backend.get_module_map(), context
    )
    stages: dict[str, Callable] = {}
    backend.add_stages(stages, parsed, source.language)
    text = str(stages["ttir"](module, {}))
    found = re.findall(r"tt\.(?:load|store) .* : (tensor<[^!]*)?!tt\.ptr<(\w+)>", text)
    element = sum(BYTES[kind] for tensor, kind in found if tensor)
    return element, sum(BYTES[kind] for tensor, kind in found if not tensor)


def touched(launch: Launch) -> int:
    """Bytes that an element-wise kernel reads and writes in this launch; of a convolution, each tensor once, which is
    the least that it moves."""
    values = launch.values
    if "rows" not in values:
        tensors = {id(x): x for x in values.values() if isinstance(x, torch.Tensor)}
        return sum(x.numel() * x.element_size() for x in tensors.values())
    types, constants = signature(launch.kernel, values)
    element, program = _accesses(
        launch.kernel, tuple(types.items()), tuple(constants.items()), tuple(launch.options.items())
    )
    return element * values["rows"] * values["inner"] + program * launch.programs


def multiply_adds(launches: list[Launch]) -> int:
    """Of the convolutions in an op's launches: each weight of the layer once at each position, though two kernels may
    take a part of it each; the state's where there is one. 0 of element-wise kernels."""
    found = {}
    for values in (launch.values for launch in launches if "rows" not in launch.values):
        for name in values:
            if name == "weight" or (name.endswith("_weight") and values.get("STATE", True)):
                found[id(values[name])] = values["count"] * values[name].numel()
    return sum(found.values())
