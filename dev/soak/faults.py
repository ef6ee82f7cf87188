"""A store that fails on demand: an ASGI layer before the local Upstash, which also counts what is asked of it."""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from random import Random

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
ERRORS = {
    "quota": (400, "ERR max requests limit exceeded. Limit: 500000, Usage: 500000. See https://upstash.com/docs"),
    "daily quota": (400, "ERR max daily request limit exceeded. Limit: 10000, Usage: 10000."),
    "unauthorized": (401, "Unauthorized"),
    "wrong password": (401, "WRONGPASS invalid or missing auth token"),
    "read-only token": (400, "NOPERM this user has no permissions to run the 'eval' command"),
    "busy": (400, "ERR max concurrent connections exceeded"),
}
_SLOW_SECONDS = 1.0
BODIES = {
    "html": (502, HTML),
    "empty": (200, b""),
    "no object": (200, b"[1]"),
    "no result": (200, b"{}"),
    "odd result": (200, b'{"result":{"a":1}}'),
    "odd reply": (200, b'{"result":["what"]}'),
}


class Faults:
    """Passes calls on, except those for which `fail` has named a fault. `calls` counts them all."""

    def __init__(self, app: ASGIApp) -> None:
        self.calls = 0
        self._app = app
        self._next: deque[str] = deque()
        self._always: str | None = None
        self._every = 0
        self._chance: Callable[[], str | None] = _never

    def fail(self, fault: str, times: int | None = None) -> None:
        """Let the next calls fail, or all from now on.

        A fault is a key of ERRORS or BODIES, or `hang`: no answer at all, or `lost`: an answer that is lost
        after the command has run, or `slow`: an answer that takes a second longer.
        """
        if times is None:
            self._always = fault
        else:
            self._next.extend([fault] * times)

    def fail_after(self, number: int, fault: str) -> None:
        """Let so many more calls through, and all after them fail."""
        self._next.extend([""] * number)
        self._always = fault

    def lose_every(self, number: int) -> None:
        """Let one call in so many lose its answer after its command has run."""
        self._every = number

    def fail_by_chance(self, random: Random, share: float, faults: list[str]) -> None:
        """Let a share of the calls fail from now on, each with one of the faults."""
        self._chance = lambda: random.choice(faults) if random.random() < share else None

    def heal(self) -> None:
        """Fail no more, and count from zero."""
        self._chance = _never
        self._next.clear()
        self._always = None
        self._every = 0
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or let it fail."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self.calls += 1
        fault = self._next.popleft() if self._next else self._always
        if fault is None and self._every and self.calls % self._every == 0:
            fault = "lost"
        if fault is None:
            fault = self._chance()
        if fault == "slow":
            await asyncio.sleep(_SLOW_SECONDS)
            fault = ""
        if not fault:
            await self._app(scope, receive, send)
        elif fault == "hang":
            while (await receive())["type"] != "http.disconnect":
                pass
        elif fault == "lost":
            if not scope["path"].startswith("/subscribe"):
                await self._app(scope, receive, _nowhere)
            await _answer(send, 502, HTML)
        elif fault in ERRORS:
            status, error = ERRORS[fault]
            await _answer(send, status, json.dumps({"error": error}).encode())
        else:
            await _answer(send, *BODIES[fault])


def _never() -> None:
    return None


async def _nowhere(_: Message) -> None:
    await asyncio.sleep(0)


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
