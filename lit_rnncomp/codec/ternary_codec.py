"""Pictures to bytes and back with ternary codes: what `lit_rnncomp.load` gives for the models that ship."""

from __future__ import annotations

import collections
import functools
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..models import lapped, ternary
from ..models.context_network import ContextNetwork
from ..models.lapped import BLOCK, PLANE, TUNES, Floats
from ..models.numpy_refiner import NumpyRefiner
from ..models.ternary import ITERATIONS, SCALES, Codes, Levels
from . import container, focus, metadata, weights
from .container import BitstreamError, Chunk, File, Header, Ternary, Writer
from .ms_ssim import Similarity
from .pixels import Pixels, as_pixels, check_pixels
from .rate import meet_quality, meet_size
from .ternary_coder import TernaryCoder

Tune = Literal["psnr", "visual"]

FINEST = ITERATIONS * SCALES - 1
"""Steps are last thresholds: that of step k is 2048 / 2**(k / 256)."""

# What a bit is worth, in squared thresholds: see "encoder decisions" in the zoo's README.
_MULTIPLIER = 0.15


class TernaryCodec:
    """A trained entropy model and decoder of ternary codes.

    Args:
        tensors: `context.*` are what `ContextModel.integers` returns, `refiner.*` the weights of a `Refiner`.
        name: what messages and results call it.
        qualities: the step of each quality from 1 to 100.
    """

    def __init__(
        self, tensors: Mapping[str, NDArray[Any]], name: str = "codec", qualities: list[int] | None = None
    ) -> None:
        self.tensors, self.name, self.qualities = tensors, name, qualities or []
        self.context = ContextNetwork(_part(tensors, "context."))
        self.refiner = NumpyRefiner(_part(tensors, "refiner."))
        self.digest = weights.ternary_digest(tensors)

    def encode(
        self,
        image: Image.Image | Pixels,
        bpp: float | None = None,
        max_bytes: int | None = None,
        psnr: float | None = None,
        ms_ssim: float | None = None,
        quality: int | None = None,
        tune: Tune = "visual",
        focus: Image.Image | Pixels | None = None,
        step: int | None = None,
        metadata: Mapping[str, bytes] | None = None,
    ) -> bytes:
        """A picture of any size from 1x1 as the bytes of an `.rnnc` file.

        Args:
            image: a PIL image of any mode, or `(H, W, 3)` uint8.
            bpp: the file has at most this many bits per pixel, headers included, and at least 98 % of that where the
                picture can use them.
            max_bytes: likewise in bytes.
            psnr: the decoded picture reaches this many dB, and exceeds it by 0.1 at most.
            ms_ssim: likewise, in dB, `-10 log10(1 - MS-SSIM)`; below 1 the MS-SSIM itself. At least 161 pixels a side.
            quality: 1 to 100, as in JPEG.
            tune: weights of the coefficients: `psnr` for the least squared error, `visual` for contrast sensitivity.
            focus: a mask of the picture's size; white regions are coded finer, black ones with thresholds four times
                coarser.
            step: the last threshold itself, 0 (coarsest) to 2815: 2048 / 2 ** (step / 256). At most one of the targets;
                quality 75 without one.

        Raises:
            ValueError: an argument is outside its range.
            RateError: the smallest file of the picture is larger than the target.
        """
        targets = {
            "bpp": bpp,
            "max_bytes": max_bytes,
            "psnr": psnr,
            "ms_ssim": ms_ssim,
            "quality": quality,
            "step": step,
        }
        given = [name for name, value in targets.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"give one of {', '.join(targets)}, not {' and '.join(given)}")
        if tune not in TUNES:
            raise ValueError(f"tune={tune!r} is not one of {', '.join(TUNES)}")
        if step is not None and not 0 <= step <= FINEST:
            raise ValueError(f"step={step} is outside 0..{FINEST}")
        picture = _Picture(self, as_pixels(image), tune, focus, metadata or {})
        if bpp is not None or max_bytes is not None:
            budget = container.byte_budget(picture.pixels, bpp, max_bytes)
            return meet_size(lambda k: picture.encode(k).data, picture.significant(), budget, picture.pixels)
        if psnr is not None:
            return picture.reach(psnr, picture.psnr, "dB of PSNR", 6 / SCALES)
        if ms_ssim is not None:
            if not ms_ssim > 0:
                raise ValueError(f"ms_ssim={ms_ssim} is not positive")
            wanted = _decibel(1 - ms_ssim) if ms_ssim < 1 else ms_ssim
            return picture.reach(wanted, picture.ms_ssim, "dB of MS-SSIM", 3.5 / SCALES)
        return picture.encode(self.step_of(75 if quality is None else quality) if step is None else step).data

    def step_of(self, quality: int) -> int:
        """The step of a quality from 1 to 100. Raises `ValueError`."""
        if not 1 <= quality <= 100:
            raise ValueError(f"quality={quality} is outside 1..100")
        if len(self.qualities) != 100:
            raise ValueError(f"the model {self.name} was not calibrated for qualities; give another target")
        return self.qualities[quality - 1]

    def decode(
        self, data: bytes, iterations: int | None = None, partial: bool = False, exact: bool = False
    ) -> Image.Image:
        """The picture in `data` after `iterations` (None: all that the file holds).

        With `partial`, a damaged or cut file gives the picture of its intact prefix. With `exact` the network runs in
        float64, several times slower: rounding then decides no pixel, and every machine draws the same picture. Raises
        `BitstreamError`; `ValueError` when the file holds fewer iterations.
        """
        file = container.parse(data, partial)
        if iterations is not None and not 1 <= iterations <= len(file.iterations):
            raise ValueError(f"iterations={iterations}: the file holds 1..{len(file.iterations)}")
        # One after the other: a picture's levels are large.
        state = collections.deque(self._states(file, iterations, partial), maxlen=1).pop()
        picture = Image.fromarray(self.draw(file, state, exact))
        picture.info.update(_metadata(file))
        return picture

    def decode_progressive(self, data: bytes, partial: bool = False) -> Iterator[Image.Image]:
        """The pictures after 1, 2, ... iterations, each as soon as it is decoded."""
        file = container.parse(data, partial)
        for state in self._states(file, None, partial):
            yield Image.fromarray(self.draw(file, state))

    def truncate(
        self, data: bytes, bpp: float | None = None, max_bytes: int | None = None, iterations: int | None = None
    ) -> bytes:
        """The longest beginning of a file within one limit, itself a file; its last iteration may end early.

        Raises `ValueError` when not exactly one limit is given or nothing fits, `BitstreamError` when the part kept is
        damaged.
        """
        return _Truncation(self, data).cut(bpp, max_bytes, iterations)

    def spent(self, data: bytes, partial: bool = False) -> NDArray[np.float64]:
        """Bits of the file that went into each block of 8x8 pixels, `(rows, columns)`."""
        file = container.parse(data, partial)
        self.layout(file.header)
        bits = np.zeros(_blocks(file.header))
        for _ in self._states(file, None, partial, bits):
            pass
        return bits

    def draw(self, file: File, state: State, exact: bool = False) -> Pixels:
        """The picture `(H, W, 3)` of a state of a file."""
        header, layout = file.header, self.layout(file.header)
        refiner = NumpyRefiner(self.refiner.tensors, np.float64) if exact else self.refiner
        coefficients = state.refined(refiner, layout)
        dtype = coefficients.dtype
        coefficients *= (ternary.threshold(state.t) / _factors(layout.tune, layout.scale)).astype(dtype)
        if (cells := file.payload(container.SCALES)) is not None:
            coefficients /= focus.from_bytes(cells, *_blocks(header)).astype(dtype)
        if header.grey:
            coefficients[..., PLANE:] = 0
        picture = lapped.synthesis(coefficients)[: header.height, : header.width]
        return np.repeat(picture[..., :1], 3, axis=2) if header.grey else np.ascontiguousarray(picture)

    def layout(self, header: Header) -> Ternary:
        """What the header says of the codes. Raises `BitstreamError` when this is not the model that made the file."""
        if header.model_digest != self.digest:
            raise BitstreamError(
                f"the file was made by model {header.model_digest.hex()}, this one ({self.name}) is "
                f"{self.digest.hex()}: "
                "give the right one with --model"
            )
        layout = header.layout
        if not isinstance(layout, Ternary) or layout.tune >= len(TUNES) or layout.first >= ITERATIONS:
            raise BitstreamError(f"the header claims {layout}, which is not this model's layout")
        check_pixels(header, BLOCK)
        return layout

    def _coder(self, header: Header) -> TernaryCoder:
        """A coder at the beginning of a file."""
        return TernaryCoder(self.context, *_blocks(header), *self.layout(header))

    def _states(
        self, file: File, iterations: int | None, partial: bool, spent: NDArray[np.float64] | None = None
    ) -> Iterator[State]:
        coder = self._coder(file.header)
        for count, chunk in enumerate(file.iterations[:iterations]):
            before = coder.context.levels if chunk.kind == container.CUT else None
            t = coder.context.iteration
            try:
                sent = read_iteration(coder, chunk, spent).sent
            except BitstreamError:
                if not partial or not count:
                    raise
                return
            yield State(t, before, coder.context.levels, sent)


