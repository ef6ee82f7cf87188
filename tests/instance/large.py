"""What large messages cost an instance: its memory, and the time of those who call it meanwhile."""

import asyncio
import os
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil

from dev.bench.report import progress, table
from dev.local.deployment import LocalStore
from dev.local.function import Function
from tests.instance.functions import Answer, Functions, Session, call, instances

_MIB = 1024 * 1024
_BACKLOG_MIB = 15
_READS = 60
_PLAIN_READS = 50
_WAITS = 100
_TRIPS_A_SECOND = 20
_TRIP_SECONDS = 10
_NEIGHBOUR, _READER = "198.51.100.1", "192.0.2.1"


def measure(store: LocalStore, build: Path | None) -> dict[str, dict[str, Any]]:
    """Measure sixty reads of a large backlog at once, and round trips of 1 MiB beside a hundred waits."""
    progress(f"{_READS} reads at once of {_BACKLOG_MIB} MiB, and a neighbour's reads beside")
    with instances(store, build) as functions:
        reads = asyncio.run(_reads(functions))
    progress(f"{_WAITS} waits, and {_TRIPS_A_SECOND} round trips a second of 1 MiB each way, for {_TRIP_SECONDS} s")
    with instances(store, build) as functions:
        trips = asyncio.run(_trips(functions))
    table("large messages", {"reads of a backlog": reads, "round trips": trips})
    return {"reads": reads, "round trips": trips}


async def _reads(functions: Functions) -> dict[str, Any]:
    """Let one network read a backlog of characters that are wide in Python, and another one read beside."""
    session, neighbour = await Session.create(functions), await Session.create(functions)
    port, text = functions.requests.port, "😀" * (_MIB // 4 - 1)
    for _ in range(_BACKLOG_MIB):
        await call(port, "POST", f"{session.path}/requests", {"payload": text})

    async def plain() -> float:
        path = f"{neighbour.path}/requests"
        return (await call(port, "GET", path, token=neighbour.token, address=_NEIGHBOUR)).seconds

    alone = [await plain() for _ in range(_PLAIN_READS)]
    beside = []
    # The readers have a process of their own: what they do with the answers must not hold up the neighbour.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        await asyncio.wrap_future(pool.submit(os.getpid))  # which has started then
        async with _watched([functions.requests]) as peaks:
            reading = asyncio.wrap_future(pool.submit(_read_at_once, port, session.path, session.token))
            while not reading.done():
                beside.append(await plain())
            statuses = await reading
    usual, busy = statistics.median(alone) * 1000, statistics.median(beside) * 1000
    return {
        "ms alone": usual,
        "ms beside": busy,
        "beside / alone": busy / usual,
        "refused": _READS - statuses[200],
        "MiB": max(peaks),
    }


def _read_at_once(port: int, path: str, token: str) -> Counter[int]:
    """Return how often each status came."""

    async def run() -> list[Answer]:
        reads = (call(port, "GET", f"{path}/requests", token=token, address=_READER) for _ in range(_READS))
        return await asyncio.gather(*reads)

    return Counter(answer.status for answer in asyncio.run(run()))


async def _trips(functions: Functions) -> dict[str, Any]:
    """Let requests and responses of 1 MiB come and go while calls wait for what nobody answers."""
    port, text = functions.requests.port, "x" * (_MIB - 100)
    sessions = [await Session.create(functions) for _ in range(_WAITS // 10)]
    waits = []
    for number in range(_WAITS):
        path = f"{sessions[number % len(sessions)].path}/requests?wait=55"
        request = {"id": f"q{number}", "payload": 1}
        waits.append(asyncio.create_task(call(port, "POST", path, request, address=f"10.1.{number}.1")))

    async def trip(number: int) -> bool:
        session = await Session.create(functions)
        path, guest, host = f"{session.path}/requests", f"10.2.{number % 250}.1", f"10.3.{number % 250}.1"
        asking = asyncio.create_task(call(port, "POST", f"{path}?wait=30", {"id": "q", "payload": text}, address=guest))
        await call(port, "GET", f"{path}?wait=30", token=session.token, address=host)
        answer = {"id": "q", "result": text}
        responses = f"{session.path}/responses"
        await call(functions.responses.port, "POST", responses, answer, token=session.token, address=host)
        got = await asking
        await call(functions.sessions.port, "DELETE", session.path, token=session.token)
        return got.status == 200 and len(got.body) > len(text)

    started = time.perf_counter()
    async with _watched([functions.requests, functions.responses]) as peaks:
        trips = []
        for number in range(_TRIPS_A_SECOND * _TRIP_SECONDS):
            trips.append(asyncio.create_task(trip(number)))
            await asyncio.sleep(max(0.0, started + (number + 1) / _TRIPS_A_SECOND - time.perf_counter()))
        done = await asyncio.gather(*trips)
    took = time.perf_counter() - started
    for wait in waits:
        wait.cancel()
    return {"a second": sum(done) / took, "failed": len(done) - sum(done), "MiB": max(peaks)}


@asynccontextmanager
async def _watched(functions: list[Function]) -> AsyncIterator[list[float]]:
    """Give the largest memory of each function while the block runs, in MiB."""
    processes = [psutil.Process(function.pid) for function in functions]
    peaks = [0.0] * len(processes)

    async def watch() -> None:
        while True:
            for place, process in enumerate(processes):
                peaks[place] = max(peaks[place], process.memory_info().rss / _MIB)
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    try:
        yield peaks
    finally:
        watching.cancel()
