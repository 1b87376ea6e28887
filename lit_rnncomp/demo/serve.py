"""The verb `demo`: a server on this machine, until Ctrl-C."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import uvicorn

    from .app import Demo

MOST_MEGAPIXELS = 16.0


def demo(
    model: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    megapixels: float = 2.0,
    browser: bool = True,
) -> None:
    """Show a page, on this machine alone, that codes a photograph at any rate, beside JPEG and WebP at the same bytes.

    Args:
        model: a weights file (.safetensors), a checkpoint (.ckpt) or the name of a shipped model.
        host: where to listen; 0.0.0.0 for all of this machine's addresses, so that others on its network see the page.
        port: where to listen; 0 for any that is free.
        megapixels: larger photographs are scaled down to so many, up to 16: an answer takes some seconds for each.
        browser: open the page in a browser.
    """
    import uvicorn  # noqa: F401  # first, so that a missing extra is said before a model is read

    from ..codec.api import load
    from .app import Demo

    if not 0.01 <= megapixels <= MOST_MEGAPIXELS:
        raise ValueError(f"megapixels={megapixels} is outside 0.01..{MOST_MEGAPIXELS:g}")
    codec = load(model)
    with listening(host, port) as listener:
        shown = Demo(codec, host, megapixels)
        url = address(host, listener.getsockname()[1])
        print(f"{url} shows the model {codec.name}; Ctrl-C ends it", flush=True)
        if browser:
            _open(url)
        try:
            server(shown).run(sockets=[listener])
        except KeyboardInterrupt:
            print(file=sys.stderr)  # the terminal's own ^C stands on the line


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `ValueError` where none can."""
    if not 0 <= port <= 65535:
        raise ValueError(f"port={port} is outside 0..65535")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(
            f"cannot listen at --host {host} --port {port}: {reason}; --port 0 takes any free one"
        ) from error


def address(host: str, port: int) -> str:
    """What to open in a browser on this machine."""
    from .guard import ANYWHERE

    name = "127.0.0.1" if host in ANYWHERE else host
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


def server(shown: Demo) -> uvicorn.Server:
    """A server that answers a few windows, and ends what it computes when it is told to end."""
    import uvicorn

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: Any) -> None:
            shown.jobs.stop()
            super().handle_exit(sig, frame)

    return Server(
        uvicorn.Config(
            shown.app,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=32,
            timeout_graceful_shutdown=3,
        )
    )


def _open(url: str) -> None:
    """In a window's browser: one of the terminal's would take the terminal."""
    import threading
    import webbrowser

    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
