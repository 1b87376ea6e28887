"""What must hold of any bytes."""

from __future__ import annotations

import time
import tracemalloc
from collections import Counter
from collections.abc import Callable

from helpers import binary_models, ternary_models
from PIL import Image

from lit_rnncomp.codec import container

from .mutants import Mutant, seeds

PIXELS = 2**15
MEMORY = 80 * 2 * PIXELS + 16 * 2**20
"""Bytes that decoding may take of a picture of twice `PIXELS`, Pillow's limit here."""
SECONDS = 10


class Failure(AssertionError):
    """A file that did what none may."""


class Check:
    """All decoders, and the files that mutants are made of."""

    def __init__(self) -> None:
        self.ternary = [ternary_models.codec(), ternary_models.codec(stages=2, size=16)]
        self.codecs = [*self.ternary, binary_models.codec()]
        self.files = seeds(self.ternary, self.codecs[-1])
        self.counts: Counter[str] = Counter()

    def __call__(self, mutant: Mutant) -> None:
        """Raises `Failure`."""
        data = mutant.data
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, PIXELS
        tracemalloc.start()
        start = time.process_time()
        try:
            decoded = [self._bounded(lambda codec=codec: codec.decode(data)) for codec in self.codecs]
            for codec in self.codecs:
                self._bounded(lambda codec=codec: codec.decode(data, partial=True))
            for codec in self.ternary:
                self._bounded(lambda codec=codec: codec.spent(data, partial=True))
                self._bounded(lambda codec=codec: codec.truncate(data, max_bytes=max(1, len(data) // 2)))
            self._bounded(lambda: container.cut(data, iterations=1))
            memory = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            Image.MAX_IMAGE_PIXELS = limit
        if memory > MEMORY:
            raise Failure(f"{memory} bytes of memory")
        if (seconds := time.process_time() - start) > SECONDS:
            raise Failure(f"{seconds:.1f} seconds")
        if any(decoded) and not mutant.repaired and not any(file.startswith(data) for file in self.files):
            raise Failure("a picture of damaged bytes")
        kind = "repaired" if mutant.repaired else "damaged"
        self.counts[f"{kind}, {'decoded' if any(decoded) else 'refused'}"] += 1

    def _bounded(self, run: Callable[[], object]) -> bool:
        """Whether it gave a result; a `ValueError` of one line is the only other way to end."""
        try:
            run()
        except ValueError as error:
            if "\n" in str(error) or not str(error):
                raise Failure(f"an error that is not one line: {error!r}") from error
            return False
        except Exception as error:
            raise Failure(f"{type(error).__name__}: {error}") from error
        return True
