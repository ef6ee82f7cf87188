"""How one function instance takes many calls at once, with the descriptors that it has in the cloud."""

import asyncio
import json
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from dev import PROJECT
from dev.local import bundle, environment
from dev.local.deployment import LocalStore
from dev.local.function import Function, from_bundle, from_source

SIZES = (20, 60, 200)
DESCRIPTORS = 1024  # of an instance on Vercel
WAITS = 1500
_WAIT_SECONDS = 40
# They come in groups, each after a plain call has come through: a call that gets no connection to the store within five
# seconds is refused, and the local store is slow on a busy machine.
_GROUP = 100
_PLAIN = 100
_CALM_SECONDS = 60


class Answer(NamedTuple):
    """What a call brought: its status and body, and the seconds that it took."""

    status: int
    body: bytes
    seconds: float


class Burst(NamedTuple):
    """Milliseconds of calls made at the same time, and how many of them were not answered as they should be."""

    median: float
    slowest: float
    failed: int


class Waits(NamedTuple):
    """Milliseconds of plain calls alone, and beside more waiting calls than there are places; what became of those.

    `outcomes` counts them by status and code; `left` is how many threads and descriptors more there are afterwards.
    """

    alone: list[float]
    beside: list[float]
    outcomes: Counter[str]
    left: tuple[int, int]


async def call(
    port: int, method: str, path: str, address: str = "192.0.2.1", token: str = "", body: str = ""
) -> Answer:
    """Call a function as the platform does, for a caller with this address. A call that fails has the status 0."""
    head = [f"{method} {path} HTTP/1.1", "Host: bench", f"x-real-ip: {address}", f"Content-Length: {len(body)}"]
    if token:
        head.append(f"Authorization: Bearer {token}")
    started = time.perf_counter()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write("\r\n".join([*head, "", body]).encode())
        answer = await reader.read()
        writer.close()
    except OSError:
        answer = b""
    status = int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0
    return Answer(status, answer.partition(b"\r\n\r\n")[2], time.perf_counter() - started)


@contextmanager
def built() -> Iterator[Path | None]:
    """Give the output of `vercel build`; None without the Vercel CLI."""
    if not (vercel := shutil.which("vercel")):
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        yield bundle.build(PROJECT, Path(folder), vercel)


@contextmanager
def instances(store: LocalStore, output: Path | None, *names: str) -> Iterator[dict[str, Function]]:
    """Run functions with the descriptors of the cloud, from a build's output, or from source if that is None."""
    variables = {
        **environment.of_functions(PROJECT, store.variables()),
        **environment.UNLIMITED,
        "VERCEL_ENV": "production",
    }
    running: dict[str, Function] = {}
    try:
        for name in names:
            running[name] = (
                from_bundle(name, output / "functions" / "api" / f"{name}.func", variables, _ignore)
                if output
                else from_source(name, PROJECT, variables, _ignore)
            )
            psutil.Process(running[name].pid).rlimit(psutil.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        yield running
    finally:
        for function in running.values():
            function.stop()


async def pending_request(functions: dict[str, Function]) -> str:
    """Create a session with one request that nobody answers, and return the path of its response."""
    session = json.loads((await call(functions["sessions"].port, "POST", "/api/sessions")).body)
    path = f"/api/sessions/{session['code']}"
    await call(functions["requests"].port, "POST", f"{path}/requests", body='{"id":"q","payload":1}')
    return f"{path}/responses/q"


async def burst(port: int, path: str, size: int) -> Burst:
    """Make calls at the same time, each of another address."""
    answers = await asyncio.gather(*(call(port, "GET", path, f"192.0.2.{number}") for number in range(size)))
    milliseconds = [answer.seconds * 1000 for answer in answers]
    failed = sum(answer.status != 202 for answer in answers)
    return Burst(statistics.median(milliseconds), max(milliseconds), failed)


async def waits(function: Function, path: str, addresses: int) -> Waits:
    """Let more calls wait than there are places, from so many addresses, and make plain calls of another one beside."""
    process, port = psutil.Process(function.pid), function.port

    async def plain() -> list[float]:
        return [(await call(port, "GET", path, "198.51.100.1")).seconds * 1000 for _ in range(_PLAIN)]

    await plain()
    before = (process.num_threads(), process.num_fds())
    alone = await plain()
    waiting = []
    for number in range(WAITS):
        address = f"192.0.2.{number % addresses}"
        waiting.append(asyncio.create_task(call(port, "GET", f"{path}?wait={_WAIT_SECONDS}", address)))
        if len(waiting) % _GROUP == 0:
            await call(port, "GET", path, "198.51.100.1")
    await _refused(waiting)
    beside = await plain()
    outcomes = Counter(
        f"{answer.status} {json.loads(answer.body or b'{}').get('code', '')}".strip()
        for answer in await asyncio.gather(*waiting)
    )
    return Waits(alone, beside, outcomes, await _left(process, before, plain))


async def _left(
    process: psutil.Process, before: tuple[int, int], plain: Callable[[], Awaitable[object]]
) -> tuple[int, int]:
    """Return what is left when the listener has closed, and idle connections to the store have."""
    until = time.monotonic() + _CALM_SECONDS
    while True:
        await plain()
        left = (process.num_threads() - before[0], process.num_fds() - before[1])
        if max(left) <= 0 or time.monotonic() > until:
            return left
        await asyncio.sleep(1)


async def _refused(waiting: list["asyncio.Task[Answer]"]) -> None:
    """Return when no call was refused for a second: those that are left wait."""
    done = -1
    while (now := sum(task.done() for task in waiting)) != done:
        done = now
        await asyncio.sleep(1)


def _ignore(_: str) -> None:
    """Drop a line that a function prints."""