class State(NamedTuple):
    """Levels after iteration `t`; where it ended early, those before and which coefficients it reached."""

    t: int
    before: Levels | None
    after: Levels
    sent: NDArray[np.bool_] | None

    def refined(self, refiner: NumpyRefiner, layout: Ternary) -> Floats:
        """Coefficients in units of T_t."""
        if self.sent is None or self.before is None:
            return refiner(self.after, self.t, layout.tune, layout.scale)
        # Of an iteration that ended early: what it reached as if all the rest had codes of 0, and the rest as it was
        # before.
        known = refiner(np.where(self.sent, self.after, 2 * self.before), self.t, layout.tune, layout.scale)
        before = 2 * refiner(self.before, self.t - 1, layout.tune, layout.scale) if self.t else np.zeros_like(known)
        return np.where(self.sent, known, before)


class Encoded(NamedTuple):
    """A file, and what its decoder knows in the end."""

    data: bytes
    state: State


class _Picture:
    """One picture, ready to be encoded at any threshold."""

    def __init__(
        self,
        codec: TernaryCodec,
        array: Pixels,
        tune: Tune,
        mask: Image.Image | Pixels | None,
        entries: Mapping[str, bytes],
    ) -> None:
        self.codec, self.array, self.tune = codec, array, TUNES.index(tune)
        height, width = array.shape[:2]
        self.pixels = height * width
        self.metadata = metadata.to_bytes(entries)
        self.grey = bool((array == array[..., :1]).all())
        padded = np.pad(array, ((0, -height % BLOCK), (0, -width % BLOCK), (0, 0)), mode="edge")
        self.target = lapped.analysis(padded)
        self.target *= lapped.coefficient_weights()[self.tune].astype(np.float32)
        if self.grey:
            self.target[..., PLANE:] = 0
        self.cells = None
        if mask is not None:
            rows, columns, _ = self.target.shape
            self.cells = focus.of_mask(_mask(mask, width, height), rows, columns)
            self.target *= focus.factors(self.cells, focus.CELL, rows, columns)

    @functools.cached_property
    def _largest(self) -> float:
        return float(max(self.target.max(), -self.target.min()))

    def significant(self) -> NDArray[np.int64]:
        """How many coefficients reach the threshold of each step, `(FINEST + 1,)`."""
        counts = np.zeros(FINEST + 2, np.int64)
        for row in self.target:
            with np.errstate(divide="ignore"):
                steps = np.ceil(SCALES * np.log2(ternary.FIRST / np.abs(row))).ravel()
            counts += np.bincount(np.clip(steps, 0, FINEST + 1).astype(np.intp), minlength=FINEST + 2)
        return np.cumsum(counts[: FINEST + 1])

    @functools.cached_property
    def finest_scale(self) -> int:
        """The last scale at which all coefficients stay below 2 T_0, as codes need it: 255 but for saturated stripes
        and the like."""
        room = 2 * ternary.FIRST * 0.9999 / max(self._largest, 1.0)
        return min(SCALES - 1, math.floor(SCALES * math.log2(room)))

    def encode(self, step: int) -> Encoded:
        """The file whose last threshold is that of `step`, or the next coarser one that the picture allows."""
        last, scale = divmod(step, SCALES)
        scale = min(scale, self.finest_scale)
        first = next((t for t in range(last) if self._largest * 2 ** (scale / SCALES) >= ternary.threshold(t)), last)
        height, width = self.array.shape[:2]
        header = Header(
            container.TERNARY, width, height, self.codec.digest, Ternary(self.tune, scale, first), self.grey
        )
        writer, coder = Writer(header), self.codec._coder(header)
        if self.metadata:
            writer.append(Chunk(self.metadata, container.METADATA))
        if self.cells is not None:
            writer.append(Chunk(focus.to_bytes(self.cells), container.SCALES))
        for t in range(first, last + 1):
            codes = ternary.digits(self.target, coder.context.levels, t, scale)
            choose = functools.partial(_thrifty, self.target, SCALES * last + scale) if t == last else None
            writer.append(Chunk(coder.encode(codes, choose=choose).payload))
        return Encoded(writer.data, State(last, None, coder.context.levels, None))

    def reach(self, target: float, quality: Any, unit: str, slope: float) -> bytes:
        """The smallest file found with at least a quality; with a warning the finest where none has it."""
        if not math.isfinite(target):
            raise ValueError(f"{target} {unit} is no number that a picture can reach")
        files: dict[int, bytes] = {}

        def measured(step: int) -> float:
            encoded = self.encode(step)
            files[step] = encoded.data
            return float(quality(self.codec.draw(container.parse(encoded.data), encoded.state)))

        step = meet_quality(measured, target, round(FINEST * 0.6), FINEST, slope, 0.1)
        if step is None:
            warnings.warn(
                f"no file of this picture reaches {target:g} {unit}: it is coded as finely as can be", stacklevel=4
            )
        return files[FINEST if step is None else step]

    def psnr(self, picture: Pixels) -> float:
        """Of a decoded picture, in dB."""
        return _decibel(float(np.square(picture.astype(np.float32) - self.array).mean(dtype=np.float64)) / 255**2)

    def ms_ssim(self, picture: Pixels) -> float:
        """Of a decoded picture, in dB. Raises `ValueError` for one that is too small."""
        return _decibel(1 - self._similarity(picture))

    @functools.cached_property
    def _similarity(self) -> Similarity:
        return Similarity(self.array)


