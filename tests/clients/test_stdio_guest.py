"""`python relay.py mcp [CODE]`: an MCP server over standard input and output."""

import asyncio
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult

from lib import VERSION
from tests.clients.conftest import RELAY_PY, Served, command, serving
from tests.clients.gate import Answer, Gate
from tests.clients.piped import PYTHON, Piped, text_of
from tests.support.agents import Agent
from tests.support.deployments import Parley
from tests.support.documents import blocks
from tests.support.toolhosts import Held, Tool, ToolHost
from tests.support.tools import PATIENCE_SECONDS, PROJECT, go_without, need, wait_until

NOWHERE = "http://127.0.0.1:9"
FIXED = ["list_tools", "call_tool", "send_request"]
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
MODES = ("auto", "legacy")


@pytest.fixture(scope="module")
def served(any_site: Parley) -> Iterator[Served]:
    with serving(any_site) as running:
        yield running


@pytest.fixture
def held() -> Iterator[Held]:
    waiting = Held()
    yield waiting
    waiting.go.set()


@pytest.fixture
def host(site: Parley, held: Held) -> Iterator[ToolHost]:
    with ToolHost(site.url, {"wait": held.tool, "echo": Tool(lambda arguments: arguments)}) as running:
        yield running


# Without the network


@pytest.mark.parametrize("version", [*LEGACY, "1999-01-01"])
@pytest.mark.parametrize("code", ["", "ABC1-2345"])
def test_initialize(version: str, code: str) -> None:
    with Piped(*filter(None, [code]), relay=NOWHERE) as server:
        result = server.initialize(version)
        assert result["protocolVersion"] == (version if version in LEGACY else LEGACY[0])
        assert result["serverInfo"] == {"name": "parley", "title": "Parley", "version": VERSION}
        assert result["capabilities"] == {"tools": {"listChanged": True} if code else {}}
        assert server.ask("ping") == {}
        assert server.names() == FIXED


def test_discover() -> None:
    with Piped("ABC12345", relay=NOWHERE) as server:
        result = server.ask("server/discover", modern=True)
        assert (result["resultType"], result["supportedVersions"]) == ("complete", ["2026-07-28", *LEGACY])
        assert result["capabilities"] == {"tools": {"listChanged": True}}
        assert server.names(modern=True) == FIXED
        assert text_of(server.call("list_tools", modern=True, code="x"))[1]


@pytest.mark.parametrize("path", ["", "/ABC12345"])
@pytest.mark.parametrize("version", ["2026-07-28", "2025-11-25"])
def test_what_it_says_of_itself_is_what_the_relay_says(site: Parley, path: str, version: str) -> None:
    """What is said without the network is a copy, which must not differ."""
    agent = Agent(f"{site.url}/mcp{path}", version)
    with Piped(*filter(None, [path[1:]]), relay=NOWHERE) as server:
        modern = version == "2026-07-28"
        if modern:
            own, other = server.ask("server/discover", modern=True), agent.ask("server/discover")
        else:
            own, other = server.initialize(version), agent.ask("initialize", {"protocolVersion": version})
        own.pop("capabilities")
        other.pop("capabilities")
        assert own == other
        if not path:
            assert server.ask("tools/list", modern=modern) == agent.ask("tools/list")


# Lines


