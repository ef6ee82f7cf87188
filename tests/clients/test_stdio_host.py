"""`python relay.py host --mcp COMMAND`: the tools of another program, which is an MCP server."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Served, command
from tests.clients.piped import Piped, text_of
from tests.clients.test_terminal import terminal
from tests.clients.test_versions import PYTHONS
from tests.support.agents import Agent
from tests.support.deployments import Parley
from tests.support.documents import blocks
from tests.support.tools import PROJECT, long, need, wait_until

pytestmark = pytest.mark.usefixtures("usual_signals")

PROGRAM = [sys.executable, str(PROJECT / "tests" / "clients" / "program.py")]
NAMES = ["echo", "image", "fail", "odd", "steps", "wait", "die", "change", "ask", "stray", "long", "where", "want"]
ERAS = ("modern", "legacy", "both", "strict")


class Lent(Served):
    """A program that is lent by a command, and an agent that uses it."""

    @property
    def agent(self) -> Agent:
        return Agent(f"{self._url}/mcp/{self.code}")

    @property
    def told(self) -> str:
        return self.errors.read_text("utf-8")

    def names(self) -> list[str]:
        return [tool["name"] for tool in self.agent.ask("tools/list")["tools"]]

    def call(self, name: str, /, **arguments: Any) -> tuple[str, bool]:
        """Call a tool, and return its text, and whether it is an error."""
        return text_of(self.agent.call(name, arguments))

    def call_beside(self, name: str) -> tuple[threading.Thread, list[tuple[str, bool]]]:
        """Call a tool in a thread, which puts its text into a list."""
        found: list[tuple[str, bool]] = []
        thread = threading.Thread(target=lambda: found.append(self.call(name)))
        thread.start()
        return thread, found

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the command, and return its status."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def lending(
    site: Parley,
    *wishes: str,
    options: tuple[str, ...] = (),
    line: list[str] | None = None,
    python: str = sys.executable,
) -> Iterator[Lent]:
    """Lend a program while the `with` block runs."""
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder) / "output", Path(folder) / "errors"
        with output.open("wb") as first, errors.open("wb") as second:
            process = subprocess.Popen(
                command("host", "--verbose", *options, "--mcp", *(line or [*PROGRAM, *wishes]), python=python),
                stdout=first,
                stderr=second,
                env={**os.environ, "PARLEY_URL": site.url},
            )
        try:
            yield Lent(process, site.url, output, errors)
        finally:
            with suppress(OSError):
                process.terminate()
            try:
                process.wait(60)
            finally:
                process.kill()


@pytest.fixture(scope="module", params=ERAS)
def lent(request: pytest.FixtureRequest, any_site: Parley) -> Iterator[Lent]:
    with lending(any_site, request.param) as running:
        yield running


# What passes


def test_tools_are_as_they_are(lent: Lent) -> None:
    """But for a name that no relay takes, and a tool that cannot be called."""
    (echo, *others) = lent.agent.ask("tools/list")["tools"]
    assert [echo["name"], *(tool["name"] for tool in others)] == NAMES
    assert echo == {
        "name": "echo",
        "title": "Echo",
        "description": "Say the same.",
        "inputSchema": {"type": "object", "properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}},
        "outputSchema": {"type": "object", "properties": {"a": {}}},
        "annotations": {"readOnlyHint": True, "title": "Echo", "someHint": 1},
        "_meta": {"test/key": ["any"]},
    }
    assert lent.told.count('the tool "no/name" is not offered: a name may have 1 to 128 letters') == 1
    assert lent.told.count('the tool "needs-tasks" is not offered: it can only be called as a task') == 1
    assert lent.told.count('the tool "echo" is not offered: another one has its name') == 1


def test_results_are_as_they_are(lent: Lent) -> None:
    result = lent.agent.call("echo", {"a": [1, "ü"]})
    assert (result["structuredContent"], result["isError"]) == ({"a": [1, "ü"]}, False)
    result = lent.agent.call("image")
    (block,) = result["content"]
    assert block == {"type": "image", "data": "AAAA", "mimeType": "image/png", "annotations": {"audience": ["user"]}}
    assert result["_meta"]["test/key"] == [1]
    assert lent.call("fail") == ("it failed", True)


def test_errors(lent: Lent) -> None:
    assert lent.call("odd") == ("very odd", True)
    assert lent.agent.send("tools/call", {"name": "none"}).json()["error"]["code"] == -32602
    assert lent.call("want") == ("The tool asks for more than its arguments, which is not possible here.", True)
    asked = lent.run("ask", '"hello"')
    assert (asked.returncode, asked.stdout) == (1, "")
    assert "takes no other requests" in asked.stderr


def test_what_the_program_asks_of_its_client(lent: Lent) -> None:
    assert json.loads(lent.call("ask")[0]) == [{}, -32601, -32601, -32601]


def test_stray_lines(lent: Lent) -> None:
    assert lent.call("stray") == ("fine", False)
    assert lent.call("echo", a=1) == ('{"a": 1}', False)


def test_cancelling(lent: Lent) -> None:
    """A guest that gives up is told to the program."""
    before = lent.told.count("was cancelled")
    guest = lent.begin("--timeout=2", "call", "wait")
    assert guest.wait(60) == 3
    guest.communicate()
    wait_until(lambda: lent.told.count("was cancelled") == before + 1)


@pytest.mark.parametrize("era", ["modern", long("legacy")])
def test_progress(site: Parley, era: str) -> None:
    """What a program reports reaches the client that asks for it, with the client's own token."""
    with lending(site, era) as lent, Piped(lent.code, relay=site.url) as server:
        params = {"name": "steps", "arguments": {}, "_meta": {"progressToken": "mine"}}
        request = server.begin("tools/call", params, modern=era == "modern")
        told = []
        while (message := server.next()).get("id") != request:
            told.append(message["params"])
        assert {report["progressToken"] for report in told} == {"mine"}
        found = [(report["progress"], report["total"], report["message"]) for report in told if "total" in report]
        assert found == [(step, 3, f"step {step}") for step in (1, 2, 3)]
        assert text_of(message["result"]) == ("done", False)