class _Truncation:
    """A file on its way to be cut."""

    def __init__(self, codec: TernaryCodec, data: bytes) -> None:
        self.codec, self.data = codec, data
        self.header, self.head = container.parse_header(data)

    def cut(self, bpp: float | None, max_bytes: int | None, iterations: int | None) -> bytes:
        if sum(limit is not None for limit in (bpp, max_bytes, iterations)) != 1:
            raise ValueError("give exactly one of bpp, bytes and iterations")
        budget = container.byte_budget(self.header.pixels, bpp, max_bytes, iterations)
        writer, coder, count = Writer(self.header), self.codec._coder(self.header), 0
        for chunk in container.parse_chunks(self.data, self.head):
            if len(writer.data) + chunk.size > budget:
                if chunk.codes:
                    self._part(writer, coder, chunk, budget)
                break
            writer.append(chunk)
            if chunk.codes:
                count += 1
                if count == iterations:
                    break
                read_iteration(coder, chunk)
        if iterations is not None and count != iterations:
            raise ValueError(f"iterations={iterations}: the file holds 1..{count}")
        if not any(chunk.codes for chunk in container.parse_chunks(writer.data, self.head)):
            raise ValueError(f"{budget:.0f} bytes are too few for the first codes of this file, or it holds none")
        return writer.data

    def _part(self, writer: Writer, coder: TernaryCoder, chunk: Chunk, budget: float) -> None:
        """As many segments of an iteration as fit."""
        before, t = coder.context.levels, coder.context.iteration
        decoded = read_iteration(coder, chunk)
        coder.context.levels, coder.context.iteration = before, t
        # As in the file, so that a cut file is cut where the whole one would be.
        active = decoded.active
        bits = np.cumsum(coder.information(decoded.codes, active))
        if decoded.sent is not None:
            bits = bits[: chunk.payload[0]]
        room = budget - len(writer.data) - Chunk(bytes(1 + len(active))).size
        # The range coder needs some bytes more than the codes' information.
        for segments in range(int(np.searchsorted(bits, 8 * room, "right")), 0, -1):
            coder.context.levels, coder.context.iteration = before, t
            payload = coder.encode(decoded.codes, segments, active=active).payload
            part = Chunk(bytes([segments]) + payload, container.CUT)
            if len(writer.data) + part.size <= budget:
                writer.append(part)
                return


