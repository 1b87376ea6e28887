"""Pictures to bytes and back with ternary codes: what `lit_rnncomp.load` gives for the models that ship."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..images import Photograph
from ..models.lapped import TUNES
from ..models.ternary import ITERATIONS, SCALES
from ..progress import Progress, silent
from . import container, metadata
from .container import File
from .metadata import kinds, of_photograph
from .pixels import (
    TERNARY_BYTES,
    TERNARY_EXACT_BYTES,
    Pixels,
    Source,
    as_bytes,
    as_pixels,
    check_memory,
    opened,
)
from .rate import check_targets
from .ternary_model import TernaryModel
from .ternary_picture import FINEST, Picture, Tune, decibel
from .ternary_state import State
from .truncation import Truncation


class TernaryCodec(TernaryModel):
    """A trained entropy model and decoder of ternary codes: encodes, decodes and truncates."""

    def encode(
        self,
        image: Source,
        bpp: float | None = None,
        max_bytes: int | None = None,
        psnr: float | None = None,
        ms_ssim: float | None = None,
        quality: int | None = None,
        tune: Tune = "visual",
        focus: Image.Image | Pixels | None = None,
        iterations: int | None = None,
        step: int | None = None,
        keep: Collection[str] = ("icc",),
        metadata: Mapping[str, bytes] | None = None,
        exact: bool = False,
        progress: Progress = silent,
    ) -> bytes:
        """A picture of any size from 1x1 as the bytes of an `.rnnc` file.

        Args:
            image: a path, file object, PIL image, array or tensor; see `pixels.as_pixels`.
            bpp: the file has at most this many bits per pixel, headers included, and at least 98 % of that where the
                picture can use them.
            max_bytes: likewise in bytes.
            psnr: the decoded picture reaches this many dB, and exceeds it by 0.1 at most.
            ms_ssim: likewise, in dB, `-10 log10(1 - MS-SSIM)`; below 1 the MS-SSIM itself. At least 161 pixels a side.
            quality: 1 to 100, as in JPEG.
            tune: weights of the coefficients: `psnr` for the least squared error, `visual` for contrast sensitivity.
            focus: a mask of the picture's size; white regions are coded finer, black ones with thresholds four times
                coarser.
            iterations: 1 to 11: stop after so many; those before the first with a code are no part of the file.
            step: the last threshold itself, 0 (coarsest) to 2815: 2048 / 2 ** (step / 256). At most one of the targets;
                quality 75 without one.
            keep: what else of a path, file object or PIL image goes into the file: `icc` (a colour profile other than
                sRGB), `exif`, `xmp`, `alpha` (without loss; else transparency is laid over white).
            metadata: in the place of `keep`, what the file says, by the names of `metadata.KINDS`; of a picture that is
                turned by its orientation, orientations in it become 1.
            exact: the same pixels give the same bytes on every processor. (Without it a coefficient close to its
                threshold falls to one side or the other by the processor's kernels.) With `psnr` and `ms_ssim` the
                decoded pictures are computed in float64, several times slower; else it costs next to nothing.
            progress: called after each iteration, of each file that is tried, with its number and how many there are.

        Raises:
            ValueError: an argument is outside its range, or decoding the picture could take more memory than allowed.
            RateError: the smallest file of the picture is larger than the target.
        """
        targets = {
            "bpp": bpp,
            "max_bytes": max_bytes,
            "psnr": psnr,
            "ms_ssim": ms_ssim,
            "quality": quality,
            "iterations": iterations,
            "step": step,
        }
        check_targets(targets)
        if tune not in TUNES:
            raise ValueError(f"tune={tune!r} is not one of {', '.join(TUNES)}")
        if iterations is not None:
            if not 1 <= iterations <= ITERATIONS:
                raise ValueError(f"iterations={iterations} is outside 1..{ITERATIONS}")
            step = SCALES * (iterations - 1)
        if step is not None and not 0 <= step <= FINEST:
            raise ValueError(f"step={step} is outside 0..{FINEST}")
        array, entries = _pixels(image, keep, metadata)
        check_memory(array.shape[1], array.shape[0], self.size, TERNARY_BYTES)
        picture = Picture(self, array, tune, focus, entries, progress, exact)
        if bpp is not None or max_bytes is not None:
            budget = container.byte_budget(picture.pixels, bpp, max_bytes)
            return picture.fill(budget)
        if psnr is not None:
            return picture.reach(psnr, picture.psnr, "dB of PSNR", 6 / SCALES)
        if ms_ssim is not None:
            if not ms_ssim > 0:
                raise ValueError(f"ms_ssim={ms_ssim} is not positive")
            wanted = decibel(1 - ms_ssim) if ms_ssim < 1 else ms_ssim
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
        self,
        data: bytes,
        iterations: int | None = None,
        partial: bool = False,
        exact: bool = False,
        progress: Progress = silent,
    ) -> Image.Image:
        """The picture in the bytes `data` after `iterations` (None: all that the file holds), RGB; RGBA of a file with
        an alpha channel.

        With `partial`, a damaged or cut file gives the picture of its intact prefix. With `exact` the network runs in
        float64, several times slower: rounding then decides no pixel, and every machine draws the same picture. Raises
        `BitstreamError`; `ValueError` when the file holds fewer iterations, or `data` is no bytes.
        """
        file = container.parse(as_bytes(data), partial)
        if iterations is not None and not 1 <= iterations <= len(file.iterations):
            raise ValueError(f"iterations={iterations}: the file holds 1..{len(file.iterations)}")
        if exact:
            check_memory(file.header.width, file.header.height, self.size, TERNARY_EXACT_BYTES)
        # One after the other: a picture's levels are large.
        for count, after in enumerate(self.states(file, iterations, partial), 1):
            progress(count, len(file.iterations[:iterations]))
            state = after
        return self._finished(file, state, exact)

    def _finished(self, file: File, state: State, exact: bool = False) -> Image.Image:
        """The picture of a state with what the file says of it."""
        picture = Image.fromarray(self.draw(file, state, exact))
        entries = _metadata(file)
        alpha = entries.pop("alpha", None)
        if alpha is not None:
            picture = metadata.with_alpha(picture, alpha)
        picture.info.update(entries)
        return picture

    def decode_progressive(self, data: bytes, partial: bool = False) -> Iterator[Image.Image]:
        """The pictures after 1, 2, ... iterations, each as soon as it is decoded, as `decode` gives them."""
        file = container.parse(as_bytes(data), partial)
        for state in self.states(file, None, partial):
            yield self._finished(file, state)

    def truncate(
        self, data: bytes, bpp: float | None = None, max_bytes: int | None = None, iterations: int | None = None
    ) -> bytes:
        """The longest beginning of a file within one limit, itself a file; its last iteration may end early.

        Raises `ValueError` when not exactly one limit is given or nothing fits, `BitstreamError` when the part kept is
        damaged.
        """
        return Truncation(self, as_bytes(data)).cut(bpp, max_bytes, iterations)

    def spent(self, data: bytes, partial: bool = False) -> NDArray[np.float64]:
        """Bits of the file that went into each block of 8x8 pixels, `(rows, columns)`."""
        file = container.parse(as_bytes(data), partial)
        self.layout(file.header)
        bits = np.zeros(self.blocks(file.header.width, file.header.height))
        for _ in self.states(file, None, partial, bits):
            pass
        if (parts := self.parts) > 1:
            # A block of the transform has frequencies, not places, in these.
            rows, columns = bits.shape
            means = bits.reshape(rows // parts, parts, columns // parts, parts).mean((1, 3))
            bits = np.repeat(np.repeat(means, parts, 0), parts, 1)
        return bits


def _pixels(
    image: Source, keep: Collection[str], said: Mapping[str, bytes] | None
) -> tuple[Pixels, Mapping[str, bytes]]:
    """What is coded of a picture, and what its file says: `said`, or what it has of `keep`. Pillow's copies of it are
    gone when this returns."""
    image = opened(image)
    if said is None and isinstance(image, Photograph):
        image, said = of_photograph(image, kinds(keep))
        return np.asarray(image), said
    said, array = said or {}, as_pixels(image)
    metadata.check(said, (array.shape[1], array.shape[0]))
    return array, metadata.upright(said) if isinstance(image, Photograph) and image.turned else said


def _metadata(file: File) -> dict[str, bytes]:
    payload = file.payload(container.METADATA)
    return {} if payload is None else metadata.from_bytes(payload)
