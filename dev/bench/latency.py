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
from http.client import HTTPConnection, HTTPSConnection
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import httpx
from upstash_redis import Redis

from dev.events import PARLEY, UPSTASH, Event, events_of
from dev.local.deployment import LocalStore
from lib.mcp.protocol import MODERN

_PUBLISH = "redis.call('SET', KEYS[1], ARGV[1], 'EX', 60) redis.call('PUBLISH', ARGV[2], ARGV[1]) return {1}"
_META = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
_TOOL = "bench"
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

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

    def post(self, path: str, content: object, headers: Mapping[str, str] = _NO_HEADERS) -> tuple[dict[str, Any], int]:
        """Return the answer to a call, and how many calls to the store it took. Raises ValueError if it is refused."""
        self._connection.request("POST", path, json.dumps(content), {**self._headers, **headers})
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status >= 300:
            raise ValueError(f"POST {path}: {answer.status}")
        return json.loads(body), _store_calls(answer.headers.get("Server-Timing", ""))


class Pair:
    """A guest and a listening host, until `running` is closed. `store_calls` has how many each thing done has taken."""

    def __init__(self, running: ExitStack, url: str) -> None:
        self._guest = Caller(running, url)
        self._beside = running.enter_context(ThreadPoolExecutor(1))
        session, _ = self._guest.post("/api/sessions", {})
        self._code = session["code"]
        self._path = f"/api/sessions/{self._code}"
        self._host = Caller(running, url, session["token"])
        self._events = _subscribed(running, f"{url}{self._path}/stream", session["token"], PARLEY)
        next(self._events)
        self.store_calls: defaultdict[str, list[int]] = defaultdict(list)

    def push(self) -> float:
        """Return the seconds until the host has a request."""
        arriving = self._beside.submit(self._answer, 1)
        started = time.perf_counter()
        _, asked = self._guest.post(f"{self._path}/requests", {"payload": 1})
        self.store_calls["push"].append(asked)
        return arriving.result()[0] - started

    def round_trip(self) -> float:
        """Return the seconds until the guest that waits has the host's answer."""
        seconds, answer = self._ask("round trip", f"{self._path}/requests?wait=30", {"payload": 1}, 1)
        if answer.get("result") != 1:
            raise ValueError("A round trip brought something else than the answer.")
        return seconds

    def tool_call(self) -> float:
        """Return the seconds until an agent has the result of a tool, over MCP."""
        result = {"content": [{"type": "text", "text": "1"}]}
        message, headers = _message("tools/call", {"name": _TOOL, "arguments": {"a": 1}})
        seconds, answer = self._ask("tools/call", f"/mcp/{self._code}", message, result, headers)
        if answer.get("result", {}).get("content") != result["content"]:
            raise ValueError("A tool call brought something else than the result.")
        return seconds

    def _ask(
        self, name: str, path: str, content: object, result: object, headers: Mapping[str, str] = _NO_HEADERS
    ) -> tuple[float, dict[str, Any]]:
        """Return the seconds until the guest has its answer, and that."""
        answering = self._beside.submit(self._answer, result)
        started = time.perf_counter()
        answer, asked = self._guest.post(path, content, headers)
        seconds = time.perf_counter() - started
        self.store_calls[name].append(asked + answering.result()[1])
        return seconds, answer

    def _answer(self, result: object) -> tuple[float, int]:
        request_id = next(self._events).data["id"]
        arrived = time.perf_counter()
        return arrived, self._host.post(f"{self._path}/responses", {"id": request_id, "result": result})[1]


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
            tools = {"tools": [{"name": _TOOL}]}
            call("register tools", "PUT", f"{path}/tools", json=tools, headers=host)
            message, headers = _message("tools/list", {})
            call("tools/list", "POST", f"/mcp/{session['code']}", json=message, headers=headers)
            call("end session", "DELETE", path, headers=host)
    return took, store_calls


def _message(method: str, params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a request of MCP, and the headers that go with it."""
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": _META}}
    name = {"Mcp-Name": params["name"]} if "name" in params else {}
    return message, {"MCP-Protocol-Version": MODERN, "Mcp-Method": method, **name}


def _store_calls(server_timing: str) -> int:
    """Return how many calls to the store an answer says that it took."""
    said = re.search(r"(\d+) calls", server_timing)
    return int(said[1]) if said else 0


def _subscribed(running: ExitStack, url: str, token: str, required: tuple[str, ...]) -> Iterator[Event]:
    """Open a stream of events, which lasts until `running` is closed."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    opening = httpx.stream("GET", url, headers=headers, timeout=None)  # noqa: S113 - an idle stream sends nothing
    return events_of(running.enter_context(opening).raise_for_status().iter_bytes(), required)
