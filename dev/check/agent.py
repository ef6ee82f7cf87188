"""An agent: a client of MCP, in either era of the protocol, that looks at the shape of each answer."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from dev.check import reading
from dev.check.caller import Caller, Failed, expect, parsed, require
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
        with self._named("notifications/initialized"):
            expect(self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}), 202)
        self.ask("ping")

    def ask(self, method: str, params: dict[str, Any] | None = None, /, **expected: object) -> dict[str, Any]:
        """Return the result of a request. Each of these members has this value, or is of this type. Raises Failed."""
        with self._named(method):
            answer = expect(self.send(method, params), 200)
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

    def refused(self, method: str, status: int, code: str) -> None:
        """Make a request that is refused with this HTTP status, and this problem's code. Raises Failed."""
        with self._named(method):
            answer = expect(self.send(method), status, code)
            same = reading.rpc_error(answer).get("code") == reading.problem(answer).get("status")
            require(same, "The error's code is not the status of its problem.")

    def send(self, method: str, params: dict[str, Any] | None = None, **headers: str) -> requests.Response:
        """Return the answer to a request, whatever it is. Raises Failed if none comes."""
        given = params or {}
        if self._version == MODERN:
            meta = {"protocolVersion": MODERN, "clientCapabilities": {}, "clientInfo": CLIENT}
            given = {**given, "_meta": {f"{_META}{name}": value for name, value in meta.items()}}
            headers |= {"Mcp-Method": method} | ({"Mcp-Name": given["name"]} if method == "tools/call" else {})
        return self._post({"jsonrpc": "2.0", "id": 1, "method": method, "params": given}, **headers)

    def _post(self, message: dict[str, Any], **headers: str) -> requests.Response:
        headers |= {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": self._version}
        return self._caller.send("POST", self._path, json=message, headers=headers)

    @contextmanager
    def _named(self, method: str) -> Iterator[None]:
        try:
            yield
        except Failed as failure:
            seen, advice = failure.found
            raise Failed(f"{method}, {self._version}: {seen}", advice) from None
