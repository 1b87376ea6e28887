"""Today's picture codecs through Pillow, each with the settings at which it is measured.

Every rate is the size of a whole file. A codec that this installation lacks has a reason (`Baseline.missing`), not a
crash.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from PIL import Image, features

from . import ladder
from .headers import header_bytes


class Coded(NamedTuple):
    """One file and the picture it decodes to.

    `setting` is what the codec was asked for (a quality, a rate, a number of iterations), `size` the bytes of the whole
    file, `header` those that are not entropy-coded picture (None where a format does not separate them), `nominal_bpp`
    a recurrent codec's bits before entropy coding (None elsewhere).
    """

    setting: float
    size: int
    header: int | None
    picture: Image.Image
    encode_seconds: float
    decode_seconds: float
    nominal_bpp: float | None = None


@dataclass(frozen=True)
class Baseline:
    """A codec of Pillow, or of a plugin of Pillow.

    Args:
        name: how `--codecs` and the results call it.
        title: how plots and tables call it.
        format: Pillow's name of the format.
        library: Pillow's name of the library behind it, or the plugin's distribution and import name.
        setting: what the settings are: `quality`, or `bpp`, the rate asked for.
        settings: measured settings, in order of rising rate.
        options: setting -> keywords of `PIL.Image.save`; picklable, since codecs travel to worker processes.
    """

    name: str
    title: str
    format: str
    library: str | tuple[str, str]
    setting: str
    settings: tuple[float, ...]
    options: Callable[[float], dict[str, Any]]

    def missing(self) -> str | None:
        """Why this installation cannot run the codec, with the way out; None where it can."""
        if isinstance(self.library, tuple):
            distribution, module = self.library
            return (
                None
                if importlib.util.find_spec(module)
                else f"{self.name} needs the package {distribution}: pip install {distribution}"
            )
        if self.library in features.get_supported():
            return None
        way_out = "the wheels of a newer Pillow have it: pip install -U pillow"
        return f"{self.name} needs Pillow built with {self.library}; {way_out}"

    def versions(self) -> dict[str, str]:
        """Versions of everything that decides the codec's bytes."""
        versions = {"pillow": importlib.metadata.version("pillow")}
        if isinstance(self.library, tuple):
            versions[self.library[0]] = importlib.metadata.version(self.library[0])
        else:
            versions[self.library] = str(features.version(self.library))
        if self.format == "JPEG":
            versions["libjpeg-turbo"] = str(features.version("libjpeg_turbo"))
        return versions

    def encode(self, image: Image.Image, setting: float) -> bytes:
        """The file of an RGB `image` at one setting. Raises `ValueError` where the codec cannot make it."""
        self._import_plugin()
        file = io.BytesIO()
        try:
            image.save(file, self.format, **self.options(setting))
        except Exception as error:  # codecs fail in every way there is, plugins with errors of their own
            what = f"{self.name} cannot code {image.width} x {image.height} pixels at {self.setting} {setting:g}"
            raise ValueError(f"{what}: {' '.join(str(error).split()) or type(error).__name__}") from error
        return file.getvalue()

    def decode(self, data: bytes) -> Image.Image:
        """The RGB picture in a file of this codec."""
        self._import_plugin()
        return Image.open(io.BytesIO(data), formats=[self.format]).convert("RGB")

    def measure(self, image: Image.Image, settings: tuple[float, ...] | None = None) -> Iterator[Coded]:
        """Codes `image` at each of the settings (the codec's own by default)."""
        for setting in settings or self.settings:
            start = time.perf_counter()
            data = self.encode(image, setting)
            encoded = time.perf_counter()
            picture = self.decode(data)
            yield Coded(setting, len(data), header_bytes(data), picture, encoded - start, time.perf_counter() - encoded)

    def fit(self, image: Image.Image, max_bytes: int) -> Coded:
        """The file of least squared error among those of at most `max_bytes`; the shortest file where none is that
        short.

        All qualities are tried, see `ladder`. Of a codec that takes rates, rates are tried from a little above what
        `max_bytes` are downwards, until a file fits.
        """
        if self.setting == "bpp":
            return next(self.measure(image, (self._rate(image, max_bytes),)))
        return next(self.measure(image, (ladder.best(ladder.ladder(self, image), max_bytes).setting,)))

    def _rate(self, image: Image.Image, max_bytes: int) -> float:
        bpp = 1.05 * max_bytes * 8 / (image.width * image.height)
        while (size := len(self.encode(image, bpp))) > max_bytes and bpp > 0.01:
            bpp *= min(0.99, max_bytes / size)
        return bpp

    def _import_plugin(self) -> None:
        if isinstance(self.library, tuple):
            importlib.import_module(self.library[1])


