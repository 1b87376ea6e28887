"""What every answer of the server carries, and whom it answers: nobody but its own page."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL = {"127.0.0.1", "localhost", "::1"}
ANYWHERE = {"0.0.0.0", "::", ""}
"""Hosts at which a server listens under all addresses of its machine."""

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guard:
    """Refuses requests for other hosts: a page of another's could give its own name the address of this machine, and
    would then be let read answers (DNS rebinding).

    Args:
        app: what answers.
        host: where the server listens. Where that is under all addresses, an address may be asked for, too: it cannot
            be given to another machine.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app, self.hosts, self.anywhere = app, {*LOCAL, host.lower()}, host in ANYWHERE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        app = self.app
        if scope["type"] == "http" and not self.answers(Headers(scope=scope).get("host", "")):
            app = PlainTextResponse("this host is not served here: open 127.0.0.1 or localhost", 400)
        await app(scope, receive, guarded)

    def answers(self, asked: str) -> bool:
        """Whether a request's `Host` is one of this server's."""
        try:
            name = urlsplit(f"//{asked}").hostname or ""
            if name in self.hosts and name:
                return True
            return self.anywhere and bool(ipaddress.ip_address(name))
        except ValueError:
            return False
