"""How long a push and a round trip take on this machine, beside the floor that the store sets in the same run.

The floor is one script call that rings, one hop of publish/subscribe, and one read, made with the vendor's client.
"""

import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, cast

import httpx
from upstash_redis import Redis

from dev import environment

_WARM_UP = 20
_RING = "redis.call('SET', KEYS[1], ARGV[1], 'EX', 60) redis.call('PUBLISH', ARGV[2], ARGV[1]) return {1}"


def run(project: Path, times: int) -> None:
    """Run the local platform, measure each kind so many times, in turns, and print a table in milliseconds."""
    with ExitStack() as running:
        url, store_url, token = running.enter_context(_platform(project))
        kinds = {"floor": _floor(running, store_url, token), **_deployment(running, url, store_url, token)}
        figures: dict[str, list[float]] = {name: [] for name in kinds}
        for turn in range(times + _WARM_UP):
            for name, measure in kinds.items():
                seconds = measure()
                if turn >= _WARM_UP:
                    figures[name].append(seconds * 1000)
    floor = statistics.median(figures["floor"])
    print(f"{'':12}{'p50 ms':>10}{'p95 ms':>10}{'x floor':>10}")
    for name, values in figures.items():
        half, most = statistics.median(values), statistics.quantiles(values, n=20)[-1]
        print(f"{name:12}{half:10.2f}{most:10.2f}{half / floor:10.2f}")


def _floor(running: ExitStack, store_url: str, token: str) -> Callable[[], float]:
    db = running.enter_context(Redis(store_url, token, rest_encoding=None))
    rings = running.enter_context(_data(f"{store_url}/subscribe/bell:bench", token))
    next(rings)

    def floor() -> float:
        started = time.perf_counter()
        db.eval(_RING, ["rate:bench:floor"], ["1", "bell:bench"])
        next(rings)
        db.get("rate:bench:floor")
        return time.perf_counter() - started

    return floor


def _deployment(running: ExitStack, url: str, store_url: str, token: str) -> dict[str, Callable[[], float]]:
    db = running.enter_context(Redis(store_url, token))
    guest, host = (running.enter_context(httpx.Client(base_url=url, timeout=30)) for _ in range(2))
    beside = running.enter_context(ThreadPoolExecutor(1))
    session = host.post("/api/sessions").json()
    path = f"/api/sessions/{session['code']}"
    host.headers["Authorization"] = f"Bearer {session['token']}"
    events = running.enter_context(_data(f"{url}{path}/stream", session["token"]))
    next(events)

    def answer() -> float:
        request_id = json.loads(next(events))["id"]
        heard = time.perf_counter()
        host.post(f"{path}/responses", json={"id": request_id, "result": 1}).raise_for_status()
        return heard

    def ask(wait: int) -> tuple[float, float, float]:
        db.delete(f"rate:requests:{session['code']}:127.0.0.1")
        answering = beside.submit(answer)
        started = time.perf_counter()
        guest.post(f"{path}/requests?wait={wait}", json={"payload": 1}).raise_for_status()
        returned = time.perf_counter()
        return started, answering.result(), returned

    def push() -> float:
        started, heard, _ = ask(0)
        return heard - started

    def round_trip() -> float:
        started, _, returned = ask(30)
        return returned - started

    return {"push": push, "round trip": round_trip}


@contextmanager
def _data(url: str, token: str) -> Iterator[Iterator[str]]:
    """Give the data of the events at an address, as they come."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    with httpx.stream("GET", url, headers=headers, timeout=None) as answer:  # noqa: S113 - as long as the run lasts
        answer.raise_for_status()
        yield (line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: "))


@contextmanager
def _platform(project: Path) -> Iterator[tuple[str, str, str]]:
    """Run the local platform as `make dev` does; give its address, its store's, and the store's token."""
    store = environment.store(project)
    if store.upstash:
        raise ValueError("The benchmark needs a local store: unset the variables of your Upstash database.")
    print(f"Store: {store}")
    command = [sys.executable, "-m", "dev", "--port", "0"]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True) as process:
        out = cast(IO[str], process.stdout)
        printed = ""
        while "\nTry" not in printed and (line := out.readline()):
            printed += line
        # What the functions log has to go somewhere until they have stopped.
        with ThreadPoolExecutor(1) as logs:
            logs.submit(out.read)
            try:
                found = re.search(r"^Parley +(\S+).*REST at (\S+) with the token (\S+)", printed, re.M | re.S)
                if not found:
                    raise ValueError("The local platform does not start: make dev says why.")
                yield found[1], found[2], found[3]
            finally:
                process.terminate()
