"""Compile every kernel for a GPU that need not be there and print what the compiler made of it, as JSON.

    python compile_kernels.py sm_90              one object: variant -> resources
    python compile_kernels.py --write            all targets, into registers.json beside this file

Every launcher is called once a variant with recorders in place of its kernels, so the signatures are those of real
launches.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from rnncomp_kernels import _launch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "kernels" / "benchmarks"))
from recorded import Launch, recorders, signature

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_120": GPUTarget("cuda", 120, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
TABLE = Path(__file__).with_name("registers.json")
SHORT = {torch.float32: "fp32", torch.bfloat16: "bf16"}


def element_wise(dtype: torch.dtype, form: torch.memory_format) -> Iterator[tuple[str, Callable]]:
    """Each launcher of the element-wise ops under the name `module.suffix`, ready to be called."""

    def t(k: int) -> torch.Tensor:
        return torch.empty(32, k * 128, 16, 16, dtype=dtype, memory_format=form)

    one, seed = t(1), torch.zeros((), dtype=torch.int64)
    arguments: dict[str, list[tuple]] = {
        "lstm_update": [(t(4), one, t(4), True), (t(4), one, one, one)],
        "associative_lstm_update": [(t(9), t(2), t(9), True), (t(9), t(2), t(2), t(2))],
        "gru_reset": [(t(3), t(2), one), (t(3), t(2), one, one)],
        "gru_update": [(t(3), t(2), one, one), (one, t(3), t(2), one, one)],
        "residual_gru_update": [(0.1, 0.1, t(4), t(3), one, one), (one, one, 0.1, 0.1, t(4), t(3), one, one)],
        "binarize": [(one, seed), (one, one)],
        "ternarize": [(one,)],
    }
    for name, (forward, *backward) in arguments.items():
        module = importlib.import_module(f"rnncomp_kernels.{name}")
        yield f"{name}.forward", lambda m=module, a=forward: m._launch_forward(*a)
        for values in backward:
            yield f"{name}.backward", lambda m=module, a=values: m._launch_backward(*a)
    # As a layer's own node calls them (`layer_step.py`).
    lstm, associative, reset, gru, residual = (
        importlib.import_module(f"rnncomp_kernels.{name}")
        for name in ("lstm_update", "associative_lstm_update", "gru_reset", "gru_update", "residual_gru_update")
    )
    yield "lstm_update.node", lambda: lstm._launch_backward_into(t(4), one, one, one, one, t(4), one)
    yield "associative_lstm_update.node", lambda: associative._launch_backward_into(*map(t, (9, 2, 2, 2, 2, 9, 2)))
    yield "gru_reset.node", lambda: reset._launch_backward_into(t(3), t(2), one, one, t(3), t(2), one)
    yield (
        "gru_update.node",
        lambda: gru._launch_backward_into(one, one, (t(3), t(2), one, one), (t(3), t(2), one, one), False),
    )
    yield (
        "residual_gru_update.node",
        lambda: residual._launch_backward_into(
            one, one, 0.1, 0.1, (t(4), t(3), one, one), (t(4), t(3), one, one), False
        ),
    )


def convolutions(dtype: torch.dtype) -> Iterator[tuple[str, Callable]]:
    """The widest layers of the DCT network: 3x3 on the input, 1x1 on the state."""

    def t(*size: int) -> torch.Tensor:
        return torch.empty(*size, dtype=dtype)

    x, h = t(4, 48, 64, 96), t(4, 48, 64, 96)
    lstm, gru, residual = (
        importlib.import_module(f"rnncomp_kernels.{name}")
        for name in ("conv_lstm_step", "conv_gru_step", "conv_residual_gru_step")
    )
    for keep in (False, True):
        arguments = (x, t(192, 48, 3, 3), t(192), h, t(192, 48, 1, 1), h, 1, keep)
        yield f"conv_lstm_step.{'training' if keep else 'inference'}", lambda a=arguments: lstm._launch_forward(*a)
    yield (
        "conv_gru_step",
        lambda: gru._launch_forward(x, t(144, 48, 3, 3), t(144), t(96, 48, 1, 1), t(48, 48, 1, 1), h, 1),
    )
    weights = t(192, 48, 3, 3), t(192), t(144, 48, 1, 1), t(48, 48, 1, 1)
    yield "conv_residual_gru_step", lambda: residual._launch_forward(x, *weights, h, 1, 0.1, 0.1)


def multiplying(precision: str, call: Callable) -> None:
    """`call()` while cuDNN is told to multiply float32 so."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    try:
        call()
    finally:
        torch.backends.cudnn.allow_tf32 = before


