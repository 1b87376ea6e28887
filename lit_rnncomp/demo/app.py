"""The server's addresses: the page and its parts, photographs, and their files at each position of the slider."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import anyio
import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ..codec.api import Codec
from ..codec.ternary_codec import TernaryCodec
from ..data.samples import sample_photographs
from ..evaluation.colours import colours
from ..evaluation.pages import page_part
from ..images import ImageError
from ..models.lapped import TUNES
from .coding import MAP, OTHERS, OURS, Coding, Shown, png, scale_of
from .guard import Guard
from .jobs import Job, Jobs, Superseded
from .kept import Kept, Place
from .photo import read_photo

UPLOAD_BYTES = 30_000_000
UPLOAD_SECONDS = 60.0

PLAIN = "application/octet-stream"
"""The type of all that is posted: a page of another's cannot send it without asking, and is not allowed to."""

GONE = "the photograph is no longer remembered: choose it again"
NEWER = "something newer was asked for, perhaps in another window"


class Demo:
    """The answers for one codec.

    Args:
        codec: what the page shows.
        host: where the server listens.
        megapixels: photographs of more are scaled down.
    """

    def __init__(self, codec: Codec, host: str, megapixels: float) -> None:
        self.codec, self.megapixels, self.scale = codec, megapixels, scale_of(codec)
        self.jobs, self.kept, self.uploads = Jobs(), Kept(), anyio.CapacityLimiter(2)
        self.samples = _samples()
        texts = {
            "/": ("text/html", _part("demo.html").replace("__DATA__", _data(self._facts()))),
            "/page.css": ("text/css", page_part("page.css") + _part("demo.css")),
            "/demo.js": ("text/javascript", page_part("stage.js") + _part("demo.js")),
        }
        place = "/photos/{photo}/{tune}/{position:int}"
        routes = [
            *(Route(path, partial(_text, kind, text)) for path, (kind, text) in texts.items()),
            Route("/samples/{name}", self.thumbnail),
            Route("/samples/{name}", self.take_sample, methods=["POST"]),
            Route("/photos", self.take_upload, methods=["POST"]),
            Route("/photos/{photo}", self.original),
            Route(place, self.files),
            Route(place + "/{name}", self.picture),
            Route(place + "/{name}/file", self.file),
        ]
        self.app = Starlette(
            routes=routes,
            middleware=[Middleware(Guard, host=host)],
            exception_handlers={HTTPException: _refusal},  # type: ignore[dict-item]  # of this class alone
        )

    async def take_upload(self, request: Request) -> Response:
        """Remembers the photograph in the body; `name` is what it is called."""
        _check_posted(request)
        name = " ".join(request.query_params.get("name", "").split())[:200] or "photograph"
        async with self.uploads:
            data = await _body(request)
        return await self._take(data, name)

    async def take_sample(self, request: Request) -> Response:
        """Remembers one of the samples."""
        _check_posted(request)
        path = self._sample(request)
        return await self._take(path.read_bytes(), path.name)

    async def thumbnail(self, request: Request) -> Response:
        """A sample, small."""
        with Image.open(self._sample(request)) as image:
            small = image.convert("RGB")
        small.thumbnail((240, 120))
        return _kept("image/png", png(np.asarray(small)))

    async def original(self, request: Request) -> Response:
        """A photograph as it is coded."""
        return _kept("image/png", self._coding(request).original)

    async def files(self, request: Request) -> Response:
        """A line of JSON for each codec's file, as soon as it is there, and for how far the next one is."""
        coding, place = self._coding(request), self._place(request)
        names = [OURS, *(codec.name for codec in OTHERS)]
        if "map" in request.query_params and isinstance(self.codec, TernaryCodec):
            names.append(MAP)
        lines = self._lines(coding, place, names)
        return StreamingResponse(lines, media_type="application/x-ndjson", headers={"cache-control": "no-store"})

    async def picture(self, request: Request) -> Response:
        """What a browser shows of a file, or the map."""
        shown = self._answer(request)
        return _kept(shown.kind, shown.picture)

    async def file(self, request: Request) -> Response:
        """A file itself."""
        return Response(self._answer(request).file, media_type=PLAIN, headers={"content-disposition": "attachment"})

    async def _take(self, data: bytes, name: str) -> Response:
        def read() -> Coding:
            return Coding(self.codec, read_photo(data, name, self.megapixels))

        try:
            coding = await self.jobs.result(read)
        except ImageError as error:
            raise HTTPException(422, str(error)) from error
        except MemoryError as error:
            raise HTTPException(422, f"cannot read {name}: it is too large for this machine's memory") from error
        except Superseded as error:
            raise HTTPException(409, NEWER) from error
        width, height = coding.photo.size
        facts = {"id": self.kept.add(coding), "name": name, "width": width, "height": height}
        return JSONResponse({**facts, "notes": coding.photo.notes})

    async def _lines(self, coding: Coding, place: Place, names: list[str]) -> AsyncIterator[str]:
        known = dict(self.kept.answer(place))

        def work(job: Job) -> Any:
            return coding.files(place.tune, place.position, names, known, job)  # type: ignore[arg-type]  # checked

        try:
            async with aclosing(self.jobs.steps(work)) as steps:
                async for step in steps:
                    if isinstance(step, float):
                        yield _line(progress=round(step, 3))
                    else:
                        name, shown = step
                        self.kept.put(place, name, shown)
                        yield _line(**_facts(name, shown, coding))
        except Superseded:
            yield _line(error=NEWER)
        except ValueError as error:
            yield _line(error=" ".join(str(error).split()))
        except MemoryError:
            yield _line(error="the photograph is too large for this machine's memory")

    def _facts(self) -> dict[str, Any]:
        """What the page knows from the beginning."""
        name, last, start = self.scale
        ternary = isinstance(self.codec, TernaryCodec)
        tunes = sorted(TUNES, reverse=True) if ternary else []
        colour = colours([f"{self.codec.name}-visual" if ternary else self.codec.name, *(o.name for o in OTHERS)])
        titles = [self.codec.name, *(codec.title.split(",")[0] for codec in OTHERS)]
        return {
            "codecs": [
                {"name": name, "title": title, "colour": one}
                for name, title, one in zip([OURS, *(o.name for o in OTHERS)], titles, colour.values(), strict=True)
            ],
            "scale": {"name": name, "last": last, "start": start},
            "tunes": tunes,
            "map": ternary,
            "samples": list(self.samples),
            "limit": UPLOAD_BYTES,
        }

    def _sample(self, request: Request) -> Path:
        path = self.samples.get(request.path_params["name"])
        if path is None:
            raise HTTPException(404, "there is no such sample")
        return path

    def _coding(self, request: Request) -> Coding:
        coding = self.kept.photo(request.path_params["photo"])
        if coding is None:
            raise HTTPException(404, GONE)
        return coding

    def _place(self, request: Request) -> Place:
        place = Place(*(request.path_params[part] for part in Place._fields))
        if place.tune not in TUNES or not 1 <= place.position <= self.scale.last:
            raise HTTPException(404, f"the slider has no such place: {place.tune} {place.position}")
        return place

    def _answer(self, request: Request) -> Shown:
        shown = self.kept.answer(self._place(request)).get(request.path_params["name"])
        if shown is None:
            raise HTTPException(404, "it is no longer remembered: move the slider there again")
        return shown


