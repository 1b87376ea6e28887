"""The demo's server, for as long as a test needs it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lit_rnncomp.codec.api import Codec
from lit_rnncomp.demo.app import Demo
from lit_rnncomp.demo.serve import listening, server


@contextmanager
def served(codec: Codec) -> Iterator[int]:
    """The port of a server that shows `codec`, with photographs of at most 0.1 megapixels; it must end when told to."""
    listener = listening("127.0.0.1", 0)
    running = server(Demo(codec, "127.0.0.1", 0.1))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        running.should_exit = True
        thread.join(20)
    assert not thread.is_alive()
