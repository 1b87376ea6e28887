"""What the server remembers, in bounded memory."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import NamedTuple

from .coding import Coding, Shown

PHOTOS = 4
"""Photographs that are remembered at a time: those of a few windows."""

BYTES = 128_000_000
"""Of files and pictures that were computed of them; the newest answer is remembered however large it is."""


class Place(NamedTuple):
    """Of which photograph, and where the slider stands."""

    photo: str
    tune: str
    position: int


class Kept:
    """Photographs and answers; the oldest make room."""

    def __init__(self) -> None:
        self._photos: OrderedDict[str, Coding] = OrderedDict()
        self._answers: OrderedDict[Place, dict[str, Shown]] = OrderedDict()

    def add(self, coding: Coding) -> str:
        """Remembers a photograph; its name cannot be guessed by other pages."""
        name = secrets.token_urlsafe(16)
        self._photos[name] = coding
        while len(self._photos) > PHOTOS:
            gone, _ = self._photos.popitem(last=False)
            for place in [place for place in self._answers if place.photo == gone]:
                del self._answers[place]
        self.photo(name)
        return name

    def photo(self, name: str) -> Coding | None:
        """A photograph; None of one that had to make room. Only the last that was asked for is quick to code."""
        if name not in self._photos:
            return None
        self._photos.move_to_end(name)
        for other, coding in self._photos.items():
            if other != name:
                coding.forget()
        return self._photos[name]

    def answer(self, place: Place) -> dict[str, Shown]:
        """What was computed for a place, by name."""
        if place in self._answers:
            self._answers.move_to_end(place)
            return self._answers[place]
        return {}

    def put(self, place: Place, name: str, shown: Shown) -> None:
        """Remembers what was computed, if its photograph still is."""
        if place.photo not in self._photos:
            return
        self._answers.setdefault(place, {})[name] = shown
        self._answers.move_to_end(place)
        while len(self._answers) > 1 and self._bytes() > BYTES:
            self._answers.popitem(last=False)

    def _bytes(self) -> int:
        return sum(
            len(shown.picture) + (len(shown.file) if shown.file is not shown.picture else 0)
            for answer in self._answers.values()
            for shown in answer.values()
        )
