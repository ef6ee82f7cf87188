"""A thousand hosts that listen at once in one process of the function, with requests flowing to them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import h11
import httpx
import psutil

from dev.local.platform import exchange

_PUSHES_A_SECOND = 20
_OPENING_AT_ONCE = 8
_PATIENCE_SECONDS = 10.0


class Held(NamedTuple):
    """What a process holds: memory of its own in KiB, threads, sockets."""

    kib: float
    threads: float
    sockets: float


class Crowd(NamedTuple):
    """What was seen: milliseconds of each push with one stream and with all, what each stream takes, what got lost."""

    alone: list[float]
    crowded: list[float]
    each: Held
    lost: int
    ended: int


def measure(url: str, process: psutil.Process, streams: int, pushes: int) -> Crowd:
    """Push to one stream, then open the others and push to all of them. `process` is the function that holds them."""
    return asyncio.run(_measure(url, process, streams, pushes))


class _Host:
    """A session's host: `heard` gets a future for each request that is under way."""

    def __init__(self, http: httpx.AsyncClient, session: dict[str, Any]) -> None:
        self._http = http
        self._path = f"/api/sessions/{session['code']}"
        self._headers = {"Authorization": f"Bearer {session['token']}"}
        self._heard: dict[str, asyncio.Future[float]] = {}
        self.ended = False

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Keep the stream open, from its first event on."""
        opened = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._listen(opened))
        await asyncio.wait_for(opened, 30)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _listen(self, opened: "asyncio.Future[None]") -> None:
        # Without a client's comforts, a thousand of which would slow down what is measured.
        url = self._http.base_url
        headers = [("Host", url.host), *self._headers.items()]
        request = h11.Request(method="GET", target=f"{self._path}/stream", headers=headers)
        rest = b""
        async for part in exchange(url.port or 80, request, b""):
            if not isinstance(part, h11.Data):
                continue
            *lines, rest = (rest + bytes(part.data)).split(b"\n")
            for line in lines:
                if line == b"event: open":
                    opened.set_result(None)
                elif line.startswith(b'data: {"id":'):
                    self._heard.pop(json.loads(line[6:])["id"]).set_result(time.perf_counter())
        self.ended = True

    async def push(self, number: int) -> float | None:
        """Send a request, and answer it. Returns the milliseconds until it was heard, None if it was not."""
        request_id = f"q{number}"
        heard: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._heard[request_id] = heard
        started = time.perf_counter()
        await self._http.post(f"{self._path}/requests", json={"id": request_id, "payload": number})
        try:
            arrived = await asyncio.wait_for(heard, _PATIENCE_SECONDS)
        except TimeoutError:
            return None
        body = {"id": request_id, "result": number}
        await self._http.post(f"{self._path}/responses", json=body, headers=self._headers)
        return (arrived - started) * 1000


async def _measure(url: str, process: psutil.Process, streams: int, pushes: int) -> Crowd:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
    async with AsyncExitStack() as running:
        http = await running.enter_async_context(httpx.AsyncClient(base_url=url, limits=limits, timeout=30))
        first = await _opened(http, running)
        await _pushed([first], pushes // 10)
        alone = await _pushed([first], pushes)
        before = _held(process)
        gate = asyncio.Semaphore(_OPENING_AT_ONCE)

        async def open_one() -> _Host:
            async with gate:
                return await _opened(http, running)

        others = await asyncio.gather(*(open_one() for _ in range(streams - 1)))
        after = _held(process)
        crowded = await _pushed([first, *others], pushes)
        ended = sum(host.ended for host in (first, *others))
    count = streams - 1
    each = Held(
        (after.kib - before.kib) / count,
        round((after.threads - before.threads) / count, 2),
        round((after.sockets - before.sockets) / count, 2),
    )
    lost = sum(one is None for one in (*alone, *crowded))
    return Crowd([one for one in alone if one], [one for one in crowded if one], each, lost, ended)


async def _opened(http: httpx.AsyncClient, running: AsyncExitStack) -> _Host:
    session = (await http.post("/api/sessions")).raise_for_status().json()
    host = _Host(http, session)
    await running.enter_async_context(host.listening())
    return host


async def _pushed(hosts: list[_Host], count: int) -> list[float | None]:
    """Push to one host after the other, at a steady pace, whatever becomes of those before."""
    tasks = []
    for number in range(count):
        # A step that visits all hosts, and neighbours one long after the other.
        host = hosts[number * 617 % len(hosts)]
        tasks.append(asyncio.create_task(host.push(time.monotonic_ns())))
        await asyncio.sleep(1 / _PUSHES_A_SECOND)
    return list(await asyncio.gather(*tasks))


def _held(process: psutil.Process) -> Held:
    return Held(process.memory_full_info().uss / 1024, process.num_threads(), len(process.net_connections()))