def read_iteration(coder: TernaryCoder, chunk: Chunk, spent: NDArray[np.float64] | None = None) -> Any:
    """The next iteration of a file, a whole one or one that ends early. Raises `BitstreamError`."""
    if chunk.kind == container.ITERATION:
        return coder.decode(chunk.payload, spent=spent)
    if chunk.kind == container.CUT and chunk.payload:
        return coder.decode(chunk.payload[1:], chunk.payload[0], spent)
    raise BitstreamError("an iteration is not one of ternary codes")


def _thrifty(
    target: Floats,
    step: int,
    where: NDArray[np.bool_],
    chosen: NDArray[np.intp],
    codes: Codes,
    more: Floats,
    sign: Floats,
) -> Codes:
    """Zeroes a code that costs more bits than its error is worth.

    `more`: bits that a code that is not 0 costs more than a 0; `sign`: those of its sign, 0 where it is known.
    """
    size = np.abs(target[where][:, chosen]) * np.float32(2 ** (step / SCALES) / ternary.FIRST)
    # A code that is not 0 puts the coefficient at about 1.4 thresholds.
    gained = size**2 - (size - 1.4) ** 2
    wasted = (sign > 0) & (gained < _MULTIPLIER * (more + sign))
    return np.where(wasted, 0, codes).astype(np.int8)


def _metadata(file: File) -> dict[str, bytes]:
    payload = file.payload(container.METADATA)
    return {} if payload is None else metadata.from_bytes(payload)


def _mask(mask: Image.Image | Pixels, width: int, height: int) -> Pixels:
    array = np.asarray(mask.convert("L")) if isinstance(mask, Image.Image) else np.asarray(mask)
    if array.shape != (height, width) or array.dtype != np.uint8:
        raise ValueError(
            f"the focus mask is {array.dtype}{array.shape}, the picture wants grey values of {width}x{height} pixels"
        )
    return array


def _blocks(header: Header) -> tuple[int, int]:
    return -(-header.height // BLOCK), -(-header.width // BLOCK)


def _factors(tune: int, scale: int) -> NDArray[np.float64]:
    return lapped.coefficient_weights()[tune] * 2 ** (scale / SCALES)


def _decibel(error: float) -> float:
    return -10 * math.log10(max(error, 1e-10))


def _part(tensors: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
