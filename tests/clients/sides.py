"""A host's and a guest's program of either client, as the shared scenarios use them, and the calls that they make."""

import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest

from tests.clients.gate import Call, Gate
from tests.support.deployments import Parley
from tests.support.tools import PROJECT


class Program:
    """A program that a test drives: what it prints is JSON, a line each. `told` has all of it so far."""

    def __init__(self, command: list[str]) -> None:
        environment = {**os.environ, "PYTHONPATH": str(PROJECT / "public"), "PYTHONWARNINGS": "error"}
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.told: list[dict[str, Any]] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._read_errors)]
        self._errors = ""
        for thread in self._threads:
            thread.start()

    def say(self, what: Any) -> None:
        """Send the program a line."""
        assert self._process.stdin
        print(what if isinstance(what, str) else json.dumps(what), file=self._process.stdin, flush=True)

    def hear(self, name: str = "", value: Any = ..., seconds: float = 20) -> Any:
        """Return the next that the program tells, of what has this name and value if they are given."""
        until = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, until - time.monotonic()))
            except queue.Empty:
                pytest.fail(f"the program does not tell {name!r}, but {self.told}\n{self._errors}")
            self.told.append(json.loads(line))
            told = self.told[-1]
            if not name:
                return told
            if name in told and value in (..., told[name]):
                return told[name]

    def state(self, wanted: str, seconds: float = 20) -> None:
        """Wait until the host is in a state."""
        self.hear("state", wanted, seconds)

    def collect(self) -> None:
        """Put into `told` what the program has told by now."""
        with suppress(queue.Empty):
            while True:
                self.told.append(json.loads(self._lines.get_nowait()))

    def ran(self) -> list[Any]:
        """Return the payloads of the requests that were begun."""
        self.collect()
        return [told["ran"] for told in self.told if "ran" in told]

    def exit(self) -> int:
        """Return the status with which the program ends by itself."""
        return self._process.wait(20)

    def stop(self) -> str:
        """Stop the program, and return what it has complained of."""
        with suppress(OSError):
            self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with suppress(OSError):
                if stream:
                    stream.close()
        return self._errors

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(line)

    def _read_errors(self) -> None:
        assert self._process.stderr
        self._errors = self._process.stderr.read()


type Start = Callable[[str, str], Program]


def ask(site: Parley, code: str, payload: Any, request_id: str = "q1", wait: int = 30) -> dict[str, Any]:
    """Ask as a guest, and wait for the response."""
    body = {"id": request_id, "payload": payload}
    with httpx.Client(base_url=site.url, timeout=60) as http:
        answer = http.post(f"/api/sessions/{code}/requests?wait={wait}", json=body)
        assert answer.status_code in (200, 202), answer.text
        found: dict[str, Any] = answer.json()
        return found


def streams(call: Call) -> bool:
    return call.kind == "stream"


def _calls(method: str, kind: str) -> Callable[[Call], bool]:
    """Return what tells whether a call is of this method and kind."""
    return lambda call: (call.method, call.kind) == (method, kind)


answers = _calls("POST", "responses")
posts = _calls("POST", "requests")
waits = _calls("GET", "responses")
polls = _calls("GET", "requests")
reports = _calls("POST", "progress")
offers = _calls("PUT", "tools")


def call_of(name: str, arguments: Any) -> dict[str, Any]:
    """Return the request that a call of a tool is."""
    return {"method": "tools/call", "params": {"name": name, "arguments": arguments}}


class Hosted:
    """A host's program with its session."""

    def __init__(self, site: Parley, gate: Gate, start: Start, side: str = "host") -> None:
        self.site, self.gate = site, gate
        self.program = start(side, gate.url)
        self.code = self.program.hear("code")
        self._requests = f"/api/sessions/{self.code}/requests"

    def ask(self, payload: Any, request_id: str = "q1") -> dict[str, Any]:
        """Send a request, and wait for its response."""
        return ask(self.site, self.code, payload, request_id)

    def post(self, payload: Any, request_id: str = "q1") -> None:
        """Send a request that nobody waits for."""
        self.site.http.post(self._requests, json={"id": request_id, "payload": payload}).raise_for_status()

    def withdraw(self, request_id: str = "q1") -> None:
        self.site.http.delete(f"{self._requests}/{request_id}").raise_for_status()


class Guested:
    """A guest's program, and a host that answers it, or one that does not."""

    def __init__(self, site: Parley, gate: Gate, start: Start) -> None:
        self.site, self.gate = site, gate
        self.session = site.create()
        self.code = self.session["code"]
        self.program = start("guest", gate.url)

    def asks(self, payload: Any, **options: Any) -> None:
        self.program.say({"code": self.code, "payload": payload, **options})

    def ask(self, payload: Any, **options: Any) -> dict[str, Any]:
        self.asks(payload, **options)
        told: dict[str, Any] = self.program.hear(seconds=60)
        return told

    def report(self, request_id: str, **report: Any) -> None:
        """Say as the host how far a request is."""
        self._call_as_host("progress", id=request_id, **report)

    def answer(self, request_id: str, result: Any) -> None:
        self._call_as_host("responses", id=request_id, result=result)

    def _call_as_host(self, name: str, **body: Any) -> None:
        url = f"/api/sessions/{self.code}/{name}"
        self.site.http.post(url, json=body, headers=self.session["host"]).raise_for_status()

    def end(self) -> None:
        self.site.http.delete(f"/api/sessions/{self.code}", headers=self.session["host"]).raise_for_status()