BAD_LINES: dict[str, tuple[bytes, int]] = {
    "nothing": (b"nonsense", -32700),
    "half": (b'{"jsonrpc":"2.0"', -32700),
    "bytes": (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', -32700),
    "batch": (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
    "depth": (b"[" * 100, -32600),
    "great depth": (b'{"a":' * 100_000, -32700),
    "text": (b'"ping"', -32600),
    "version": (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
    "no method": (b'{"jsonrpc":"2.0","id":1}', -32600),
    "digits": (b'{"jsonrpc":"2.0","id":' + b"1" * 5000 + b',"method":"ping"}', -32600),
    "fraction": (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600),
    "truth": (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600),
    "null": (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
    "too long": (b"x" * 16 * 1024 * 1024 + b"y", -32600),
}
BAD_REQUESTS: dict[str, tuple[str, Any, int]] = {
    "method": ("nothing", {}, -32601),
    "params": ("tools/list", [], -32602),
    "no name": ("tools/call", {}, -32602),
    "name": ("tools/call", {"name": 1}, -32602),
    "long name": ("tools/call", {"name": "x" * 5000}, -32602),
    "cursor": ("tools/list", {"cursor": "next"}, -32602),
    "version": ("ping", {"_meta": {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}}, -32022),
    "capabilities": ("server/discover", {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}, -32602),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_bad_line(name: str) -> None:
    """It gets an error, and the next message its answer."""
    line, code = BAD_LINES[name]
    with Piped(relay=NOWHERE) as server:
        server.write(line + b"\n")
        message = server.next()
        assert message["error"]["code"] == code
        assert ("id" in message) == (name == "no method")
        assert server.ask("ping") == {}
        assert server.close() == 0
        assert (server.rest(), server.errors) == ([], "")


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_bad_request(name: str) -> None:
    method, params, code = BAD_REQUESTS[name]
    with Piped(relay=NOWHERE) as server:
        server.write(json.dumps({"jsonrpc": "2.0", "id": "a", "method": method, "params": params}).encode() + b"\n")
        message = server.next()
        assert (message["id"], message["error"]["code"]) == ("a", code)
        assert server.ask("ping") == {}


def test_lines_that_get_no_answer() -> None:
    with Piped(relay=NOWHERE) as server:
        for line in (
            b"",
            b"  ",
            b'{"jsonrpc":"2.0","id":7,"result":{}}',
            b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":[1]}}',
            b'{"jsonrpc":"2.0","method":"anything"}',
        ):
            server.write(line + b"\n")
        server.write(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\r\n{"jsonrpc":"2.0","id":2,"method":"ping"}')
        assert server.close() == 0
        assert [message["id"] for message in server.rest()] == [1, 2]


def test_nothing_but_messages_on_standard_output(host: ToolHost, site: Parley) -> None:
    """Whatever prints: Python, or a library by the file's number."""
    stray = (
        "import os, runpy, sys, threading; sys.argv = sys.argv[1:];"
        "start = threading.Thread.start;"
        "threading.Thread.start = lambda thread: (print('stray'), os.write(1, b'stray\\n'), start(thread));"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    with Piped(host.code, relay=site.url, line=[PYTHON, "-c", stray, str(RELAY_PY), "mcp"]) as server:
        assert text_of(server.call("echo", a=1)) == ('{"a": 1}', False)
        assert server.close() == 0
        assert server.rest() == []
        assert server.errors.count("stray") >= 2


# A session


@pytest.mark.parametrize("modern", [True, False])
def test_calls_at_once(host: ToolHost, site: Parley, held: Held, modern: bool) -> None:
    """Twenty calls pass one that waits."""
    with Piped(host.code, relay=site.url) as server:
        if not modern:
            server.initialize()
        waiting = server.begin("tools/call", {"name": "wait"}, modern=modern)
        calls = {
            server.begin("tools/call", {"name": "echo", "arguments": {"n": number}}, modern=modern): number
            for number in range(20)
        }
        found = {}
        for _ in calls:
            message = server.next(lambda message: "id" in message)
            found[message["id"]] = message["result"]["structuredContent"]["n"]
        assert found == calls
        held.go.set()
        assert server.answer(waiting)["content"] == [{"type": "text", "text": "1"}]
        assert server.close() == 0
        assert server.errors == ""


def test_what_passes_unchanged(host: ToolHost, site: Parley) -> None:
    """Numbers of any length, halves of surrogate pairs, and what other readers take for the end of a line."""
    with Piped(host.code, relay=site.url) as server:
        text = '{"n":' + "1" * 1000 + ',"f":1.000,"half":"\\ud800","ends":"\u2028\x85"}'
        params = f'{{"name":"echo","arguments":{text}}}'
        server.write(f'{{"jsonrpc":"2.0","id":"ü","method":"tools/call","params":{params}}}\n'.encode())
        assert server.next()["id"] == "ü"
        (payload,) = host.payloads
        assert json.loads(payload)["params"]["arguments"] == json.loads(text)
        assert text.partition(',"half"')[0] in payload


def test_answer_of_several_lines(host: ToolHost, site: Parley) -> None:
    host.tools["lines"] = Tool(lambda _: {"content": [{"type": "text", "text": "a\nb\u2028c"}]}, {"title": "a\u2028b"})
    host.register()
    with Piped(host.code, relay=site.url) as server:
        assert server.ask("tools/list")["tools"][-1]["title"] == "a\u2028b"
        assert text_of(server.call("lines")) == ("a\nb\u2028c", False)


@pytest.mark.parametrize("modern", [True, False])
def test_who_calls(host: ToolHost, site: Parley, modern: bool) -> None:
    """The host learns the client's name, also if it was only in a handshake that was answered without the network."""
    with Piped(host.code, relay=site.url) as server:
        if not modern:
            server.initialize()
        server.call("echo", modern=modern)
        assert [request["payload"]["client"] for request in host.asked] == [{"name": "piped", "version": "1"}]


def test_unknown_tool(host: ToolHost, site: Parley) -> None:
    with Piped(host.code, relay=site.url) as server:
        for modern in (True, False):
            request = server.begin("tools/call", {"name": "none"}, modern=modern)
            message = server.next()
            assert (message["id"], message["error"]["code"]) == (request, -32602)


def test_arguments_that_are_too_large(host: ToolHost, site: Parley) -> None:
    """The client gets a result that says so, and goes on."""
    with Piped(host.code, relay=site.url) as server:
        text, failed = text_of(server.call("echo", text="x" * 4_500_000))
        assert failed
        assert "no relay takes more than" in text
        assert server.names() == ["wait", "echo"]


@pytest.mark.long
def test_progress(served: Served, site: Parley) -> None:
    """It comes with the client's own tokens, while the calls wait."""
    with Piped(served.code, relay=site.url) as server:
        params: dict[str, Any] = {"name": "sleep", "arguments": {"seconds": 20}}
        for token in ("mine", 7):
            server.begin("tools/call", {**params, "_meta": {"progressToken": token}})
        told = [server.next(), server.next()]
        assert {message["method"] for message in told} == {"notifications/progress"}
        assert {message["params"]["progressToken"] for message in told} == {"mine", 7}
        results = [server.next(lambda message: "id" in message)["result"] for _ in range(2)]
        assert [text_of(result) for result in results] == [("slept 20 s", False)] * 2


def test_cancel(host: ToolHost, site: Parley) -> None:
    """The request is withdrawn, and there is no answer. The client may use the id again."""
    with Piped(host.code, relay=site.url) as server:
        request = server.begin("tools/call", {"name": "wait"})
        wait_until(lambda: len(host.asked) == 1)
        server.notify("notifications/cancelled", {"requestId": request, "reason": "enough"})
        wait_until(lambda: host.withdrawn == [host.asked[0]["id"]])
        server.write(f'{{"jsonrpc":"2.0","id":{request},"method":"ping"}}\n'.encode())
        assert server.next() == {"jsonrpc": "2.0", "id": request, "result": {}}


def test_id_that_is_in_use(host: ToolHost, site: Parley, held: Held) -> None:
    with Piped(host.code, relay=site.url) as server:
        request = server.begin("tools/call", {"name": "wait"})
        wait_until(lambda: len(host.asked) == 1)
        server.write(f'{{"jsonrpc":"2.0","id":{request},"method":"tools/list"}}\n'.encode())
        assert server.next()["error"]["code"] == -32600
        held.go.set()
        assert server.answer(request)["content"] == [{"type": "text", "text": "1"}]


def test_end_of_standard_input(host: ToolHost, site: Parley) -> None:
    """What is under way is withdrawn."""
    with Piped(host.code, relay=site.url) as server:
        for _ in range(3):
            server.begin("tools/call", {"name": "wait"})
        wait_until(lambda: len(host.asked) == 3)
        assert server.close() == 0
        assert (server.rest(), server.errors) == ([], "")
        wait_until(lambda: sorted(host.withdrawn) == sorted(request["id"] for request in host.asked))


def test_end_of_standard_input_right_after_a_request(host: ToolHost, site: Parley) -> None:
    """As a shell script has it, which writes requests and reads what comes."""
    with Piped(host.code, relay=site.url) as server:
        request = server.begin("tools/list")
        assert server.close() == 0
        assert [message["id"] for message in server.rest()] == [request]


# What comes and goes


def test_session_without_tools(site: Parley) -> None:
    with (
        ToolHost(site.url, on_request=lambda payload: {"echo": payload}) as host,
        Piped(host.code, relay=site.url) as server,
    ):
        server.initialize()
        assert server.names() == ["send_request"]
        assert server.call("send_request", payload=[1])["structuredContent"] == {"echo": [1]}


def test_without_a_code(host: ToolHost, site: Parley) -> None:
    with Piped(relay=site.url) as server:
        server.initialize()
        assert server.names() == FIXED
        listed = server.call("list_tools", code=host.code)["structuredContent"]["tools"]
        assert [tool["name"] for tool in listed] == ["wait", "echo"]
        assert server.call("call_tool", code=host.code, name="echo", arguments={"a": 1})["structuredContent"] == {
            "a": 1
        }
        text, failed = text_of(server.call("list_tools", code="no"))
        assert (text.startswith("Not a session code"), failed) == (True, True)


@pytest.mark.parametrize("code", ["ABC12345", "nonsense", "../sessions", "ä"])
def test_code_of_no_session(host: ToolHost, site: Parley, code: str) -> None:
    """The server stays up, with the tools that take another code."""
    with Piped(code, relay=site.url) as server:
        server.initialize()
        server.changed()
        assert server.names() == FIXED
        assert server.call("call_tool", code=host.code, name="echo", arguments={})["structuredContent"] == {}


@pytest.mark.parametrize("modern", [True, False])
def test_session_that_ends(host: ToolHost, site: Parley, modern: bool) -> None:
    with Piped(host.code, relay=site.url) as server:
        if not modern:
            server.initialize()
        assert server.names(modern=modern) == ["wait", "echo"]
        host.end()
        for _ in range(2):
            text, failed = text_of(server.call("echo", modern=modern))
            assert (text.startswith("The session has ended"), failed) == (True, True)
        assert server.names(modern=modern) == FIXED
        assert text_of(server.call("echo", modern=modern))[0].startswith("The session has ended")
        with ToolHost(site.url, {"add": Tool(lambda _: 3)}) as other:
            result = server.call("call_tool", modern=modern, code=other.code, name="add")
            assert text_of(result) == ("3", False)


def test_relay_that_is_out_of_reach(host: ToolHost, site: Parley) -> None:
    """A call fails with a result that says so, and the next one finds the relay again."""
    with Gate(site.url) as gate, Piped(host.code, relay=gate.url) as server:
        server.initialize()
        assert server.names() == ["wait", "echo"]
        gate.rule = lambda _: "cut"
        text, failed = text_of(server.call("echo"))
        assert (text.startswith("The relay cannot be reached"), failed) == (True, True)
        gate.rule = lambda _: ""
        assert server.call("echo", a=1)["structuredContent"] == {"a": 1}


def test_relay_that_is_out_of_reach_at_first(host: ToolHost, site: Parley) -> None:
    """The client is shown the tools that take a code, and told when it can have those of the session."""
    with Gate(site.url) as gate, Piped(host.code, relay=gate.url) as server:
        gate.rule = lambda _: "cut"
        server.initialize()
        assert server.names() == FIXED
        gate.rule = lambda _: ""
        server.changed()
        assert server.names() == ["wait", "echo"]


def test_connection_that_breaks_under_a_call(host: ToolHost, site: Parley) -> None:
    with Gate(site.url) as gate, Piped(host.code, relay=gate.url) as server:
        server.initialize()
        request = server.begin("tools/call", {"name": "wait"})
        wait_until(lambda: len(host.asked) == 1)
        gate.cut()
        text, failed = text_of(server.answer(request))
        assert (text.endswith("Whether the tool has run is not known."), failed) == (True, True)
        assert server.call("echo", a=1)["structuredContent"] == {"a": 1}


@pytest.mark.parametrize("body", ["<html>", '{"jsonrpc":"2.0","id":99,"result":{}}', "[]", '{"jsonrpc":"2.0"}'])
def test_something_else_that_answers(host: ToolHost, site: Parley, body: str) -> None:
    """As the page does on which a network wants a password."""
    with Gate(site.url) as gate, Piped(host.code, relay=gate.url) as server:
        gate.rule = lambda _: Answer(200, body)
        text, failed = text_of(server.call("echo"))
        assert (text.startswith("What answered is not the relay"), failed) == (True, True)


def test_host_that_is_gone_for_a_while(site: Parley) -> None:
    session = site.http.post("/api/sessions").json()
    with Piped(session["code"], relay=site.url) as server:
        tools = {"add": Tool(lambda _: 3)}
        first = ToolHost(site.url, tools, session=session)
        with first:
            assert text_of(server.call("add")) == ("3", False)
            first.close()
            request = server.begin("tools/call", {"name": "add"})
            with ToolHost(site.url, tools, session=session):
                assert text_of(server.answer(request)) == ("3", False)


def test_claude_desktop(host: ToolHost, site: Parley) -> None:
    """The file that is in the documents, as Claude Desktop reads it."""
    (text,) = blocks("docs/stdio.md", "A client that starts commands", "json", site.url)
    server = json.loads(text)["mcpServers"]["parley"]
    assert server["command"] == "python3"
    line = [PYTHON, *(str(RELAY_PY) if word == "/path/to/relay.py" else word for word in server["args"])]
    with Piped(relay="", line=line) as started:
        started.initialize("2025-06-18")
        assert text_of(started.call("call_tool", code=host.code, name="echo")) == ("{}", False)


def test_no_relay() -> None:
    with Piped(relay="") as server:
        assert server.process.wait(60) == 2
        assert server.rest() == []
        assert "say --relay" in server.errors


# With the official client for Python


def with_client[T](site: Parley, code: str, mode: str, work: Callable[[Client], Awaitable[T]]) -> T:
    line = command("mcp", code)
    parameters = StdioServerParameters(command=line[0], args=line[1:], env={"PARLEY_URL": site.url})

    async def run() -> T:
        async with Client(parameters, mode=mode) as client:
            return await work(client)

    return asyncio.run(run())


@pytest.mark.parametrize("mode", MODES)
def test_official_client(served: Served, site: Parley, mode: str) -> None:
    async def work(client: Client) -> list[CallToolResult]:
        assert client.protocol_version == ("2026-07-28" if mode == "auto" else "2025-11-25")
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert (names[0], names[-1]) == ("add", "picture")
        calls = [client.call_tool("add", {"a": number, "b": 1}) for number in range(20)]
        return [
            *await asyncio.gather(*calls),
            await client.call_tool("picture"),
            await client.call_tool("fail", {"why": "so"}),
        ]

    *sums, picture, failure = with_client(site, served.code, mode, work)
    assert [text_of(result.model_dump(by_alias=True))[0] for result in sums] == [str(n + 1) for n in range(20)]
    assert picture.content[0].type == "image"
    assert text_of(failure.model_dump(by_alias=True)) == ("LookupError: so", True)


@pytest.mark.parametrize("mode", MODES)
def test_official_client_that_gives_up(host: ToolHost, site: Parley, mode: str) -> None:
    async def work(client: Client) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.call_tool("wait", {}), 3)
        await asyncio.to_thread(wait_until, lambda: len(host.withdrawn) == 1)

    with_client(site, host.code, mode, work)
    assert [request["id"] for request in host.asked] == host.withdrawn


# With the official client for TypeScript


@pytest.mark.parametrize("mode", MODES)
def test_official_client_for_typescript(host: ToolHost, site: Parley, tmp_path: Path, mode: str) -> None:
    """Twenty calls at once, and one that is given up."""
    server = need("mcp-server-everything", "npm install @modelcontextprotocol/server-everything")
    modules = Path(server).parent.parent
    if not (modules / "@modelcontextprotocol" / "client").exists():
        go_without("the client is not installed: npm install @modelcontextprotocol/client")
    (tmp_path / "node_modules").symlink_to(modules)
    shutil.copy(PROJECT / "tests" / "clients" / "stdio_client.mjs", tmp_path)
    done = subprocess.run(
        [need("node", "install Node.js"), tmp_path / "stdio_client.mjs", mode, *command("mcp", host.code)],
        env={**os.environ, "PARLEY_URL": site.url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "version": "2026-07-28" if mode == "auto" else "2025-11-25",
        "server": "parley",
        "names": ["wait", "echo"],
        "echoes": list(range(21)),
        "given": "given up",
    }
    wait_until(lambda: len(host.withdrawn) == 1)


# A list that changes


def test_list_that_changes(host: ToolHost, site: Parley) -> None:
    """A client of before 2026-07-28 is told without having asked."""
    with Piped(host.code, relay=site.url) as server:
        server.initialize()
        assert server.names() == ["wait", "echo"]
        for name in ("one", "two"):
            host.tools[name] = Tool(lambda _: 1)
            host.register()
            assert server.changed().keys() == {"jsonrpc", "method"}
            assert server.names()[-1] == name


def test_subscription(host: ToolHost, site: Parley) -> None:
    """A client of 2026-07-28 is told if it asks, until it asks no more, or the session is over."""
    wish = {"notifications": {"toolsListChanged": True, "promptsListChanged": True}}
    with Piped(host.code, relay=site.url) as server:
        assert server.names(modern=True) == ["wait", "echo"]
        first, second = (server.begin("subscriptions/listen", wish, modern=True) for _ in range(2))
        for subscription in (first, second):
            acknowledged = server.next()
            assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
            assert acknowledged["params"] == {
                "_meta": {"io.modelcontextprotocol/subscriptionId": subscription},
                "notifications": {"toolsListChanged": True},
            }
        host.tools["one"] = Tool(lambda _: 1)
        host.register()
        told = [server.changed()["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] for _ in range(2)]
        assert told == [first, second]
        server.notify("notifications/cancelled", {"requestId": first})
        host.end()
        assert server.changed()["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == second
        assert server.answer(second)["resultType"] == "complete"
        assert server.names(modern=True) == FIXED


def test_tools_that_change_before_the_first_look(host: ToolHost, site: Parley) -> None:
    """The client has listed the tools and subscribed. They change before the server has asked for them again."""
    released = threading.Event()
    with Gate(site.url) as gate, Piped(host.code, relay=gate.url) as server:
        assert server.names(modern=True) == ["wait", "echo"]
        gate.rule = lambda _: "" if released.wait(PATIENCE_SECONDS) else "cut"
        server.begin("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, modern=True)
        assert server.next()["method"] == "notifications/subscriptions/acknowledged"
        host.tools["one"] = Tool(lambda _: 1)
        host.register()
        released.set()
        server.changed()
        assert server.names(modern=True) == ["wait", "echo", "one"]


def test_subscription_to_what_does_not_change(site: Parley) -> None:
    with Piped(relay=site.url) as server:
        wish = {"notifications": {"toolsListChanged": True}}
        subscription = server.begin("subscriptions/listen", wish, modern=True)
        assert server.next()["params"]["notifications"] == {}
        assert server.answer(subscription)["resultType"] == "complete"


def test_list_that_changes_while_the_relay_is_out_of_reach(host: ToolHost, site: Parley) -> None:
    with Gate(site.url) as gate, Piped(host.code, relay=gate.url) as server:
        server.initialize()
        assert server.names() == ["wait", "echo"]
        gate.rule = lambda _: "cut"
        gate.cut()
        host.tools["one"] = Tool(lambda _: 1)
        host.register()
        gate.rule = lambda _: ""
        server.changed()
        assert server.names() == ["wait", "echo", "one"]


def test_session_that_ends_while_nobody_calls(host: ToolHost, site: Parley) -> None:
    with Piped(host.code, relay=site.url) as server:
        server.initialize()
        assert server.names() == ["wait", "echo"]
        host.end()
        server.changed()
        assert server.names() == FIXED
