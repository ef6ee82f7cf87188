"""How long each call, a push and a round trip take, compared with a floor: what the store alone takes for a push.

The floor is one script that publishes, its message on a subscription, and one read, made with the vendor's client.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
from upstash_redis import Redis

from dev.events import PARLEY, UPSTASH, Event, events_of
from dev.local.deployment import LocalStore

_PUBLISH = "redis.call('SET', KEYS[1], ARGV[1], 'EX', 60) redis.call('PUBLISH', ARGV[2], ARGV[1]) return {1}"

type Milliseconds = dict[str, list[float]]


def floor(running: ExitStack, store: LocalStore) -> Callable[[], float]:
    """Return a function that measures the floor once, in seconds. It may be called until `running` is closed."""
    db = running.enter_context(Redis(store.url, store.token, rest_encoding=None))
    messages = _subscribed(running, f"{store.url}/subscribe/bench", store.token, UPSTASH)
    next(messages)

    def measure() -> float:
        started = time.perf_counter()
        db.eval(_PUBLISH, ["rate:bench:floor"], ["1", "bench"])
        next(messages)
        db.get("rate:bench:floor")
        return time.perf_counter() - started

    return measure


def pair(running: ExitStack, url: str) -> dict[str, Callable[[], float]]:
    """Return functions that measure a push and a round trip once, in seconds, between a guest and a listening host."""
    guest, host = (running.enter_context(httpx.Client(base_url=url, timeout=30)) for _ in range(2))
    beside = running.enter_context(ThreadPoolExecutor(1))
    session = host.post("/api/sessions").raise_for_status().json()
    path = f"/api/sessions/{session['code']}"
    host.headers["Authorization"] = f"Bearer {session['token']}"
    events = _subscribed(running, f"{url}{path}/stream", session["token"], PARLEY)
    next(events)

    def answer() -> float:
        request_id = next(events).data["id"]
        arrived = time.perf_counter()
        host.post(f"{path}/responses", json={"id": request_id, "result": 1}).raise_for_status()
        return arrived

    def ask(wait: int) -> tuple[float, float]:
        """Return the seconds until the host had the request, and until the guest had its reply."""
        answering = beside.submit(answer)
        started = time.perf_counter()
        guest.post(f"{path}/requests?wait={wait}", json={"payload": 1}).raise_for_status()
        returned = time.perf_counter()
        return answering.result() - started, returned - started

    return {"push": lambda: ask(0)[0], "round trip": lambda: ask(30)[1]}


def calls(url: str, times: int) -> tuple[Milliseconds, dict[str, int]]:
    """Make every call `times` times. Returns the milliseconds of each, and how many calls to the store each takes."""
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


def _subscribed(running: ExitStack, url: str, token: str, required: tuple[str, ...]) -> Iterator[Event]:
    """Open a stream of events, which lasts until `running` is closed."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    opening = httpx.stream("GET", url, headers=headers, timeout=None)  # noqa: S113 - an idle stream sends nothing
    return events_of(running.enter_context(opening).raise_for_status().iter_bytes(), required)