async def _body(request: Request) -> bytes:
    """The body of a request, within limits. Raises `HTTPException`."""
    too_long = HTTPException(413, f"the file has more than {UPLOAD_BYTES // 1_000_000} MB: scale it down first")
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > UPLOAD_BYTES:
        raise too_long
    data = bytearray()
    try:
        with anyio.fail_after(UPLOAD_SECONDS):
            async for chunk in request.stream():
                data += chunk
                if len(data) > UPLOAD_BYTES:
                    raise too_long
    except TimeoutError as error:
        raise HTTPException(408, f"the file did not come within {UPLOAD_SECONDS:.0f} seconds") from error
    except ClientDisconnect as error:
        raise HTTPException(400, "the file did not come whole") from error
    return bytes(data)


def _check_posted(request: Request) -> None:
    if request.headers.get("content-type") != PLAIN:
        raise HTTPException(415, f"send the file's bytes as {PLAIN}")


def _facts(name: str, shown: Shown, coding: Coding) -> dict[str, Any]:
    """A line of `files`."""
    if name == MAP:
        return {"name": name, "most": shown.most}
    width, height = coding.photo.size
    size = len(shown.file)
    facts = {"name": name, "bytes": size, "bpp": 8 * size / (width * height), "setting": shown.setting}
    return {**facts, "psnr": shown.psnr, "ms_ssim": shown.ms_ssim}


def _line(**facts: Any) -> str:
    return json.dumps(facts) + "\n"


def _data(facts: dict[str, Any]) -> str:
    return json.dumps(facts).replace("<", "\\u003c")


def _samples() -> dict[str, Path]:
    try:
        return {path.stem: path for path in sample_photographs()}
    except FileNotFoundError:
        return {}


def _part(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


async def _text(kind: str, text: str, request: Request) -> Response:
    return Response(text, media_type=kind, headers={"cache-control": "no-cache"})


async def _refusal(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code)


def _kept(kind: str, data: bytes) -> Response:
    """Under an address that never means anything else."""
    return Response(data, media_type=kind, headers={"cache-control": "private, max-age=3600, immutable"})
