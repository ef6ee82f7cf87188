"""An agent: a client of MCP, in either era of the protocol, that looks at the shape of each answer."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from functools import partial
from typing import Any

import requests

from dev.check import reading
from dev.check.caller import Caller, Failed, Listener, expect, parsed, require
from lib.mcp import results

MODERN, LEGACY = results.MODERN, results.LEGACY[0]

_META = "io.modelcontextprotocol/"
CLIENT = {"name": "parley-check", "version": "1"}


class Agent:
    """A client of the MCP server at `path`, in this version of the protocol. A failure names request and version."""

    def __init__(self, caller: Caller, path: str, version: str) -> None:
        self._caller = caller
        self._path = path
        self._version = version
        self._session: dict[str, str] = {}  # the header that `initialize` gives to a client of a legacy version

    def open(self) -> None:
        """Begin as the era wants it. Raises Failed."""
        tools = {} if self._path == "/mcp" else {"listChanged": True}
        common = {"capabilities": {"tools": tools}, "instructions": str}
        if self._version == MODERN:
            found = self.ask("server/discover", supportedVersions=list, ttlMs=int, cacheScope=str, **common)
            require(MODERN in found["supportedVersions"], f"server/discover: supportedVersions lacks {MODERN}.")
            return
        hello = {"protocolVersion": self._version, "capabilities": {}, "clientInfo": CLIENT}
        self.ask("initialize", hello, protocolVersion=self._version, serverInfo=dict, **common)
        self.notify("notifications/initialized")
        self.ask("ping")

    def ask(self, method: str, params: dict[str, Any] | None = None, /, **expected: object) -> dict[str, Any]:
        """Return the result of a request. Each of these members has this value, or is of this type. Raises Failed."""
        with self._named(method):
            answer = expect(self.send(method, params), 200)
            if method == "initialize":
                self._session = {"Mcp-Session-Id": answer.headers.get("Mcp-Session-Id", "")}
            match parsed(answer):
                case {"jsonrpc": "2.0", "id": 1, "result": dict(result), **rest} if not rest:
                    pass
                case _ if reading.rpc_error(answer):
                    raise Failed(*reading.of_answer(answer))
                case _:
                    raise Failed(f"{reading.summary(answer)}, which is no JSON-RPC with a result.")
            if self._version == MODERN:
                expected |= {"resultType": "complete"}
            for name, value in expected.items():
                found = result.get(name)
                right = isinstance(found, value) if isinstance(value, type) else found == value
                require(right, f"{name} is {reading.printable(json.dumps(found))}.")
            return result

    def notify(self, method: str, **params: object) -> None:
        """Send a notification, which has to be accepted. Raises Failed."""
        with self._named(method):
            expect(self._post({"jsonrpc": "2.0", "method": method, "params": params}), 202)

    def listen(self, method: str, **params: object) -> Listener:
        """Make a request, and return what listens to the events of its answer, in a thread of its own."""
        beside = copy(self)
        beside._caller = self._caller.another()
        return Listener(partial(beside.send, method, params, stream=True), ("event", "data"))

    def refused(self, method: str, status: int, code: str) -> None:
        """Make a request that is refused with this HTTP status, and this problem's code. Raises Failed."""
        with self._named(method):
            answer = expect(self.send(method), status, code)
            same = reading.rpc_error(answer).get("code") == reading.problem(answer).get("status")
            require(same, "The error's code is not the status of its problem.")

    def send(
        self, method: str, params: dict[str, Any] | None = None, *, stream: bool = False, **headers: str
    ) -> requests.Response:
        """Return the answer to a request, whatever it is, maybe before its body. Raises Failed if none comes."""
        given = params or {}
        if self._version == MODERN:
            meta = {"protocolVersion": MODERN, "clientCapabilities": {}, "clientInfo": CLIENT}
            named = {f"{_META}{name}": value for name, value in meta.items()}
            given = {**given, "_meta": {**given.get("_meta", {}), **named}}
            headers |= {"Mcp-Method": method} | ({"Mcp-Name": given["name"]} if method == "tools/call" else {})
        return self._post({"jsonrpc": "2.0", "id": 1, "method": method, "params": given}, stream, **headers)

    def _post(self, message: dict[str, Any], stream: bool = False, **headers: str) -> requests.Response:
        headers |= self._session | {
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": self._version,
        }
        return self._caller.send("POST", self._path, json=message, headers=headers, stream=stream)

    @contextmanager
    def _named(self, method: str) -> Iterator[None]:
        try:
            yield
        except Failed as failure:
            seen, advice = failure.found
            raise Failed(f"{method}, {self._version}: {seen}", advice) from None
