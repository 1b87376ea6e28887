"""A trained model of ternary codes: what coding, drawing and cutting a file need of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models import ternary
from ..models.context_network import ContextNetwork
from ..models.lapped import BLOCK, TUNES
from ..models.numpy_place import PLACE
from ..models.ternary import ITERATIONS
from . import container, focus, split_map, ternary_weights
from .container import BitstreamError, File, Header, Ternary
from .painter import Painter
from .pixels import TERNARY_BYTES, Pixels, check_memory, check_pixels
from .ternary_coder import TernaryCoder
from .ternary_state import State


class TernaryModel:
    """An entropy model and a decoder.

    Args:
        tensors: `context.*` are what `ContextModel.integers` returns (with two stages also `context.coarse.*`),
            `refiner.*` the weights of a `Refiner`, `filter.*` those of its `PostFilter`, if it has one;
            `tune_weights`, `(2, 192)`, by what coefficients are multiplied before coding, where not by the default.
            Blocks of the transform are 16x16, or split into four, where there is `context.place.table`.
        name: what messages and results call it.
        qualities: the step of each quality from 1 to 100.

    Raises:
        EntropyModelError: tensors of the entropy model are missing or of another shape.
        ValueError: so are others, or weights of coefficients are not positive.
    """

    def __init__(
        self, tensors: Mapping[str, NDArray[Any]], name: str = "codec", qualities: list[int] | None = None
    ) -> None:
        self.tensors, self.name, self.qualities = tensors, name, qualities or []
        context = ternary_weights.part(tensors, "context.")
        coarse = ternary_weights.part(context, "coarse.")
        self.stages, self.parts = 2 if coarse else 1, 2 if PLACE in context else 1
        self.size = self.parts * BLOCK
        self.context = ContextNetwork(context, ternary.bands(self.stages))
        self.coarse = ContextNetwork(coarse, ternary.coarse_bands()) if coarse else None
        self.painter = Painter(tensors, self.stages, self.size)
        self.tune_weights = self.painter.tune_weights
        self.digest = ternary_weights.digest(tensors)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}, model {self.digest.hex()}>"

    def draw(self, file: File, state: State, exact: bool = False) -> Pixels:
        """The picture `(H, W, 3)` of a state of a file."""
        header, layout = file.header, self.layout(file.header)
        cells = file.payload(container.SCALES)
        factors = (
            None if cells is None else focus.from_bytes(cells, *self.blocks(header.width, header.height), self.parts)
        )
        painter = Painter(self.tensors, self.stages, self.size, np.float64) if exact else self.painter
        picture = painter.draw(state, layout, factors, header.grey)
        return np.ascontiguousarray(picture[: header.height, : header.width])

    def layout(self, header: Header) -> Ternary:
        """What the header says of the codes. Raises `BitstreamError` when this is not the model that made the file."""
        if header.model_digest != self.digest:
            raise BitstreamError(
                f"the file was made by model {header.model_digest.hex()}, this one ({self.name}) is "
                f"{self.digest.hex()}: "
                "open the right one, model=FILE"
            )
        layout = header.layout
        if not isinstance(layout, Ternary) or layout.tune >= len(TUNES) or layout.first >= ITERATIONS:
            raise BitstreamError(f"the header claims {layout}, which is not this model's layout")
        check_pixels(header, self.size)
        check_memory(header.width, header.height, self.size, TERNARY_BYTES)
        return layout

    def coder(self, header: Header, splits: bytes | None) -> TernaryCoder:
        """A coder at the beginning of a file with this map of split blocks. Raises `BitstreamError`."""
        layout, (rows, columns) = self.layout(header), self.blocks(header.width, header.height)
        split = None
        if self.parts > 1:
            split = split_map.from_bytes(splits, rows // self.parts, columns // self.parts)
        elif splits is not None:
            raise BitstreamError(f"the file has a map of split blocks, which the model {self.name} does not have")
        return TernaryCoder(self.context, rows, columns, *layout, self.coarse, split)

    def blocks(self, width: int, height: int) -> tuple[int, int]:
        """Rows and columns of blocks of 8x8 of a picture of so many pixels, as many as whole blocks of the transform
        have."""
        return -(-height // self.size) * self.parts, -(-width // self.size) * self.parts

    def states(
        self, file: File, iterations: int | None, partial: bool, spent: NDArray[np.float64] | None = None
    ) -> Iterator[State]:
        """What is known after each iteration, until the next is asked for."""
        coder = self.coder(file.header, file.payload(container.SPLITS))
        for count, chunk in enumerate(file.iterations[:iterations]):
            before = coder.context.levels.copy() if chunk.kind == container.CUT else None
            t = coder.context.iteration
            try:
                sent = coder.read(chunk, spent).sent
            except BitstreamError:
                if not partial or not count:
                    raise
                return
            yield coder.state(t, before, sent)
