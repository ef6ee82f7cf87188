"""Programs of both clients, and the deployments that they use."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.clients.gate import Gate
from tests.clients.scripted import Scripted
from tests.clients.sides import Guested, Hosted, Program, Start
from tests.soak.clients import Host
from tests.support.deployments import Parley
from tests.support.tools import PROJECT, need, wait_until

CLIENTS = ("relay.js", "relay.py")
RELAY_PY = PROJECT / "public" / "relay.py"
_DRIVERS = PROJECT / "tests" / "clients"


@pytest.fixture
def gate(site: Parley) -> Iterator[Gate]:
    with Gate(site.url) as running:
        yield running


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(client: str, tmp_path: Path) -> Iterator[Start]:
    """Give what starts a program of the client that the test is for: a side of a driver, with the URL of its relay."""
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


@pytest.fixture
def hosted(site: Parley, gate: Gate, start: Start) -> Hosted:
    """Give a host that is connected."""
    made = Hosted(site, gate, start)
    made.program.state("connected")
    return made


@pytest.fixture
def alone(site: Parley, gate: Gate, start: Start) -> Guested:
    """Give a guest whose host does not answer."""
    return Guested(site, gate, start)


@pytest.fixture
def guested(alone: Guested) -> Iterator[Guested]:
    """Give a guest whose host answers."""
    echoing = Host(alone.site.url, alone.session)
    yield alone
    alone.end()
    echoing.join()
    assert set(echoing.seen.values()) <= {1}


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
