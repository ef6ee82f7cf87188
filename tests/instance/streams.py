"""What streams cost an instance: calls to the store while nothing happens, and the time of a push beside many others.

The functions start from their source, with descriptors for all the streams.
"""

import asyncio
import time
from typing import Any

import psutil

from dev.bench.report import Milliseconds, progress, quantiles, table
from dev.local.deployment import LocalStore
from tests.instance.functions import Functions, crowd, instances, pushes

_PLAIN_DESCRIPTORS = 200  # for plain calls beside streams, and connections to the store


def measure_idle(store: LocalStore, number: int, seconds: float) -> dict[str, float]:
    """Count the calls to the store of streams on which nothing happens, and print them.

    Raises ValueError if a stream does not end with its client.
    """
    progress(f"{number} idle streams, for {seconds:g} s")
    with instances(store, None, number + _PLAIN_DESCRIPTORS) as functions:
        asyncio.run(_stay(functions, number, seconds))
        deadline = time.monotonic() + 30
        while len(ended := functions.ended_streams()) < number:
            if time.monotonic() > deadline:
                raise ValueError(f"{number - len(ended)} idle streams did not end with their clients.")
            time.sleep(0.05)
    calls = sum(entry["storeCalls"] for entry in ended)
    print(f"Idle streams: {number} opened, and stayed for {seconds:g} s; store calls: {calls}.\n")
    return {"seconds": seconds, "store calls": calls}


def measure_crowd(store: LocalStore, number: int, count: int) -> dict[str, Any]:
    """Measure `count` pushes with one stream, and with many in one process, and what each stream there holds.

    Prints the quantiles and the rest. Returns them all, with the milliseconds of each push.
    """
    progress(f"{number} streams in one process, {count} pushes to one, then as many to all")
    with instances(store, None, number + _PLAIN_DESCRIPTORS) as functions:
        series, each, ended = asyncio.run(_crowd(functions, number, count))
    found = quantiles(series)
    table("milliseconds", found)
    alone, crowded = found.values()
    ratio = crowded["p95"] / alone["p95"]
    lost = sum(count - len(values) for values in series.values())
    print(f"p95 with all streams is {ratio:.2f} of that with one; lost {lost}, ended {ended}.")
    print(f"Each stream holds {each['kib']:.0f} KiB, {each['threads']:g} threads, {each['sockets']:g} sockets.\n")
    return {"pushes": found, "p95 ratio": ratio, "each": each, "lost": lost, "ended": ended, "milliseconds": series}


async def _stay(functions: Functions, number: int, seconds: float) -> None:
    """Keep streams open for some seconds."""
    sessions = await crowd(functions, number)
    await asyncio.sleep(seconds)
    for session in sessions:
        session.close()


async def _crowd(functions: Functions, number: int, count: int) -> tuple[Milliseconds, dict[str, float], int]:
    """Push to one stream, then to many. Returns the milliseconds, what each stream holds, and how many have ended."""
    process = psutil.Process(functions.stream.pid)
    first = await crowd(functions, 1)
    await pushes(first, count // 10)
    alone = await pushes(first, count)
    before = _held(process)
    sessions = [*first, *await crowd(functions, number - 1)]
    each = {name: round((held - before[name]) / max(number - 1, 1), 2) for name, held in _held(process).items()}
    series = {"push, 1 stream": alone, f"push, {number} streams": await pushes(sessions, count)}
    return series, each, len(functions.ended_streams())


def _held(process: psutil.Process) -> dict[str, float]:
    """Return what a process holds: memory of its own in KiB, threads, and sockets."""
    kib, sockets = process.memory_full_info().uss / 1024, len(process.net_connections())
    return {"kib": kib, "threads": process.num_threads(), "sockets": sockets}
