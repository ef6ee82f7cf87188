"""Function instances with the descriptors that they have in the cloud, called as the platform calls them."""

import asyncio
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from dev import PROJECT
from dev.local import environment, function
from dev.local.deployment import LocalStore
from dev.local.function import Function
from dev.local.server import HOST

DESCRIPTORS = 1024  # of an instance on Vercel
_PUSHES_A_SECOND = 20
_OPENING_AT_ONCE = 8
_PATIENCE_SECONDS = 10


class Functions(NamedTuple):
    """The functions that run, and the lines that they have printed so far."""

    sessions: Function
    requests: Function
    responses: Function
    stream: Function
    mcp: Function
    lines: list[str]

    def log(self) -> list[dict[str, Any]]:
        """Return the entries of the log. Raises ValueError if the functions have printed anything else."""
        return [json.loads(line) for line in self.lines]

    def ended_streams(self) -> list[dict[str, Any]]:
        """Return the entries of the log for streams that have ended."""
        streams = [entry for entry in self.log() if entry.get("route", "").endswith("/stream")]
        return [entry for entry in streams if (entry["method"], entry["status"]) == ("GET", 200)]


class Answer(NamedTuple):
    """What a call brought: its status, 0 if it broke off, its body, and the seconds that it took."""

    status: int
    body: bytes
    seconds: float


@contextmanager
def instances(store: LocalStore, build: Path | None = None, descriptors: int = DESCRIPTORS) -> Iterator[Functions]:
    """Run functions, from the output of `vercel build` or if that is None from source, without rate limits."""
    local = environment.of_functions(PROJECT, store.variables())
    variables = {**local, **environment.UNLIMITED, "VERCEL_ENV": "production"}
    lines: list[str] = []
    with ExitStack() as stack:

        def start(name: str) -> Function:
            started = function.start(name, build, PROJECT, variables, lines.append)
            stack.callback(started.stop)
            psutil.Process(started.pid).rlimit(psutil.RLIMIT_NOFILE, (descriptors, descriptors))
            return started

        yield Functions(start("sessions"), start("requests"), start("responses"), start("stream"), start("mcp"), lines)


async def call(
    port: int, method: str, path: str, content: object = None, *, token: str = "", address: str = "192.0.2.1"
) -> Answer:
    """Call a function for a caller with this address."""
    body = b"" if content is None else json.dumps(content, ensure_ascii=False).encode()
    started = time.perf_counter()
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(_head(method, path, token, address, len(body)) + body)
        answer = await reader.read()
        writer.close()
    except OSError:
        answer = b""
    status = int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0
    return Answer(status, answer.partition(b"\r\n\r\n")[2], time.perf_counter() - started)


async def burst(port: int, path: str, size: int) -> list[Answer]:
    """Make calls at the same time, each of another address."""
    return await asyncio.gather(*(call(port, "GET", path, address=f"192.0.2.{number}") for number in range(size)))


@dataclass
class Session:
    """A session, and its host's stream if that is opened."""

    functions: Functions
    path: str
    token: str

    @classmethod
    async def create(cls, functions: Functions) -> "Session":
        """Create a session."""
        created = json.loads((await call(functions.sessions.port, "POST", "/api/sessions")).body)
        return cls(functions, f"/api/sessions/{created['code']}", created["token"])

    async def ask(self, request_id: str) -> str:
        """Post a request, and return the path of its response."""
        request = {"id": request_id, "payload": 1}
        await call(self.functions.requests.port, "POST", f"{self.path}/requests", request)
        return f"{self.path}/responses/{request_id}"

    async def open(self, address: str) -> int:
        """Open the stream for a host with this address. Returns the status; with 200 the event `open` has come."""
        self._reader, self._writer = await asyncio.open_connection(HOST, self.functions.stream.port)
        self._writer.write(_head("GET", f"{self.path}/stream", self.token, address))
        status = int((await self._reader.readline()).split()[1])
        if status == 200:
            await self._reader.readuntil(b"event: open\n")
        return status

    async def push(self) -> float:
        """Post a request, and answer it. Returns the seconds until its event came. Raises if it does not come."""
        request_id = secrets.token_hex(8)
        started = time.perf_counter()
        await self.ask(request_id)
        await asyncio.wait_for(self._reader.readuntil(f'"id":"{request_id}"'.encode()), _PATIENCE_SECONDS)
        seconds = time.perf_counter() - started
        answer = {"id": request_id, "result": 1}
        await call(self.functions.responses.port, "POST", f"{self.path}/responses", answer, token=self.token)
        return seconds

    def close(self) -> None:
        """Hang up the stream."""
        self._writer.close()


async def crowd(functions: Functions, number: int) -> list[Session]:
    """Open the streams of so many new sessions, a few at a time. Raises ValueError for a stream that is refused."""
    gate = asyncio.Semaphore(_OPENING_AT_ONCE)

    async def open_one(turn: int) -> Session:
        async with gate:
            session = await Session.create(functions)
            # Each from another network: one network may not hold all places of an instance.
            if (status := await session.open(f"10.{turn // 256}.{turn % 256}.1")) != 200:
                raise ValueError(f"A stream is refused: {status}")
            return session

    return await asyncio.gather(*(open_one(turn) for turn in range(number)))


async def pushes(sessions: list[Session], count: int) -> list[float]:
    """Push to one session after the other at a steady pace. Returns the milliseconds of the pushes that came."""
    took = []
    for number in range(count):
        # A stride of 617 reaches all sessions, in another order than that in which they were opened.
        pushing = sessions[number * 617 % len(sessions)].push()
        pause = asyncio.sleep(1 / _PUSHES_A_SECOND)
        with suppress(TimeoutError, asyncio.IncompleteReadError):
            seconds, _ = await asyncio.gather(pushing, pause)
            took.append(seconds * 1000)
    return took


def _head(method: str, path: str, token: str, address: str, length: int = 0) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: instance", f"x-real-ip: {address}", f"Content-Length: {length}"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode()
