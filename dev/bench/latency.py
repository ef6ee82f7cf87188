"""How long each call, a push, a round trip and a tool call take, compared with what the store alone takes for a push.

That floor is one script that publishes, its message on a subscription, and one read, made with the vendor's client.
"""

import json
import re
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

import httpx
from upstash_redis import Redis

from dev.bench.report import Milliseconds
from dev.events import PARLEY, UPSTASH, Event, events_of
from dev.local.deployment import LocalStore
from lib.mcp.results import MODERN

_PUBLISH = "redis.call('SET', KEYS[1], ARGV[1], 'EX', 60) redis.call('PUBLISH', ARGV[2], ARGV[1]) return {1}"
_META = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
_TOOL = "bench"

type Answer = tuple[dict[str, Any], int]  # its JSON, and how many calls to the store it took


def floor(running: ExitStack, store: LocalStore) -> Callable[[], float]:
    """Return a function that measures the floor, in seconds. It may be called until `running` is closed."""
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

    def __init__(self, running: ExitStack, url: str) -> None:
        place = urlsplit(url)
        kind = HTTPSConnection if place.scheme == "https" else HTTPConnection
        self._connection = running.enter_context(closing(kind(place.hostname or "", place.port, timeout=30)))

    def call(self, method: str, path: str, content: object = None, token: str = "", **headers: str) -> Answer:
        """Return the answer to a call. Raises ValueError for a refusal."""
        headers |= {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._connection.request(method, path, None if content is None else json.dumps(content), headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise ValueError(f"{method} {path}: {answer.status}")
        # As lib/web/endpoint.py writes the header: kv;dur=1.2;desc="2 calls"
        counted = re.search(r'desc="(\d+) calls"', answer.headers.get("Server-Timing", ""))
        return json.loads(text or b"{}"), int(counted[1]) if counted else 0

    def mcp(self, code: str, method: str, **params: Any) -> Answer:
        """Return the answer to a request of MCP, its result alone. Raises as `call` does."""
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": _META}}
        named = {"Mcp-Name": params["name"]} if "name" in params else {}
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method, **named}
        answer, asked = self.call("POST", f"/mcp/{code}", message, **headers)
        return answer.get("result", {}), asked


class Pair:
    """A guest and a listening host, until `running` is closed. `store_calls` counts the calls to the store."""

    def __init__(self, running: ExitStack, url: str) -> None:
        self._guest, self._host = Caller(running, url), Caller(running, url)
        self._beside = running.enter_context(ThreadPoolExecutor(1))
        session, _ = self._guest.call("POST", "/api/sessions")
        self._code, self._token = session["code"], session["token"]
        self._path = f"/api/sessions/{self._code}"
        self._events = _subscribed(running, f"{url}{self._path}/stream", self._token, PARLEY)
        next(self._events)
        self.store_calls: defaultdict[str, list[int]] = defaultdict(list)

    def push(self) -> float:
        """Return the seconds until the host has a request."""
        arriving = self._beside.submit(self._answer, 1)
        started = time.perf_counter()
        _, asked = self._guest.call("POST", f"{self._path}/requests", {"payload": 1})
        self.store_calls["push"].append(asked)
        return arriving.result()[0] - started

    def round_trip(self) -> float:
        """Return the seconds until a guest that waits has the host's answer."""
        ask = partial(self._guest.call, "POST", f"{self._path}/requests?wait=30", {"payload": 1})
        return self._exchange("round trip", ask, 1, {"result": 1})

    def tool_call(self) -> float:
        """Return the seconds until an agent has the result of a tool, over MCP."""
        ask = partial(self._guest.mcp, self._code, "tools/call", name=_TOOL, arguments={"a": 1})
        result = {"content": [{"type": "text", "text": "1"}]}
        return self._exchange("tools/call", ask, result, result)

    def _exchange(self, name: str, ask: Callable[[], Answer], result: object, expected: Mapping[str, Any]) -> float:
        """Return the seconds until what is asked has its answer, with the expected members. Raises ValueError."""
        answering = self._beside.submit(self._answer, result)
        started = time.perf_counter()
        answer, asked = ask()
        seconds = time.perf_counter() - started
        self.store_calls[name].append(asked + answering.result()[1])
        if not expected.items() <= answer.items():
            raise ValueError(f"{name}: the answer is not the host's.")
        return seconds

    def _answer(self, result: object) -> tuple[float, int]:
        """Answer the next request. Returns when its event came, and how many calls to the store the answer took."""
        request_id = next(self._events).data["id"]
        arrived = time.perf_counter()
        answer = {"id": request_id, "result": result}
        return arrived, self._host.call("POST", f"{self._path}/responses", answer, self._token)[1]


def calls(url: str, times: int) -> tuple[Milliseconds, dict[str, int]]:
    """Make every call `times` times. Returns the milliseconds of each, and how many calls to the store each takes."""
    took: Milliseconds = {}
    store_calls: dict[str, int] = {}

    def measured(name: str, call: Callable[..., Answer], *arguments: Any) -> dict[str, Any]:
        started = time.perf_counter()
        answer, asked = call(*arguments)
        took.setdefault(name, []).append((time.perf_counter() - started) * 1000)
        store_calls[name] = max(store_calls.get(name, 0), asked)
        return answer

    with ExitStack() as running:
        caller = Caller(running, url)
        call = caller.call
        for _ in range(times):
            measured("health", call, "GET", "/api/health")
            session = measured("create session", call, "POST", "/api/sessions")
            path, token = f"/api/sessions/{session['code']}", session["token"]
            request_id = secrets.token_hex(8)
            request, answer = {"id": request_id, "payload": "x" * 100}, {"id": request_id, "result": 1}
            measured("read session", call, "GET", path)
            measured("renew session", call, "PATCH", path, None, token)
            measured("post request", call, "POST", f"{path}/requests", request)
            measured("read requests", call, "GET", f"{path}/requests", None, token)
            measured("answer request", call, "POST", f"{path}/responses", answer, token)
            measured("read response", call, "GET", f"{path}/responses/{request_id}")
            measured("register tools", call, "PUT", f"{path}/tools", {"tools": [{"name": _TOOL}]}, token)
            measured("tools/list", caller.mcp, session["code"], "tools/list")
            measured("end session", call, "DELETE", path, None, token)
    return took, store_calls


def _subscribed(running: ExitStack, url: str, token: str, required: tuple[str, ...]) -> Iterator[Event]:
    """Open a stream of events, which lasts until `running` is closed."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    opening = httpx.stream("GET", url, headers=headers, timeout=None)  # noqa: S113 - an idle stream sends nothing
    return events_of(running.enter_context(opening).raise_for_status().iter_bytes(), required)