def test_line_that_is_too_long(lent: Lent) -> None:
    """It may be an answer: so the calls under way fail, and the next ones do not."""
    text, failed = lent.call("long")
    assert (text.startswith("The program has written a line of more than"), failed) == (True, True)
    assert lent.call("echo", a=1) == ('{"a": 1}', False)


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_list_that_changes(site: Parley, era: str) -> None:
    with lending(site, era) as lent:
        assert lent.names() == NAMES
        lent.call("change")
        wait_until(lambda: lent.names() == [*NAMES, "new"])


def test_pages(site: Parley) -> None:
    with lending(site, "pages") as lent:
        assert lent.names() == NAMES


def test_options(site: Parley, tmp_path: Path) -> None:
    with lending(site, options=("--env", "WISH=a=b", "--cwd", str(tmp_path))) as lent:
        assert lent.call("where") == (f"{tmp_path} a=b", False)


@pytest.mark.parametrize("version", sorted(PYTHONS))
def test_every_python(site: Parley, version: str) -> None:
    """On both sides of a session: a program that is lent, and an agent that starts a command."""
    with lending(site, python=PYTHONS[version]) as lent:
        with Piped(lent.code, relay=site.url, line=command("mcp", python=PYTHONS[version])) as server:
            server.initialize()
            assert server.names() == NAMES
            assert server.call("echo", a=1)["structuredContent"] == {"a": 1}
            assert server.close() == 0
            assert server.errors == ""
        assert lent.end() == 0
        assert "Warning" not in lent.told


# A program that dies


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_program_that_dies_under_calls(site: Parley, era: str) -> None:
    """They fail at once, with its last words, and it is started again."""
    with lending(site, era) as lent:
        thread, found = lent.call_beside("wait")
        wait_until(lambda: "waiting" in lent.told)
        text, failed = lent.call("die")
        thread.join()
        assert failed
        assert text.startswith("The program has ended. It said last:\n")
        assert text.endswith("waiting\nmy last words")
        assert found == [(text, True)]
        wait_until(lambda: lent.call("echo", a=1) == ('{"a": 1}', False))


