"""How long each call takes, a push and a round trip, beside the floor that the store sets in the same run.

The floor is one script call that rings, one hop of publish/subscribe, and one read, made with the vendor's client.
"""

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
from upstash_redis import Redis

_RING = "redis.call('SET', KEYS[1], ARGV[1], 'EX', 60) redis.call('PUBLISH', ARGV[2], ARGV[1]) return {1}"

type Milliseconds = dict[str, list[float]]


def floor(running: ExitStack, store_url: str, token: str) -> Callable[[], float]:
    """Return what measures the floor once, in seconds, as long as the stack lasts."""
    db = running.enter_context(Redis(store_url, token, rest_encoding=None))
    rings = running.enter_context(_data(f"{store_url}/subscribe/bell:bench", token))
    next(rings)

    def measure() -> float:
        started = time.perf_counter()
        db.eval(_RING, ["rate:bench:floor"], ["1", "bell:bench"])
        next(rings)
        db.get("rate:bench:floor")
        return time.perf_counter() - started

    return measure


def pair(running: ExitStack, url: str) -> dict[str, Callable[[], float]]:
    """Return what measures a push and a round trip once, in seconds, between a guest and a host that listens."""
    guest, host = (running.enter_context(httpx.Client(base_url=url, timeout=30)) for _ in range(2))
    beside = running.enter_context(ThreadPoolExecutor(1))
    session = host.post("/api/sessions").raise_for_status().json()
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


def calls(url: str, times: int) -> tuple[Milliseconds, dict[str, int]]:
    """Make every call so many times. Returns the milliseconds of each, and how many calls to the store each takes."""
    took: Milliseconds = {}
    store_calls: dict[str, int] = {}
    with httpx.Client(base_url=url, timeout=30) as http:

        def call(name: str, method: str, path: str, **options: Any) -> httpx.Response:
            started = time.perf_counter()
            answer = http.request(method, path, **options)
            took.setdefault(name, []).append((time.perf_counter() - started) * 1000)
            answer.raise_for_status()
            said = re.search(r"(\d+) calls", answer.headers.get("server-timing", ""))
            store_calls[name] = max(store_calls.get(name, 0), int(said[1]) if said else 0)
            return answer

        for _ in range(times):
            call("health", "GET", "/api/health")
            session = call("create session", "POST", "/api/sessions").json()
            path = f"/api/sessions/{session['code']}"
            host = {"Authorization": f"Bearer {session['token']}"}
            request_id = secrets.token_hex(8)
            call("read session", "GET", path)
            call("renew session", "PATCH", path, headers=host)
            call("post request", "POST", f"{path}/requests", json={"id": request_id, "payload": "x" * 100})
            call("read requests", "GET", f"{path}/requests", headers=host)
            call("answer request", "POST", f"{path}/responses", json={"id": request_id, "result": 1}, headers=host)
            call("read response", "GET", f"{path}/responses/{request_id}")
            call("end session", "DELETE", path, headers=host)
    return took, store_calls


@contextmanager
def _data(url: str, token: str) -> Iterator[Iterator[str]]:
    """Give the data of the events at an address, as they come."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    with httpx.stream("GET", url, headers=headers, timeout=None) as answer:  # noqa: S113 - as long as the run lasts
        answer.raise_for_status()
        yield (line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: "))
