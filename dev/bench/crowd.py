"""A thousand hosts that listen at once to one process of the function, and get requests meanwhile, or nothing."""

import asyncio
import time
from typing import Any, NamedTuple

import h11
import httpx
import psutil

from dev.events import Parser
from dev.local.platform import exchange

_PUSHES_A_SECOND = 20
_OPENING_AT_ONCE = 8
_PATIENCE_SECONDS = 10.0


class Crowd(NamedTuple):
    """The milliseconds of each push with one stream and with all, what each stream holds, and what failed.

    `each` is as `_held` returns it. `lost` counts pushes that did not arrive in time, `ended` streams that ended.
    """

    alone: list[float]
    crowded: list[float]
    each: dict[str, float]
    lost: int
    ended: int


class _Host:
    """The host of a session, which reads its stream until the event loop stops. `ended` says whether it has ended."""

    def __init__(self, http: httpx.AsyncClient, session: dict[str, Any]) -> None:
        self._http = http
        self._path = f"/api/sessions/{session['code']}"
        self._headers = {"Authorization": f"Bearer {session['token']}"}
        self._arrivals: dict[str, asyncio.Future[float]] = {}  # by the id of a request that is under way
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended = False
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        # With h11 and not httpx, whose work for a thousand streams would slow down what is measured.
        url = self._http.base_url
        headers = [("Host", url.host), *self._headers.items()]
        request = h11.Request(method="GET", target=f"{self._path}/stream", headers=headers)
        parser = Parser()
        async for part in exchange(url.port or 80, request, b""):
            if isinstance(part, h11.Data):
                for event in parser.feed(bytes(part.data)):
                    if event.name == "open":
                        self.opened.set_result(None)
                    elif event.name == "request":
                        self._arrivals.pop(event.data["id"]).set_result(time.perf_counter())
        self.ended = True

    async def push(self, number: int) -> float | None:
        """Post a request, and answer it. Returns the milliseconds until its event came, or None if it did not."""
        request_id = f"q{number}"
        arrival: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._arrivals[request_id] = arrival
        started = time.perf_counter()
        await self._http.post(f"{self._path}/requests", json={"id": request_id, "payload": number})
        try:
            arrived = await asyncio.wait_for(arrival, _PATIENCE_SECONDS)
        except TimeoutError:
            return None
        body = {"id": request_id, "result": number}
        await self._http.post(f"{self._path}/responses", json=body, headers=self._headers)
        return (arrived - started) * 1000


async def measure(url: str, process: psutil.Process, streams: int, pushes: int) -> Crowd:
    """Push to one stream, then open the others and push to all of them. `process` is the function that serves them."""
    async with _client(url) as http:
        gate = asyncio.Semaphore(_OPENING_AT_ONCE)
        first = await _connected(http, gate)
        await _pushed([first], pushes // 10)
        alone = await _pushed([first], pushes)
        before = _held(process)
        others = await asyncio.gather(*(_connected(http, gate) for _ in range(streams - 1)))
        after = _held(process)
        crowded = await _pushed([first, *others], pushes)
    each = {name: round((after[name] - before[name]) / (streams - 1), 2) for name in before}
    lost = sum(one is None for one in (*alone, *crowded))
    ended = sum(host.ended for host in (first, *others))
    return Crowd([one for one in alone if one], [one for one in crowded if one], each, lost, ended)


async def stay_idle(url: str, streams: int, seconds: float) -> None:
    """Open streams, and leave them alone for a while."""
    async with _client(url) as http:
        gate = asyncio.Semaphore(_OPENING_AT_ONCE)
        await asyncio.gather(*(_connected(http, gate) for _ in range(streams)))
        await asyncio.sleep(seconds)


def _client(url: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
    return httpx.AsyncClient(base_url=url, limits=limits, timeout=30)


async def _connected(http: httpx.AsyncClient, gate: asyncio.Semaphore) -> _Host:
    async with gate:
        host = _Host(http, (await http.post("/api/sessions")).raise_for_status().json())
        await asyncio.wait_for(host.opened, 30)
        return host


async def _pushed(hosts: list[_Host], count: int) -> list[float | None]:
    """Push to one host after the other at a steady pace, without waiting for the pushes before."""
    tasks = []
    for number in range(count):
        # A stride of 617 reaches all hosts, in another order than that in which they have connected.
        tasks.append(asyncio.create_task(hosts[number * 617 % len(hosts)].push(time.monotonic_ns())))
        await asyncio.sleep(1 / _PUSHES_A_SECOND)
    return list(await asyncio.gather(*tasks))


def _held(process: psutil.Process) -> dict[str, float]:
    """Return what a process holds: memory of its own in KiB, threads, and sockets."""
    kib, sockets = process.memory_full_info().uss / 1024, len(process.net_connections())
    return {"kib": kib, "threads": process.num_threads(), "sockets": sockets}
