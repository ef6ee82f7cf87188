"""The faults of a store that tests choose, beside those of the soak test."""

import asyncio
import threading
from itertools import chain, cycle, repeat

from starlette.types import Receive, Scope, Send

from tests.soak.faults import HTML, Faults


def error(status: int, text: str) -> tuple[int, bytes]:
    """Return an answer of Upstash's that reports an error."""
    return status, f'{{"error": "{text}"}}'.encode()


ERRORS = {
    "quota": error(400, "ERR max requests limit exceeded. Limit: 500000, Usage: 500000. See https://upstash.com/docs"),
    "full": error(400, "ERR Error running script: OOM command not allowed when used memory > 'maxmemory'."),
    "forgotten script": error(400, "ERR Error running script: NOSCRIPT No matching script. Please use EVAL."),
    "daily quota": error(400, "ERR max daily request limit exceeded. Limit: 10000, Usage: 10000."),
    "unauthorized": error(401, "Unauthorized"),
    "wrong password": error(401, "WRONGPASS invalid or missing auth token"),
    "read-only token": error(400, "NOPERM this user has no permissions to run the 'eval' command"),
    "busy": error(400, "ERR max concurrent connections exceeded"),
    "quoting": error(400, "ERR value is not an integer, command was: SET a secret"),
}
BODIES = {
    "html": (502, HTML),
    "empty": (200, b""),
    "no object": (200, b"[1]"),
    "no result": (200, b"{}"),
    "odd result": (200, b'{"result":{"a":1}}'),
    "odd reply": (200, b'{"result":["what"]}'),
}


class ChosenFaults(Faults):
    """Makes calls to the store fail as a test says."""

    answers = ERRORS | BODIES

    def __init__(self) -> None:
        super().__init__()
        self._holding = False
        self.held = threading.Event()
        self.released = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request as the soak test's faults do, and hold it if a test says so."""
        if scope["type"] == "http" and self._holding and not scope["path"].startswith("/subscribe"):
            self._holding = False
            self.held.set()
            while not self.released.is_set():
                await asyncio.sleep(0.005)
        await super().__call__(scope, receive, send)

    def hold(self) -> None:
        """Hold the next call that is no subscription, which sets `held`, until `released` is set."""
        self.held.clear()
        self.released.clear()
        self._holding = True

    def fail(self, fault: str, times: int | None = None) -> None:
        """Make the next `times` calls fail, or if it is None all from now on."""
        self.plan(repeat(fault) if times is None else chain(repeat(fault, times), self._plan))

    def fail_after(self, number: int, fault: str) -> None:
        """Let `number` more calls through, and make all after them fail."""
        self.plan(chain(repeat("", number), repeat(fault)))

    def lose_every(self, number: int) -> None:
        """Make one call in `number` lose its answer after its command has run."""
        self.plan(cycle([*repeat("", number - 1), "lost"]))