def _jpeg_options(subsampling: str, optimize: bool, progressive: bool, quality: float) -> dict[str, Any]:
    return {"quality": int(quality), "subsampling": subsampling, "optimize": optimize, "progressive": progressive}


def _webp_options(quality: float) -> dict[str, Any]:
    return {"quality": int(quality), "method": 6}


def _jpeg2000_options(bpp: float) -> dict[str, Any]:
    return {"quality_mode": "rates", "quality_layers": [24 / bpp], "irreversible": True, "mct": 1}


def _avif_options(quality: float) -> dict[str, Any]:
    return {"quality": int(quality), "speed": 6, "max_threads": 1}


def _jpegxl_options(quality: float) -> dict[str, Any]:
    # At 100 the library wants to be told that no loss is meant.
    return {"quality": int(quality), "lossless": quality == 100, "effort": 7}


def _jpeg(name: str, title: str, subsampling: str, optimize: bool, progressive: bool = False) -> Baseline:
    settings = (1, 3, 5, 7, 9, 11, 13, 16, 20, 25, 30, 37, 45, 53, 61, 69, 76, 82, 87, 91, 95)
    return Baseline(
        name, title, "JPEG", "jpg", "quality", settings, partial(_jpeg_options, subsampling, optimize, progressive)
    )


_BASELINES = (
    _jpeg("jpeg420", "JPEG 4:2:0, optimised", "4:2:0", optimize=True),
    _jpeg("jpeg444", "JPEG 4:4:4, optimised", "4:4:4", optimize=True),
    _jpeg("jpeg420-progressive", "JPEG 4:2:0, progressive", "4:2:0", optimize=True, progressive=True),
    _jpeg("jpeg444-progressive", "JPEG 4:4:4, progressive", "4:4:4", optimize=True, progressive=True),
    _jpeg("jpeg420-default", "JPEG 4:2:0, the standard's Huffman tables", "4:2:0", optimize=False),
    _jpeg("jpeg444-default", "JPEG 4:4:4, the standard's Huffman tables", "4:4:4", optimize=False),
    Baseline(
        "webp",
        "WebP",
        "WEBP",
        "webp",
        "quality",
        (1, 4, 8, 13, 20, 28, 37, 46, 55, 64, 72, 78, 83, 88, 92, 95),
        _webp_options,
    ),
    Baseline(
        "jpeg2000",
        "JPEG 2000 (OpenJPEG)",
        "JPEG2000",
        "jpg_2000",
        "bpp",
        tuple(k / 8 for k in range(1, 17)),
        _jpeg2000_options,
    ),
    Baseline(
        "avif",
        "AVIF",
        "AVIF",
        "avif",
        "quality",
        (1, 5, 10, 15, 20, 26, 32, 38, 44, 50, 56, 62, 68, 74, 80, 86, 90),
        _avif_options,
    ),
    Baseline(
        "jpegxl",
        "JPEG XL",
        "JXL",
        ("pillow-jxl-plugin", "pillow_jxl"),
        "quality",
        (1, 5, 10, 16, 22, 28, 35, 42, 50, 58, 65, 72, 78, 83, 87, 91, 94),
        _jpegxl_options,
    ),
)
BASELINES = {baseline.name: baseline for baseline in _BASELINES}


def named_baselines(names: str) -> tuple[list[Baseline], dict[str, str]]:
    """The codecs of a list separated by commas (or `none`), and of those that this installation lacks, the reason by
    name.

    Raises `ValueError` for a name that is none of `BASELINES`.
    """
    chosen, missing = [], {}
    for name in dict.fromkeys(names.replace(" ", "").split(",")):
        if name in ("", "none"):
            continue
        if name not in BASELINES:
            raise ValueError(f"--codecs has {name!r}; the codecs are {', '.join(BASELINES)}")
        if reason := BASELINES[name].missing():
            missing[name] = reason
        else:
            chosen.append(BASELINES[name])
    return chosen, missing
