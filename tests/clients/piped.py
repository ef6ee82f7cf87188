"""`python relay.py mcp` as a process, and messages of MCP to it and from it, to the letter."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

import pytest

from tests.clients.conftest import command
from tests.support.tools import PATIENCE_SECONDS

MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "piped", "version": "1"},
}


class Piped:
    """An MCP server over standard input and output, which runs while the `with` block does.

    `errors` is what it has written to standard error, which has to be empty if it `complains_never`.
    """

    def __init__(self, *arguments: str, relay: str, line: list[str] | None = None) -> None:
        environment = {**os.environ, "PARLEY_URL": relay}
        self.process = subprocess.Popen(
            [*(line or command("mcp")), *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.errors = ""
        self._last_id = 0
        self._messages: queue.Queue[Any] = queue.Queue()
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._read_errors)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with suppress(OSError):
                if stream:
                    stream.close()

    def write(self, data: bytes) -> None:
        """Send what a client may send, or may not."""
        assert self.process.stdin
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def begin(self, method: str, params: dict[str, Any] | None = None, *, modern: bool = False) -> int:
        """Send a request, and return its id."""
        self._last_id += 1
        self._send(method, params or {}, modern=modern, id=self._last_id)
        return self._last_id

    def notify(self, method: str, params: dict[str, Any] | None = None) -> None:
        """Send a notification."""
        self._send(method, params or {}, modern=False)

    def ask(self, method: str, params: dict[str, Any] | None = None, *, modern: bool = False) -> Any:
        """Send a request, and return its result."""
        return self.answer(self.begin(method, params, modern=modern))

    def answer(self, request_id: int) -> Any:
        """Return the result of a request."""
        message = self.next(lambda message: message.get("id") == request_id)
        assert "result" in message, message
        return message["result"]

    def call(self, name: str, /, *, modern: bool = False, **arguments: Any) -> Any:
        """Call a tool, and return its result."""
        return self.ask("tools/call", {"name": name, "arguments": arguments}, modern=modern)

    def names(self, *, modern: bool = False) -> list[str]:
        """Return the names of the tools."""
        return [tool["name"] for tool in self.ask("tools/list", modern=modern)["tools"]]

    def initialize(self, version: str = "2025-11-25") -> Any:
        """Do the handshake of a client of before 2026-07-28, and return what the server says."""
        params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "piped", "version": "1"}}
        result = self.ask("initialize", params)
        self.notify("notifications/initialized")
        return result

    def next(self, chosen: Callable[[Any], bool] = lambda _: True) -> Any:
        """Return the next message that is chosen. Those before it are lost."""
        passed = []
        while True:
            try:
                passed.append(self._messages.get(timeout=PATIENCE_SECONDS))
            except queue.Empty:
                pytest.fail(f"no such message, but {passed}\n{self.errors}")
            if chosen(passed[-1]):
                return passed[-1]

    def changed(self) -> Any:
        """Wait until the server says that the tools have changed, and return the message."""
        return self.next(lambda message: message.get("method") == "notifications/tools/list_changed")

    def close(self) -> int:
        """End standard input, and return the status with which the server ends."""
        assert self.process.stdin
        self.process.stdin.close()
        return self.process.wait(PATIENCE_SECONDS)

    def rest(self) -> list[Any]:
        """Return the messages that have come, after the server has ended."""
        for thread in self._threads:
            thread.join()
        return list(self._messages.queue)

    def _send(self, method: str, params: dict[str, Any], *, modern: bool, **identity: int) -> None:
        if modern:
            params = {**params, "_meta": {**MODERN, **params.get("_meta", {})}}
        self.write(json.dumps({"jsonrpc": "2.0", **identity, "method": method, "params": params}).encode() + b"\n")

    def _read(self) -> None:
        """Read messages: whatever else is on standard output fails here, and then in the test that waits."""
        assert self.process.stdout
        for line in self.process.stdout:
            message = json.loads(line)
            assert message["jsonrpc"] == "2.0"
            self._messages.put(message)

    def _read_errors(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.errors += line.decode()


def text_of(result: Any) -> tuple[str, bool]:
    """Return the text of a tool's result, and whether it is an error."""
    (block,) = result["content"]
    return block["text"], result.get("isError", False)


PYTHON = sys.executable