def test_program_that_is_killed(site: Parley, tmp_path: Path) -> None:
    """Also what it has started ends, and the calls do not wait for that."""
    pids = tmp_path / "pids"
    with lending(site, "child", options=("--env", f"PIDS={pids}")) as lent:
        first, second = map(int, pids.read_text().split())
        thread, found = lent.call_beside("wait")
        wait_until(lambda: "waiting" in lent.told)
        os.kill(first, signal.SIGKILL)
        thread.join()
        assert found[0][0].startswith("The program has ended.")
        wait_until(lambda: not lives(second))
        wait_until(lambda: lent.call("echo", a=1) == ('{"a": 1}', False))


@pytest.mark.long
def test_program_that_keeps_dying(site: Parley) -> None:
    with lending(site, "brief") as lent:
        assert lent.process.wait(60) == 3
        assert "It is given up after 5 quick ends." in lent.told
        # Other threads may write to the log at the same time.
        assert "It said last:\nbegins\ntoo brief a life" in lent.told
        assert site.http.get(f"/api/sessions/{lent.code}").json()["active"] is False


@pytest.mark.parametrize(
    ("line", "options", "status", "told"),
    [
        (["no-such-command-here"], (), 3, "no-such-command-here cannot be started: "),
        ([str(PROJECT)], (), 3, "cannot be started: "),
        ([*PROGRAM, "short"], (), 3, "The program has ended. It said last:\nbegins\nI cannot\n"),
        ([*PROGRAM, "silent"], ("--timeout", "2"), 3, "The program does not answer.\n"),
        ([sys.executable, "-c", "print('hello')"], (), 3, "The program has ended.\n"),
        ([], (), 2, "--mcp needs a command"),
        (["python"], ("file.py",), 2, "is given instead of a FILE"),
        (["python"], ("--env", "name"), 2, "name is not ARG=VALUE"),
        (["python"], ("--cwd", "/no/such/folder"), 3, "cannot be started: "),
    ],
)
def test_program_that_does_not_start(
    site: Parley, line: list[str], options: tuple[str, ...], status: int, told: str
) -> None:
    """The command ends, and says why."""
    done = subprocess.run(
        command("host", *options, "--relay", site.url, "--mcp", *line),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (status, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_program_that_does_not_read(site: Parley) -> None:
    """More than a pipe holds: calls that are withdrawn do not hold up others, or the end."""
    with lending(site, "deaf") as lent:
        for _ in range(3):
            guest = lent.begin("--timeout=1", "call", "echo", f"text={'x' * 100_000}")
            assert guest.wait(60) == 3
            guest.communicate()
        assert lent.end() == 0


# The end


def lives(pid: int) -> bool:
    """Tell whether there is such a process, which is not only waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_leaves_no_process(site: Parley, tmp_path: Path, number: signal.Signals) -> None:
    """Also if the program does not heed SIGTERM, nor the end of its input, and has started another such one."""
    pids = tmp_path / "pids"
    with lending(site, "child", options=("--env", f"PIDS={pids}")) as lent:
        left = list(map(int, pids.read_text().split()))
        assert all(map(lives, left))
        thread, _ = lent.call_beside("wait")
        wait_until(lambda: "waiting" in lent.told)
        lent.process.send_signal(number)
        with suppress(OSError):
            lent.process.send_signal(number)  # somebody is impatient
        assert lent.process.wait(60) == 0
        thread.join()
        wait_until(lambda: not any(map(lives, left)))
        assert "Traceback" not in lent.told
        assert site.http.get(f"/api/sessions/{lent.code}").json()["active"] is False


def test_signal_while_the_program_starts(site: Parley, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    line = command("host", "--relay", site.url, "--env", f"PIDS={pids}", "--mcp", *PROGRAM, "silent", "child")
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: pids.exists() and pids.read_text().endswith("\n"))
    process.terminate()
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, b"", b"")
    assert not any(map(lives, map(int, pids.read_text().split())))


def test_closed_terminal_leaves_no_process(site: Parley, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, sys, fcntl, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    line = command("host", "--relay", site.url, "--env", f"PIDS={pids}", "--mcp", *PROGRAM, "child")
    primary, secondary = os.openpty()
    process = subprocess.Popen([sys.executable, "-c", code, *line], stdin=secondary, stdout=secondary, stderr=secondary)
    os.close(secondary)
    told = b""
    while b"Ctrl+C ends the session" not in told:
        told += os.read(primary, 4096)
    os.close(primary)
    process.wait(60)
    wait_until(lambda: not any(map(lives, map(int, pids.read_text().split()))))


# Approval


def test_calls_of_a_lent_program_need_approval(site: Parley, tmp_path: Path) -> None:
    """The person at the terminal decides. What is denied does not reach the program."""
    with terminal() as shown, (tmp_path / "output").open("wb") as output:
        options = ("--approve", "each", "--quiet", "--relay", site.url)
        line = command("host", *options, "--mcp", *PROGRAM, "both")
        process = subprocess.Popen(line, stdin=shown.secondary, stdout=output, stderr=shown.secondary)
        try:
            wait_until(lambda: "Offers echo" in shown.told)
            lent = Lent(process, site.url, tmp_path / "output", tmp_path / "none")
            for number, (typed, is_denied) in enumerate((("n", True), ("y", False), ("t", False)), 1):
                thread, found = lent.call_beside("where")
                wait_until(lambda number=number: shown.told.count("n (no): ") == number)  # type: ignore[misc]
                shown.type(f"{typed}\n")
                thread.join()
                (text, is_error) = found[0]
                assert is_error == is_denied
                assert (text == "The person did not allow this call of where.") == is_denied
            assert not lent.call("where")[1], "it is allowed for the session"
            assert shown.told.count("Allow it?") == 3
        finally:
            process.terminate()
            assert process.wait(60) == 0


# Servers that nobody here wrote


def package(name: str) -> list[str]:
    """Return the command of an MCP server from npm."""
    path = need(name, f"npm install @modelcontextprotocol/{name.removeprefix('mcp-')}")
    return [need("node", "install Node.js"), str(Path(path).resolve())]


def test_server_everything(site: Parley) -> None:
    calls: dict[str, dict[str, Any]] = {
        "echo": {"message": "hi"},
        "get-annotated-message": {"messageType": "error", "includeImage": True},
        "get-resource-links": {"count": 3},
        "get-resource-reference": {"resourceType": "Text", "resourceId": 1},
        "get-structured-content": {"location": "Chicago"},
        "get-sum": {"a": 1, "b": 2},
        "trigger-long-running-operation": {"duration": 2, "steps": 2},
        "gzip-file-as-resource": {"name": "a.gz", "data": "data:text/plain;base64,aGVsbG8="},
    }
    with lending(site, line=package("mcp-server-everything")) as lent:
        results = {name: lent.agent.call(name, calls.get(name)) for name in lent.names()}
        assert results.keys() >= calls.keys()
        assert [name for name, result in results.items() if result["isError"]] == []
        assert "image" in [block["type"] for block in results["get-tiny-image"]["content"]]


def test_server_filesystem(site: Parley, tmp_path: Path) -> None:
    """As the documents have it, but for npx, which would ask the registry."""
    (tmp_path / "a.txt").write_text("hello")
    (text,) = blocks("docs/stdio.md", "An MCP server for somebody else", "sh", site.url)
    words = text.removesuffix(".\n").split()
    assert words[:3] == ["python3", "relay.py", "host"]
    assert words[-3:] == ["npx", "-y", "@modelcontextprotocol/server-filesystem"]
    options = tuple(words[3:-4])
    with lending(site, options=options, line=[*package("mcp-server-filesystem"), str(tmp_path)]) as lent:
        (shown,) = blocks("docs/stdio.md", "An MCP server for somebody else", "text", site.url)
        code = f"{lent.code[:4]}-{lent.code[4:]}"
        printed = lent.output.read_text("utf-8")
        assert printed == shown.replace("ABC1-2345", code).replace("ABC12345", lent.code)
        assert lent.call("read_text_file", path=str(tmp_path / "a.txt")) == ("hello", False)
        assert lent.call("read_text_file", path="/etc/passwd")[1]
        lent.call("write_file", path=str(tmp_path / "b.txt"), content="ü")
        assert (tmp_path / "b.txt").read_text("utf-8") == "ü"
