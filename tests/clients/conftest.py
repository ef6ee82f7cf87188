"""Programs of both clients, and the deployments that they use."""

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.gate import Gate
from tests.clients.scripted import Scripted
from tests.support.deployments import Parley
from tests.support.tools import PROJECT, need, wait_until

CLIENTS = ("relay.js", "relay.py")
RELAY_PY = PROJECT / "public" / "relay.py"
_DRIVERS = PROJECT / "tests" / "clients"


@pytest.fixture
def gate(site: Parley) -> Iterator[Gate]:
    with Gate(site.url) as running:
        yield running


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

    def ran(self) -> list[Any]:
        """Return the payloads of the requests that were begun."""
        with suppress(queue.Empty):
            while True:
                self.told.append(json.loads(self._lines.get_nowait()))
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


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(client: str, tmp_path: Path) -> Iterator[Start]:
    """Give what starts a program of the client that the test is for: a `host` or `guest`, with the URL of its relay."""
    with ExitStack() as running:

        def begin(side: str, relay: str) -> Program:
            if client == "relay.js":
                node = need("node", "install Node.js")
                module = tmp_path / "relay.js"
                shutil.copy(PROJECT / "public" / "relay.js", module)
                shutil.copytree(PROJECT / "public" / "relay", tmp_path / "relay", dirs_exist_ok=True)
                (tmp_path / "package.json").write_text('{"type": "module"}')
                program = Program([node, str(_DRIVERS / "driver.mjs"), module.as_uri(), relay, side])
            else:
                program = Program([sys.executable, str(_DRIVERS / "driver.py"), relay, side])
            running.callback(_stop, program)
            return program

        yield begin


def _stop(program: Program) -> None:
    assert program.stop() == ""


def ask(site: Parley, code: str, payload: Any, request_id: str = "q1", wait: int = 30) -> dict[str, Any]:
    """Ask as a guest, and wait for the response."""
    body = {"id": request_id, "payload": payload}
    with httpx.Client(base_url=site.url, timeout=60) as http:
        answer = http.post(f"/api/sessions/{code}/requests?wait={wait}", json=body)
        assert answer.status_code in (200, 202), answer.text
        found: dict[str, Any] = answer.json()
        return found


def command(*arguments: str, python: str = sys.executable) -> list[str]:
    """Return the command line of public/relay.py, to which warnings are errors."""
    return [python, "-W", "error", str(RELAY_PY), *arguments]


class Served:
    """A host that runs as a command, and guests' commands for its session."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, output: Path, errors: Path) -> None:
        self.process, self.output, self.errors = process, output, errors
        self._url = url
        wait_until(lambda: output.read_text("utf-8").count("\n") == 2 or process.poll() is not None)
        self.code = output.read_text("utf-8").partition("\n")[0].replace("-", "")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a guest's command to its end; it gets the code after its name."""
        running = self.begin(*arguments)
        output, errors = running.communicate(timeout=60)
        return subprocess.CompletedProcess(running.args, running.returncode, output, errors)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a guest's command."""
        place = 1 + next(place for place, word in enumerate(arguments) if not word.startswith("-"))
        line = command(*arguments[:place], self.code, *arguments[place:], "--relay", self._url)
        return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def serving(
    site: Parley | Gate | Scripted, *options: str, file: Path = _DRIVERS / "functions.py", python: str = sys.executable
) -> Iterator[Served]:
    """Run a host as a command, while the `with` block runs."""
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder) / "output", Path(folder) / "errors"
        with output.open("wb") as first, errors.open("wb") as second:
            environment = {**os.environ, "PARLEY_URL": site.url}
            line = command("host", str(file), *options, python=python)
            process = subprocess.Popen(line, stdout=first, stderr=second, env=environment)
        try:
            yield Served(process, site.url, output, errors)
        finally:
            process.kill()
            process.wait()
