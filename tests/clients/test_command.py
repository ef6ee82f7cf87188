"""public/relay.py as a command: what it prints where, and the status with which it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import RELAY_PY, Served, command, serving
from tests.clients.gate import Gate, problem
from tests.clients.scripted import CODE, Scripted
from tests.soak.clients import Host
from tests.support.deployments import Parley
from tests.support.tools import PROJECT, long, need, wait_until

pytestmark = pytest.mark.usefixtures("usual_signals")


@pytest.fixture(scope="module")
def served(any_site: Parley) -> Iterator[Served]:
    with serving(any_site) as running:
        yield running


def test_host_tells_the_code_and_the_url(served: Served, any_site: Parley) -> None:
    code, url = served.output.read_text("utf-8").splitlines()
    assert re.fullmatch("[0-9A-Z]{4}-[0-9A-Z]{4}", code)
    assert url == f"{any_site.url}/mcp/{served.code}"
    told = served.errors.read_text("utf-8")
    assert told.startswith("loaded\n")
    assert "Offers add, total, move, greet, day, fail, leave, sleep, work, later, picture." in told


def test_tools(served: Served) -> None:
    done = served.run("tools")
    assert (done.returncode, done.stderr) == (0, "")
    tools = json.loads(done.stdout)
    assert [tool["name"] for tool in tools][:2] == ["add", "total"]
    assert tools[0] == {
        "name": "add",
        "description": "Add two numbers.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "a": {"type": "integer", "description": "The first one."},
                "b": {"type": "integer", "description": "The second one.", "default": 10},
            },
            "required": ["a"],
            "additionalProperties": False,
        },
    }


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["add", "a=1"], "11\n"),
        (["add", "a=1", "b=-2"], "-1\n"),
        (["total", "values=[1, 2.5]"], "3.5\n"),
        (
            ["move", 'place={"latitude":1,"longitude":2}', "north=1"],
            '{"latitude":2.0,"longitude":2.0,"name":null}\n',
        ),
        (["greet", "name=5", "loud=true"], "HELLO 5\n"),
        (["greet", "name=a=b ü"], "hello a=b ü\n"),
        (["day"], "2026-11-24\n"),
        (["later", "text=x"], "x\n"),
        (["picture"], '{"content":[{"type":"image","data":"AAAA","mimeType":"image/png"}]}\n'),
    ],
)
def test_call(served: Served, arguments: list[str], output: str) -> None:
    done = served.run("call", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, output, "")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["fail", "why=gone"], "LookupError: gone"),
        (["leave"], "SystemExit: no"),
        (["add", "a=x"], 'The arguments do not fit: a must be of the type integer, not "x".'),
        (["add"], "The arguments do not fit: a is missing."),
        (["add", "a=1", "c=1"], "The arguments do not fit: c is not known, only a, b."),
        (["missing"], '{"code":"unknown_tool","message":"There is no tool missing."}'),
        (["_private"], '{"code":"unknown_tool","message":"There is no tool _private."}'),
    ],
)
def test_call_that_fails(served: Served, arguments: list[str], told: str) -> None:
    done = served.run("call", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{told}\n")


@pytest.mark.parametrize(
    ("schema", "passed"),
    [
        ({"properties": {"a": {"type": "string"}}}, "1"),
        ({"properties": {"a": {"type": "integer"}}}, 1),
        ({"properties": {"a": {"type": ["string", "null"]}}}, 1),
        ({"properties": {"a": True}}, 1),
        ({"properties": {"a": False}}, 1),
        ({"properties": {"a": None, "b": {"type": "string"}}}, 1),
        ({"properties": {"b": True}}, 1),
        ({"properties": True}, 1),
        ({"properties": ["a"]}, 1),
        (True, 1),
        (None, 1),
    ],
)
def test_call_of_a_tool_with_any_schema(schema: Any, passed: Any) -> None:
    """A schema that is not an object says nothing about the type."""
    with Scripted() as scripted:
        others = [{}, {"name": "other", "inputSchema": {"properties": {"a": {"type": "string"}}}}]
        scripted.tools = json.dumps({"tools": [*others, {"name": "some", "inputSchema": schema}]})
        scripted.response = '{"id":"q1","status":"answered","result":"fine"}'
        done = run(None, "call", CODE, "some", "a=1", "--relay", scripted.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")
    assert [request["payload"]["params"]["arguments"] for request in scripted.requests] == [{"a": passed}]


def test_what_functions_print_is_no_output(served: Served) -> None:
    before = served.output.read_text("utf-8")
    assert served.run("call", "add", "a=7").returncode == 0
    wait_until(lambda: "adding 7 10\n" in served.errors.read_text("utf-8"))
    assert served.output.read_text("utf-8") == before


@pytest.mark.parametrize(
    ("arguments", "begins", "ends"), [(["work"], "working", "stopped"), (["later", "text=x"], "waiting", "cancelled")]
)
def test_no_answer(served: Served, arguments: list[str], begins: str, ends: str) -> None:
    """The guest gives up, and the function learns of it if it has begun: on a slow machine it takes some seconds."""

    def count(what: str) -> int:
        return served.errors.read_text("utf-8").count(f"{what}\n")

    begun, ended = count(begins), count(ends)
    for seconds in ("0.5", "4", "30"):
        done = served.run("call", *arguments, "seconds=60", "--timeout", seconds)
        assert (done.returncode, done.stdout, done.stderr) == (3, "", "The host did not answer in time.\n")
        if count(begins) > begun:
            break
    wait_until(lambda: count(ends) > ended)


def test_ctrl_c_withdraws(served: Served, any_site: Parley) -> None:
    def count(what: str) -> int:
        return served.errors.read_text("utf-8").count(f"{what}\n")

    stopped, begun = count("stopped"), count("working")
    asking = subprocess.Popen(command("call", served.code, "work", "seconds=60", "--relay", any_site.url))
    wait_until(lambda: count("working") > begun)
    asking.send_signal(signal.SIGINT)
    assert asking.wait(10) == 3
    wait_until(lambda: count("stopped") == stopped + 1)


@pytest.mark.parametrize(("payload", "echoed"), [('{"a": [1]}', {"a": [1]}), ("a text", "a text"), ("NaN", "NaN")])
def test_ask(site: Parley, payload: str, echoed: Any) -> None:
    session = site.create()
    host = Host(site.url, session)
    done = run(site, "ask", session["code"], payload)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"echo": echoed}
    site.http.delete(f"/api/sessions/{session['code']}", headers=session["host"])
    host.join()


def run(site: Parley | None, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables} | ({"PARLEY_URL": site.url} if site else {})
    return subprocess.run(command(*arguments), env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_ask_a_host_of_tools(served: Served) -> None:
    done = served.run("ask", '"anything"')
    assert done.returncode == 1
    assert json.loads(done.stderr)["code"] == "no_handler"


@pytest.mark.parametrize("arguments", [["ask", "ABC1-2345", "1"], ["tools", "ABC1-2345"], ["call", "ABC1-2345", "x"]])
def test_refused(site: Parley, arguments: list[str]) -> None:
    done = run(site, *arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "Check the code, or ask the host for a new one: the session may have expired.\n"


def test_relay_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("def f(): pass")
    done = run(None, "host", f"{tmp_path}/f.py", PARLEY_URL="http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (3, "")
    assert "The relay cannot be reached: ConnectionRefusedError" in done.stderr
    assert "(http://127.0.0.1:9)" in done.stderr


def test_proxy_that_is_not_there() -> None:
    """It is named, without its login."""
    variables = {"https_proxy": "http://user:secret@127.0.0.1:9", "no_proxy": ""}
    done = run(None, "tools", CODE, "--relay", "https://relay.example", **variables)
    assert done.returncode == 3
    assert "(https://relay.example, through the proxy 127.0.0.1:9)" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "required: COMMAND"),
        (["ask", "ABC12345"], "required: PAYLOAD"),
        (["nothing"], "invalid choice"),
        (["call", "ABC12345", "add", "a"], "a is not ARG=VALUE"),
        (["tools", "ABC12345", "--relay", "nowhere"], "has to be a URL"),
        (["host", "missing.py"], "missing.py: FileNotFoundError: there is no such file"),
        (["host", "."], ".: ImportError: this is no Python file"),
        (["host", "broken.py"], "broken.py, line 2): def f(:"),
        (["host", "imports.py"], "broken.py, line 2): def f(:"),
        (["host", "raises.py"], "raises.py: ZeroDivisionError: division by zero (line 3): 1 / 0"),
        (["host", "empty.py"], "needs tools, which are public functions: there is none in this file"),
        (["host", "odd.py"], "odd.py: TypeError: f cannot be a tool"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str], told: str) -> None:
    files = {
        "broken": "\ndef f(:",
        "imports": "import broken",
        "raises": "\n\n1 / 0",
        "empty": "from json import loads\ndef _f(): pass",
        "odd": "def f(a: complex): pass",
    }
    for name, content in files.items():
        (tmp_path / f"{name}.py").write_text(content)
    done = subprocess.run(
        command(*arguments),
        cwd=tmp_path,
        env={**os.environ, "PARLEY_URL": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_no_relay() -> None:
    done = run(None, "tools", CODE, PARLEY_URL="")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the relay's URL is missing: say --relay https://" in done.stderr


def test_help() -> None:
    done = run(None, "--help")
    assert done.returncode == 0
    for word in ("host", "ask", "tools", "call", "--relay", "PARLEY_URL", "--verbose"):
        assert word in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, long(signal.SIGTERM)])
@pytest.mark.parametrize("busy", [False, True])
def test_signal_ends_the_session(site: Parley, number: signal.Signals, busy: bool) -> None:
    """Also while a function runs that does not care."""
    with serving(site) as served:
        calling = served.begin("call", "sleep", "seconds=60") if busy else None
        if calling:
            wait_until(lambda: site.store.names(f"req:{served.code}") != [])
            time.sleep(0.5)
        begun = time.monotonic()
        served.process.send_signal(number)
        assert served.process.wait(10) == 0
        assert time.monotonic() - begun < 6
        assert site.http.get(f"/api/sessions/{served.code}").json()["active"] is False
        if calling:
            _, told = calling.communicate(timeout=10)
            assert (calling.returncode, told) == (3, "The host ended this session. Ask for the code of a new one.\n")
        assert "Traceback" not in served.errors.read_text("utf-8")


def test_session_that_another_host_takes(gate: Gate) -> None:
    with serving(gate) as served:
        wait_until(lambda: any(call.kind == "stream" for call in gate.calls))
        gate.rule = lambda call: problem(409, "replaced") if call.kind == "stream" else ""
        gate.cut()
        assert served.process.wait(10) == 3
        assert served.errors.read_text("utf-8").endswith("The session has ended: replaced.\n")


def test_verbose(site: Parley) -> None:
    """What comes and goes is told, a line each, and where an error comes from."""
    with serving(site, "--verbose") as served:
        assert served.run("call", "add", "a=1").returncode == 0
        assert served.run("call", "fail", "why=so").returncode == 1
        told = served.errors.read_text("utf-8")
        assert re.search(r"^\d\d:\d\d:\d\d request \w+: .*\"add\"", told, re.MULTILINE)
        assert re.search(r"^\d\d:\d\d:\d\d answer \w+: .*11", told, re.MULTILINE)
        assert "raise LookupError(why)\nLookupError: so\n" in told
        done = served.run("--verbose", "call", "add", "a=1")
        assert done.stdout == "11\n"
        assert re.search(r"^\d\d:\d\d:\d\d POST /api/sessions/\w+/requests\?wait=25: 200$", done.stderr, re.MULTILINE)


def test_all_names_what_is_offered(site: Parley, tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text("__all__ = ['loads', 'f']\nfrom json import loads\ndef f(): pass\ndef g(): pass\n")
    with serving(site, file=file) as served:
        assert [tool["name"] for tool in json.loads(served.run("tools").stdout)] == ["loads", "f"]


def test_uv_runs_it() -> None:
    uv = str(Path(sys.executable).parent / "uv")
    need(uv, "pip install uv")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [uv, "run", "--offline", "--python", sys.executable, RELAY_PY, "--help"],
        cwd=PROJECT.parent,
        env=kept,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: relay.py")


CLIENT = {"name": "Some Agent", "version": "1.2"}


@pytest.mark.parametrize(
    ("client", "tool", "line"),
    [
        (CLIENT, "add", "Some Agent 1.2 called add: done after "),
        ({"name": "Some Agent"}, "add", "Some Agent called add: done after "),
        ({"name": 5, "version": ["1"]}, "add", "A guest called add: done after "),
        ({}, "fail", "A guest called fail: failed after "),
        (None, "fail", "A guest called fail: failed after "),
        ("Some Agent", "missing", "A guest called missing: failed after "),
        (
            {"name": "\x1b[31m\nA guest called add: done"},
            "add",
            "\\x1b[31m\\nA guest called add: done called add: done",
        ),
        (CLIENT, "a\r\n\u2028b", "Some Agent 1.2 called a\\x0d\\n\\u2028b: failed after "),
    ],
)
def test_line_for_each_call(tmp_path: Path, client: Any, tool: str, line: str) -> None:
    """Who, which tool, how it ended, how long it took: nothing of it can look like another line."""
    (tmp_path / "some.py").write_text("def add(): return 1\ndef fail(): raise ValueError\n")
    with Scripted() as scripted, serving(scripted, file=tmp_path / "some.py") as served:
        scripted.call("q1", tool, client=client)
        scripted.answer("q1")
        wait_until(lambda: "called" in served.errors.read_text("utf-8"))
        told = served.errors.read_text("utf-8")
    assert re.search(rf"^\d\d:\d\d:\d\d {re.escape(line)}", told, re.MULTILINE), told
    assert len(told.splitlines()) == 2


def test_line_for_a_guest_that_lists_the_tools(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text("def add(): return 1\n")
    with Scripted() as scripted, serving(scripted, file=tmp_path / "some.py") as served:
        scripted.tell("guest", client=CLIENT)
        wait_until(lambda: "Some Agent 1.2 has listed the tools\n" in served.errors.read_text("utf-8"))
        scripted.tell("guest")
        wait_until(lambda: "A guest has listed the tools\n" in served.errors.read_text("utf-8"))


def test_quiet(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text("def add(): return 1\n")
    with Scripted() as scripted, serving(scripted, "--quiet", file=tmp_path / "some.py") as served:
        scripted.tell("guest", client=CLIENT)
        scripted.call("q1", "add", client=CLIENT)
        scripted.answer("q1")
        assert served.errors.read_text("utf-8") == "Offers add. Ctrl+C ends the session.\n"
