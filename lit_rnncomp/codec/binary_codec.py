"""Pictures to bytes and back with binary codes: the paper's networks and their relatives."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..models.config import RECONSTRUCTIONS, UNITS
from ..models.numpy_codec import NumpyCodec
from ..progress import Progress, silent
from . import container, geometry, weights
from .coders import Coder, Codes, RawCoder
from .container import Binary, BitstreamError, Header, Writer
from .entropy import EntropyCoder
from .pixels import Pixels, Source, as_bytes, as_pixels, check_pixels, is_grey
from .rate import RateError, check_targets

if TYPE_CHECKING:
    import torch

    from ..models.recurrent_codec import RecurrentCodec
    from .torch_engine import TorchEngine

CoderName = Literal["auto", "raw", "rnn"]


class BinaryCodec:
    """A trained network as an encoder and decoder of pictures.

    Args:
        network: the trained network, which is put into evaluation mode; or its NumPy version, which needs no torch.
        name: what messages and results call it.
        device: where a network of torch runs.
        entropy: the entropy model trained on this network's codes; None if there is none.

    Raises `ValueError` when `entropy` is for another number of bits, or the network's codes are not binary.
    """

    def __init__(
        self,
        network: RecurrentCodec | NumpyCodec,
        name: str = "codec",
        device: str | torch.device = "cpu",
        entropy: EntropyCoder | None = None,
    ) -> None:
        if network.config.codes != "binary":
            raise ValueError(f"files of recurrent networks with codes={network.config.codes!r} are not supported yet")
        if entropy is not None and entropy.bits != network.config.bits:
            raise ValueError(
                f"the entropy model codes {entropy.bits} bits a position, the network makes {network.config.bits}"
            )
        self.entropy = entropy
        self.network = network
        self.name = name
        self.digest = weights.digest(network)
        self._engine: NumpyCodec | TorchEngine
        if isinstance(network, NumpyCodec):
            self._engine = network
        else:
            from .torch_engine import TorchEngine

            self._engine = TorchEngine(network, device)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}, model {self.digest.hex()}>"

    @property
    def iterations(self) -> int:
        """The most iterations of a file."""
        return self.network.config.iterations

    def encode(
        self,
        image: Source,
        bpp: float | None = None,
        max_bytes: int | None = None,
        psnr: float | None = None,
        iterations: int | None = None,
        coder: CoderName = "auto",
        exact: bool = False,
        progress: Progress = silent,
    ) -> bytes:
        """A picture of any size from 1x1 as the bytes of an `.rnnc` file.

        Args:
            image: a path, file object, PIL image, array or tensor; see `pixels.as_pixels`.
            bpp: the file has at most this many bits per pixel, headers included.
            max_bytes: the file has at most this many bytes.
            psnr: stop at the first iteration whose decoded picture reaches this many dB; a warning says when none does.
            iterations: the number of iterations. At most one of these four may be given; without one, all iterations
                are coded.
            coder: `rnn` for the learned entropy coder, `raw` for plain bits, `auto` for the best that the model has.
            exact: the network runs in float64, several times slower, and the file has the same bytes on every machine.
                (In float32 a code close to its threshold falls to one side or the other by the processor's kernels.)

            progress: called after each iteration, of a large picture after each window, with its number and how many
                there are.

        Raises:
            ValueError: an argument is outside its range.
            RateError: not even one iteration fits.
        """
        array = as_pixels(image)
        check_targets({"bpp": bpp, "max_bytes": max_bytes, "psnr": psnr, "iterations": iterations})
        budget = container.byte_budget(array.shape[0] * array.shape[1], bpp, max_bytes)
        limit = self._iterations(iterations)
        header, tiling = self._header(array, coder)
        writer = Writer(header)
        encoder = self.coder(header, tiling)
        # Of plain bits it is known beforehand how many iterations fit.
        if isinstance(encoder, RawCoder):
            affordable = (budget - len(writer.data)) / encoder.chunk_bytes
            limit = max(1, min(limit, math.floor(affordable))) if affordable < limit else limit
        reached = False
        engine = self._engine.exact() if exact else self._engine
        steps = self._iterate(engine, array, tiling, limit, psnr is not None, progress)
        for index, (codes, error) in enumerate(steps):
            chunk = encoder.encode(codes)
            if len(writer.data) + chunk.size > budget:
                if index == 0:
                    raise RateError(_too_small(budget, len(writer.data) + chunk.size, array))
                break
            writer.append(chunk)
            if psnr is not None and 10 * math.log10(255**2 / max(error, 1e-12)) >= psnr:
                reached = True
                break
        if psnr is not None and not reached:
            warnings.warn(f"all {limit} iterations together stay below {psnr:g} dB", stacklevel=2)
        return writer.data

    def decode(
        self,
        data: bytes,
        iterations: int | None = None,
        partial: bool = False,
        exact: bool = False,
        progress: Progress = silent,
    ) -> Image.Image:
        """The picture in the bytes `data` after `iterations` (None: all that the file holds).

        With `partial`, a damaged or cut file gives the picture of its intact prefix. With `exact` the network runs in
        float64, several times slower: rounding then decides no pixel, and every machine draws the same picture. (In
        float32 a few pixels in a million differ by one grey level between processors and thread counts; the codes never
        do.) Raises `BitstreamError`; `ValueError` when the file holds fewer iterations, or `data` is no bytes.
        """
        header, tiling, codes = self._read(data, iterations, partial)
        stride = self.network.config.code_stride
        canvas = np.empty((header.height, header.width, 3), np.uint8)
        engine = self._engine.exact() if exact else self._engine
        windows = list(tiling.windows())
        for count, window in enumerate(windows, 1):
            *_, picture = engine.decode(_cut(codes, window))
            geometry.blend(canvas, picture(), window, tiling, stride)
            progress(count, len(windows))
        return _drawn(canvas, header)

    def decode_progressive(self, data: bytes, partial: bool = False) -> Iterator[Image.Image]:
        """The pictures after 1, 2, ... iterations, each as soon as it is decoded (a picture of several windows: all at
        the end)."""
        header, tiling, codes = self._read(data, None, partial)
        stride = self.network.config.code_stride
        windows = list(tiling.windows())
        canvases = [np.empty((header.height, header.width, 3), np.uint8) for _ in codes] if len(windows) > 1 else []
        for window in windows:
            for t, picture in enumerate(self._engine.decode(_cut(codes, window))):
                if canvases:
                    geometry.blend(canvases[t], picture(), window, tiling, stride)
                else:
                    yield _drawn(picture()[: header.height, : header.width], header)
        yield from (_drawn(canvas, header) for canvas in canvases)

    def _iterations(self, iterations: int | None) -> int:
        if iterations is None:
            return self.iterations
        if not 1 <= iterations <= self.iterations:
            raise ValueError(f"iterations={iterations} is outside 1..{self.iterations}, what this model is made for")
        return iterations

    def _header(self, array: Pixels, coder: CoderName) -> tuple[Header, geometry.Tiling]:
        if coder == "rnn" and self.entropy is None:
            raise ValueError(f"the model {self.name} has no learned entropy coder; use coder raw or auto")
        if coder not in ("auto", "raw", "rnn"):
            raise ValueError(f"coder {coder!r} is not one of auto, raw, rnn")
        config = self.network.config
        entropy = None if coder == "raw" else self.entropy
        height, width = array.shape[:2]
        tiling = geometry.plan(height, width, config.code_stride, config.multiple)
        layout = self._layout(tiling, b"" if entropy is None else entropy.digest)
        kind = container.RAW if entropy is None else container.LEARNED
        return Header(kind, width, height, self.digest, layout, is_grey(array)), tiling

    def _layout(self, tiling: geometry.Tiling, entropy_digest: bytes = b"") -> Binary:
        config = self.network.config
        return Binary(
            unit=UNITS.index(config.unit),
            reconstruction=RECONSTRUCTIONS.index(config.reconstruction),
            width_thousandths=round(config.width * 1000),
            bits=config.bits,
            stride=config.code_stride,
            window=tiling.window,
            overlap=tiling.overlap,
            entropy_digest=entropy_digest,
        )

    def coder(self, header: Header, tiling: geometry.Tiling) -> Coder:
        """A coder at the beginning of a file. Raises `BitstreamError`."""
        layout = header.layout
        assert isinstance(layout, Binary)
        if header.coder == container.RAW:
            return RawCoder(layout.bits, tiling.rows, tiling.columns)
        if self.entropy is None or self.entropy.digest != layout.entropy_digest:
            mine = "none" if self.entropy is None else self.entropy.digest.hex()
            raise BitstreamError(
                f"the file needs the entropy model {layout.entropy_digest.hex()}; the model {self.name} has {mine}"
            )
        return self.entropy.picture(tiling.rows, tiling.columns)

    def _iterate(
        self,
        engine: NumpyCodec | TorchEngine,
        array: Pixels,
        tiling: geometry.Tiling,
        limit: int,
        with_error: bool,
        progress: Progress,
    ) -> Iterator[tuple[Codes, float]]:
        """Codes of the whole grid and the mean squared error of the 8-bit picture (0 when not asked for), iteration by
        iteration."""
        stride, bits = self.network.config.code_stride, self.network.config.bits
        if not tiling.window:
            window = next(tiling.windows())
            steps = engine.encode(geometry.pixels(array, window, stride), limit)
            for count, (codes, picture) in enumerate(steps, 1):
                progress(count, limit)
                yield codes, self._squared_error(picture(), array, window) / array.size if with_error else 0.0
            return
        grid = np.zeros((limit, bits, tiling.rows, tiling.columns), np.int8)
        errors = np.zeros(limit)
        windows = list(tiling.windows())
        for count, window in enumerate(windows, 1):
            part = grid[:, :, window.top : window.bottom, window.left : window.right]
            known = np.zeros(part.shape[2:], np.bool_)
            known[: tiling.overlap if window.top else 0] = True
            known[:, : tiling.overlap if window.left else 0] = True

            def choose(t: int, codes: Codes, part: Codes = part, known: NDArray[np.bool_] = known) -> Codes:
                part[t] = np.where(known, part[t], codes)
                return part[t]

            steps = engine.encode(geometry.pixels(array, window, stride), limit, choose)
            for t, (_, picture) in enumerate(steps):
                if with_error:
                    errors[t] += self._squared_error(picture(), array, window, tiling.overlap)
            progress(count, len(windows))
        yield from zip(grid, errors / array.size, strict=True)

    def _squared_error(self, tile: Pixels, array: Pixels, window: geometry.Window, overlap: int = 0) -> float:
        """Of the window's own pixels: those that no earlier window has."""
        stride = self.network.config.code_stride
        truth = array[window.top * stride : window.bottom * stride, window.left * stride : window.right * stride]
        difference = tile[: truth.shape[0], : truth.shape[1]].astype(np.float64) - truth
        own = difference[overlap * stride if window.top else 0 :, overlap * stride if window.left else 0 :]
        return float(np.square(own).sum())

    def _read(self, data: bytes, iterations: int | None, partial: bool) -> tuple[Header, geometry.Tiling, list[Codes]]:
        file = container.parse(as_bytes(data), partial)
        header, chunks, layout = file.header, file.iterations, file.header.layout
        config = self.network.config
        if header.model_digest != self.digest:
            raise BitstreamError(
                f"the file was made by model {header.model_digest.hex()}, this one ({self.name}) is "
                f"{self.digest.hex()}: "
                "open the right one, model=FILE"
            )
        check_pixels(header, config.multiple)
        mine = self._layout(geometry.Tiling(0, 0, 0, 0))
        if not isinstance(layout, Binary) or layout._replace(window=0, overlap=0, entropy_digest=b"") != mine:
            raise BitstreamError(f"the header claims {layout}, which is not this model's layout")
        stride, window, overlap = layout.stride, layout.window, layout.overlap
        rows, columns = (
            geometry.plan(side, side, stride, config.multiple).rows for side in (header.height, header.width)
        )
        tiling = geometry.Tiling(rows, columns, window, overlap)
        step = config.multiple // stride
        if (window or overlap) and (not 0 < 2 * overlap < window or window % step or overlap % step):
            raise BitstreamError(f"the header claims windows of {window} positions that overlap by {overlap}")
        if (window or max(rows, columns)) * stride > geometry.LARGEST:
            raise BitstreamError(f"the header claims windows of more than {geometry.LARGEST} pixels a side")
        # Plain chunks (1) are those of coder 1 alone, and no chunk of either coder ends early (2).
        if any(chunk.kind > header.coder for chunk in chunks):
            raise BitstreamError("an iteration is not one of binary codes")
        if len(chunks) > self.iterations:
            raise BitstreamError(f"{len(chunks)} chunks, but the model has {self.iterations} iterations")
        if iterations is not None and not 1 <= iterations <= len(chunks):
            raise ValueError(f"iterations={iterations}: the file holds 1..{len(chunks)}")
        coder = self.coder(header, tiling)
        codes: list[Codes] = []
        try:
            for chunk in chunks[:iterations]:
                codes.append(coder.decode(chunk))
        except BitstreamError:
            if not partial or not codes:
                raise
        return header, tiling, codes


def _drawn(canvas: Pixels, header: Header) -> Image.Image:
    """The decoded picture; of a grey one the mean of the channels, which is never farther from the original."""
    if header.grey:
        sums = canvas.sum(axis=2, dtype=np.uint16, keepdims=True)
        canvas = np.repeat(((sums + 1) // 3).astype(np.uint8), 3, axis=2)
    return Image.fromarray(np.ascontiguousarray(canvas))


def _cut(codes: list[Codes], window: geometry.Window) -> Iterator[Codes]:
    for grid in codes:
        yield grid[:, window.top : window.bottom, window.left : window.right]


def _too_small(budget: float, needed: int, array: Pixels) -> str:
    bpp = 8 * needed / (array.shape[0] * array.shape[1])
    return f"{budget:.0f} bytes are too few: the first iteration of this picture needs {needed} bytes ({bpp:.3f} bpp)"
