"""Pillow reads and writes `.rnnc` files after `import lit_rnncomp.pillow`.

`Image.open` reads the header alone: size, mode (`L` of grey pictures, `RGBA` or `LA`
of those with an alpha channel), and in `info` the metadata. The picture is
decoded by the shipped model that made the file when its pixels are first wanted. Its frames are what is known after 1,
2, ... iterations; without `seek`, it is the last. `ImageFile.LOAD_TRUNCATED_IMAGES` decodes the intact beginning of a
damaged or cut file. `Image.save` takes the options of `encode` (`bpp=0.5`, `quality=90`, ...), `model` (a name or a
path), and `icc_profile`, `exif` and `xmp`; a colour profile of the picture's own is kept.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import IO, Any

from PIL import Image, ImageFile

from .codec import container, metadata
from .codec.api import Codec, load, load_for
from .codec.pixels import check_pixels, opened
from .codec.ternary_codec import TernaryCodec

_FORMAT = "RNNC"


class RnncImageFile(ImageFile.ImageFile):
    """An opened `.rnnc` file. Raises `SyntaxError` for a header that is none, as plugins of Pillow do; `OSError` for a
    file that cannot be decoded."""

    format = _FORMAT
    format_description = "Recurrent neural compression"

    def _open(self) -> None:
        assert self.fp is not None
        self._data = self.fp.read()
        try:
            header, head = container.parse_header(self._data)
            check_pixels(header, 1)
        except container.BitstreamError as error:
            raise SyntaxError(str(error)) from error
        self._size, self._mode = (header.width, header.height), "L" if header.grey else "RGB"
        chunks: list[container.Chunk] = []
        try:
            for chunk in container.parse_chunks(self._data, head):
                chunks.append(chunk)
        except container.BitstreamError:
            pass  # said when the picture is wanted
        for chunk in chunks:
            if chunk.kind == container.METADATA:
                try:
                    self.info.update(metadata.from_bytes(chunk.payload))
                except container.BitstreamError as error:
                    raise SyntaxError(str(error)) from error
        if self.info.pop("alpha", None) is not None:
            self._mode = "LA" if header.grey else "RGBA"
        self.n_frames = max(1, sum(chunk.codes for chunk in chunks))
        self.is_animated = self.n_frames > 1
        self._frame, self._whole = self.n_frames - 1, True

    def load(self) -> Any:
        """Decodes the picture, once for each frame."""
        if self._im is None:
            try:
                codec = _codec_of(self._data)
                iterations = None if self._whole else self._frame + 1
                picture = codec.decode(self._data, iterations, partial=ImageFile.LOAD_TRUNCATED_IMAGES)
            except ValueError as error:
                raise OSError(str(error)) from error
            self.im = picture.convert(self.mode).im
        return Image.Image.load(self)

    def seek(self, frame: int) -> None:
        """Go to the picture after `frame + 1` iterations. Raises `EOFError`."""
        if not 0 <= frame < self.n_frames:
            raise EOFError(f"no frame {frame}: the file holds {self.n_frames} iterations")
        if frame != self._frame:
            self._frame, self._whole, self._im = frame, False, None

    def tell(self) -> int:
        """Iterations of the current frame, less one."""
        return self._frame


def _accept(prefix: bytes) -> bool:
    return prefix[:4] == container.MAGIC


def _save(image: Image.Image, file: IO[bytes], name: str | bytes) -> None:
    options: dict[str, Any] = dict(getattr(image, "encoderinfo", {}))
    codec = _load(options.pop("model", None))
    photograph = opened(image)
    coded, kept = metadata.of_photograph(photograph, metadata.kinds(options.pop("keep", ("icc",))))
    for kind in ("icc_profile", "exif", "xmp"):
        value = options.pop(kind, None)
        if value is not None:
            kept[kind] = value.tobytes() if isinstance(value, Image.Exif) else value
    metadata.check(kept, coded.size)
    if photograph.turned:
        kept = metadata.upright(kept)
    if isinstance(codec, TernaryCodec):  # files of binary codes hold no metadata
        options["metadata"] = {kind: value for kind, value in kept.items() if value}  # empty bytes: leave it out
    try:
        file.write(codec.encode(coded, **options))
    except TypeError as error:
        raise ValueError(f"cannot save {_FORMAT}: {str(error).partition('() ')[2] or error}") from error


def _save_all(image: Image.Image, file: IO[bytes], name: str | bytes) -> None:
    raise ValueError(f"cannot save {_FORMAT} with save_all: a file holds one picture; save each frame by itself")


@functools.lru_cache(maxsize=2)
def _load(model: str | Path | None) -> Codec:
    return load(model)


def _codec_of(data: bytes) -> Codec:
    from .codec import zoo

    path = zoo.find_digest(container.parse_header(data)[0].model_digest)
    return load_for(data) if path is None else _load(str(path))


Image.register_open(_FORMAT, RnncImageFile, _accept)
Image.register_save(_FORMAT, _save)
Image.register_save_all(_FORMAT, _save_all)
Image.register_extension(_FORMAT, ".rnnc")
Image.register_mime(_FORMAT, "image/x-rnnc")
