"""How long each call, a push and a round trip take, compared with a floor: what the store alone takes for a push.

The floor is one script that publishes, its message on a subscription, and one read, made with the vendor's client.
"""

import json
import re
import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

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


class Caller:
    """Makes calls over one connection, without the comforts of a client, whose work would count as the service's."""

    def __init__(self, running: ExitStack, url: str, token: str = "") -> None:
        place = urlsplit(url)
        kind = HTTPSConnection if place.scheme == "https" else HTTPConnection
        self._connection = running.enter_context(closing(kind(place.hostname or "", place.port, timeout=30)))
        self._headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}

    def post(self, path: str, content: object) -> tuple[dict[str, Any], int]:
        """Return the answer to a call, and how many calls to the store it took. Raises ValueError if it is refused."""
        self._connection.request("POST", path, json.dumps(content), self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status >= 300:
            raise ValueError(f"POST {path}: {answer.status}")
        return json.loads(body), _store_calls(answer.headers.get("Server-Timing", ""))


class Pair:
    """A guest and a listening host, until `running` is closed. Counts the store's calls of what they do."""

    def __init__(self, running: ExitStack, url: str) -> None:
        self._guest = Caller(running, url)
        self._beside = running.enter_context(ThreadPoolExecutor(1))
        session, _ = self._guest.post("/api/sessions", {})
        self._path = f"/api/sessions/{session['code']}"
        self._host = Caller(running, url, session["token"])
        self._events = _subscribed(running, f"{url}{self._path}/stream", session["token"], PARLEY)
        next(self._events)
        self._calls: dict[int, list[int]] = {}

    def kinds(self) -> dict[str, Callable[[], float]]:
        """Return functions that measure a push and a round trip once, in seconds."""
        return {"push": lambda: self._ask(0)[0], "round trip": lambda: self._ask(30)[1]}

    def store_calls(self) -> dict[str, int]:
        """Return how many calls to the store a push and a round trip take: the median of all."""
        medians = {wait: round(statistics.median(calls)) for wait, calls in self._calls.items()}
        return {"push": medians[0], "round trip": medians[30]}

    def _ask(self, wait: int) -> tuple[float, float]:
        """Return the seconds until the host had the request, and until the guest had its reply."""
        answering = self._beside.submit(self._answer)
        started = time.perf_counter()
        _, asked = self._guest.post(f"{self._path}/requests?wait={wait}", {"payload": 1})
        returned = time.perf_counter()
        arrived, answered = answering.result()
        self._calls.setdefault(wait, []).append(asked + (answered if wait else 0))
        return arrived - started, returned - started

    def _answer(self) -> tuple[float, int]:
        request_id = next(self._events).data["id"]
        arrived = time.perf_counter()
        return arrived, self._host.post(f"{self._path}/responses", {"id": request_id, "result": 1})[1]


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
            store_calls[name] = max(store_calls.get(name, 0), _store_calls(answer.headers.get("server-timing", "")))
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


def _store_calls(server_timing: str) -> int:
    """Return how many calls to the store an answer says that it took."""
    said = re.search(r"(\d+) calls", server_timing)
    return int(said[1]) if said else 0


def _subscribed(running: ExitStack, url: str, token: str, required: tuple[str, ...]) -> Iterator[Event]:
    """Open a stream of events, which lasts until `running` is closed."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    opening = httpx.stream("GET", url, headers=headers, timeout=None)  # noqa: S113 - an idle stream sends nothing
    return events_of(running.enter_context(opening).raise_for_status().iter_bytes(), required)