def variants() -> Iterator[tuple[str, Callable]]:
    forms = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    for dtype, form in (
        (torch.float32, "contiguous"),
        (torch.bfloat16, "contiguous"),
        (torch.bfloat16, "channels_last"),
    ):
        for name, call in element_wise(dtype, forms[form]):
            yield f"{name} {SHORT[dtype]} {form}", call
    for name, call in convolutions(torch.bfloat16):
        yield f"{name} bf16 channels_last", call
    for precision in ("tf32", "ieee"):
        for name, call in convolutions(torch.float32):
            yield f"{name} {precision} channels_last", lambda p=precision, c=call: multiplying(p, c)


def launches() -> Iterator[tuple[str, Launch]]:
    """Every variant's launch."""
    for name, call in variants():
        with recorders() as noted:
            call()
        for i, launch in enumerate(noted):
            yield f"{name} {i + 1}/{len(noted)}" if len(noted) > 1 else name, launch


def compile_for(target: GPUTarget, launch: Launch) -> Any:
    """As Triton's own launcher would: pointers and sizes that 16 divides are known to be so."""
    kernel, values, options, _ = launch
    types, constants = signature(kernel, values)
    attributes = {}
    for i, parameter in enumerate(kernel.params):
        value = values[parameter.name]
        whole = isinstance(value, int) and value % 16 == 0
        if not parameter.is_constexpr and (isinstance(value, torch.Tensor) or whole):
            attributes[(i,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=kernel, signature=types, constexprs=constants, attrs=attributes)
    return triton.compile(source, target=target, options=options)


def resources(compiled: Any) -> dict[str, int]:
    """Registers, bytes of local memory and spills a thread, float64 instructions, 16-byte and narrower global
    accesses."""
    if "ptx" in compiled.asm:
        ptx = compiled.asm["ptx"]
        tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            Path(file.name).write_bytes(compiled.asm["cubin"])
            usage = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
        found = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL|SHARED):(\d+)", usage)}
        accesses = re.findall(r"(?:ld|st)\.global\S*", ptx)
        wide = sum(".v4.b32" in a or ".v2.b64" in a for a in accesses)
        return {
            "registers": found["REG"],
            "local": found["STACK"] + found["LOCAL"],
            "shared": compiled.metadata.shared,
            "fp64": len(re.findall(r"\.f64\b", ptx)),
            "wide": wide,
            "narrow": len(accesses) - wide,
        }
    text = compiled.asm["amdgcn"]
    count = {
        key: sum(map(int, re.findall(rf"\.{key}:\s+(\d+)", text)))
        for key in ("vgpr_count", "vgpr_spill_count", "sgpr_spill_count")
    }
    accesses = re.findall(r"\b(?:global|buffer)_(?:load|store)_\S+", text)
    wide = sum("dwordx4" in a for a in accesses)
    return {
        "registers": count["vgpr_count"],
        "local": count["vgpr_spill_count"] + count["sgpr_spill_count"],
        "shared": compiled.metadata.shared,
        "fp64": len(re.findall(r"_f64\b", text)),
        "wide": wide,
        "narrow": len(accesses) - wide,
    }


def measure(target: str) -> dict[str, dict[str, int]]:
    vars(_launch)["WARPS"] = _launch.THREADS // TARGETS[target].warp_size
    return {name: resources(compile_for(TARGETS[target], launch)) for name, launch in launches()}


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        table: dict = {"triton": triton.__version__} | {target: measure(target) for target in TARGETS}
        lines = json.dumps(table, indent=1)
        TABLE.write_text(
            re.sub(r"\{\n   +(\"registers[^}]*?)\n  \}", lambda m: "{" + re.sub(r"\s*\n\s*", " ", m[1]) + "}", lines)
            + "\n"
        )
    else:
        print(json.dumps(measure(sys.argv[1])))
