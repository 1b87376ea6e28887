"""One picture through one codec: every point, every metric, and a cache that knows what a measurement depends on."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..files import write_json
from .baselines import Baseline, Coded
from .frames import write_frame
from .metric_table import METRICS, METRICS_VERSION
from .neural import Neural
from .records import FORMAT, Measurement, Point

if TYPE_CHECKING:
    from torch import Tensor

AnyCodec = Baseline | Neural


def measure(
    image: Image.Image, codec: AnyCodec, cache: Path, device: str = "cpu", frames: Path | None = None
) -> Measurement:
    """Every point of `codec` on the RGB `image`, from `cache` where it has been measured before.

    Args:
        cache: folder of earlier measurements, one file by content of the picture, codec, its settings and versions, and
            metrics.
        device: where metrics are computed.
        frames: a folder for the decoded pictures without loss, named by setting; for models only.
    """
    record = cache / f"{codec.name}-{_key(image, codec)}.json"
    kept = _kept(record) if frames is None or (frames / "complete").exists() else None
    if kept is not None:
        return kept
    original = to_tensor(image, device)
    points = []
    for coded in codec.measure(image):
        if coded.picture.size != image.size:
            raise ValueError(f"{codec.name} decoded {coded.picture.size} pixels from a picture of {image.size}")
        points.append(_point(image, coded, distortion(original, to_tensor(coded.picture, device))))
        if frames is not None:
            frames.mkdir(parents=True, exist_ok=True)
            write_frame(frames / f"{int(coded.setting):03d}", coded.picture)
    if not points:
        raise ValueError(f"{codec.name} produced no file")
    result = Measurement(codec.name, codec.title, codec.setting, codec.versions(), machine(device), tuple(points))
    write_json(record, asdict(result))
    if frames is not None:
        (frames / "complete").touch()
    return result


def _kept(record: Path) -> Measurement | None:
    """An earlier measurement; None where there is none, or one that cannot be read and is measured again."""
    try:
        return Measurement.from_json(json.loads(record.read_text()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def distortion(original: Tensor, decoded: Tensor) -> dict[str, float | None]:
    """Every metric of two `(1, 3, H, W)` tensors; None for a metric that the picture is too small for."""
    from .metrics import PictureTooSmall

    values: dict[str, float | None] = {}
    for name, metric in METRICS.items():
        try:
            values[name] = round(metric.measure(original, decoded).item(), 6)
        except PictureTooSmall:
            values[name] = None
    return values


def to_tensor(image: Image.Image, device: str = "cpu") -> Tensor:
    """An RGB picture as `(1, 3, H, W)` uint8."""
    import torch

    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].to(device)


def digest(image: Image.Image) -> str:
    """SHA-256 of size and pixels: the same for the same picture in another file format."""
    return hashlib.sha256(f"{image.width}x{image.height}:".encode() + image.tobytes()).hexdigest()


def machine(device: str = "cpu") -> dict[str, str]:
    """What a reader needs to judge the seconds."""
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor()
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": name,
        "cores": str(os.cpu_count()),
        "torch_threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _key(image: Image.Image, codec: AnyCodec) -> str:
    depends_on = [FORMAT, METRICS_VERSION, tuple(METRICS), digest(image), codec.name, codec.versions(), codec.settings]
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:32]


def _point(image: Image.Image, coded: Coded, values: dict[str, float | None]) -> Point:
    return Point(
        setting=coded.setting,
        bytes=coded.size,
        header_bytes=coded.header,
        bpp=8 * coded.size / (image.width * image.height),
        nominal_bpp=coded.nominal_bpp,
        encode_seconds=round(coded.encode_seconds, 5),
        decode_seconds=round(coded.decode_seconds, 5),
        metrics=values,
    )
