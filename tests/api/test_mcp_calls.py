"""api/mcp: a tool call, and what a model is told if there is no result."""

import json
import re
import threading
import time
from typing import Any

import httpx
import pytest

from tests.support.agents import VERSIONS, Agent, error, result_of, text_of
from tests.support.deployments import Pair, Parley, running_parley
from tests.support.stores import running_store
from tests.support.toolhosts import Raw, Refused, Tool, ToolHost
from tests.support.tools import wait_until

NO_SESSION = "0000000Z"
TEXT = {"type": "text", "text": "x"}
BLOCKS: list[dict[str, Any]] = [
    TEXT,
    {"type": "image", "data": "eA==", "mimeType": "image/png", "annotations": {"priority": 1}},
    {"type": "audio", "data": "eA==", "mimeType": "audio/wav"},
    {"type": "resource_link", "uri": "file:///x", "name": "x"},
    {"type": "resource", "resource": {"uri": "file:///x", "text": "x"}},
    {"type": "resource", "resource": {"uri": "file:///x", "blob": "eA=="}},
]
BIG = "9" * 5000


def plain(answer: str) -> tuple[str, str, str]:
    """Return a host's answer that is passed on as JSON: what it is, and its content and structured content."""
    return answer, text_of(answer), answer


@pytest.fixture
def pair(parley: Parley) -> Pair:
    return Pair(parley)


@pytest.mark.parametrize("version", VERSIONS)
def test_results(parley: Parley, version: str) -> None:
    """A CallToolResult is passed on as it is, text as text, anything else as JSON, to the digit."""
    answers = [
        ('"a \\u00e9 \\ud83d\\ude00 \\ud800\\n"', '[{"type":"text","text":"a \\u00e9 \\ud83d\\ude00 \\ufffd\\n"}]', ""),
        *map(plain, ("{}", '{"b":1.10,"a":-0.0}', "[1, 2 ]", "null", "true", "1e400", BIG, f'{{"n":{BIG}}}')),
        (f'{{"content":{json.dumps(BLOCKS)}}}', json.dumps(BLOCKS), ""),
        ('{"structuredContent":{"n":1.10},"content":[]}', "[]", '{"n":1.10}'),
        ('{"content":[],"structuredContent":[1.0]}', "[]", "[1.0]"),
        ('{"content":[],"structuredContent":null}', "[]", "null"),
        ('{"content":[],"isError":"true","resultType":"other"}', "[]", ""),
        (f'{{"content":{json.dumps(BLOCKS)},"cost":1}}', json.dumps(BLOCKS), ""),
        *((f'{{"content":[],"_meta":{meta}}}', "[]", "") for meta in ("null", "[1]", '"x"', '{"a":1,"a":2}')),
        # What looks like a CallToolResult, but is none that a client could read.
        *map(
            plain,
            (
                '{"content":"x"}',
                '{"content":{"type":"text"}}',
                '{"content":["x"]}',
                '{"content":[{"type":"text"}]}',
                '{"content":[{"type":"text","text":1}]}',
                '{"content":[{"type":"note","text":"x"}]}',
                '{"content":[{"type":"image","data":"x"}]}',
                '{"content":[{"type":"resource","resource":{"uri":"x"}}]}',
                '{"content":[{"type":"resource_link","uri":"x"}]}',
                '{"content":[],"content":[]}',
                '{"structuredContent":{}}',
                '{"title":"x","content":[ ]}',
                '{"content":[],"isError":"true","other":1}',
            ),
        ),
    ]
    with ToolHost(parley.url, {"a": Tool(lambda arguments: Raw(answers[arguments["at"]][0]))}) as host:
        agent = Agent(host.mcp_url, version)
        for at, (_, content, structured) in enumerate(answers):
            answer = agent.send("tools/call", {"name": "a", "arguments": {"at": at}})
            assert answer.headers["content-type"] == "application/json"
            expected = result_of(version, content, structured)
            assert answer.text == f'{{"jsonrpc":"2.0","id":{at + 1},"result":{expected}}}'


@pytest.mark.parametrize("version", VERSIONS)
def test_failures_of_a_tool(parley: Parley, version: str) -> None:
    """They are results as well: a model is to read them. Only a tool that there is not is the client's mistake."""
    failures: list[tuple[Any, str, str]] = [
        (Raw('{"content":[],"isError":true}'), "[]", ""),
        (Raw('{"isError":true,"content":[],"_meta":{"x/y":1.0}}'), "[]", '"x/y":1.0'),
        (Raw('{"isError":true,"content":"why"}'), text_of("why"), ""),
        (Raw('{"isError":true,"content":[{"type":"text"}]}'), text_of('[{"type":"text"}]'), ""),
        (Raw('{"isError":true}'), text_of('{"isError":true}'), ""),
        (Raw('{"isError":true,"content":[],"_meta":{"a":1,"a":2}}'), "[]", ""),
        (Refused("no \ud800"), '[{"type":"text","text":"no \\ufffd"}]', ""),
        (Refused({"message": "no"}), text_of("no"), ""),
        (Refused({"code": "other", "message": "no", "more": 1}), text_of("no"), ""),
        (Refused({"code": "other"}), text_of('{"code": "other"}'), ""),
        (Refused({"message": 1}), text_of('{"message": 1}'), ""),
        (
            Refused({"code": "payload_too_large", "message": "2 bytes are too many: send at most 1 bytes."}),
            text_of(
                "The tool has run, but its result is too large to be passed on: "
                "2 bytes are too many: send at most 1 bytes."
            ),
            "",
        ),
        (Refused(None), text_of("null"), ""),
        (Refused([1]), text_of("[1]"), ""),
    ]

    def execute(arguments: Any) -> Any:
        found = failures[arguments["at"]][0]
        if isinstance(found, Refused):
            raise found
        return found

    with ToolHost(parley.url, {"a": Tool(execute)}) as host:
        agent = Agent(host.mcp_url, version)
        for at, (_, content, meta) in enumerate(failures):
            answer = agent.send("tools/call", {"name": "a", "arguments": {"at": at}})
            expected = result_of(version, content, failed=True, meta=meta)
            assert answer.text == f'{{"jsonrpc":"2.0","id":{at + 1},"result":{expected}}}'
        answer = agent.send("tools/call", {"name": "no-such-tool"})
        assert error(answer) == (200, -32602)
        assert answer.json()["error"]["message"] == "There is no tool no-such-tool."


def test_what_the_host_gets(parley: Parley) -> None:
    """The name and the arguments, to the digit; an empty object if there are none."""
    with ToolHost(parley.url, {"a": Tool(lambda _: 1), "send_request": Tool(lambda _: 2)}) as host:
        agent = Agent(host.mcp_url, "2025-11-25")
        for arguments, expected in (
            ('"arguments":{ "b" : 1.10, "a":[1e400] },', '{ "b" : 1.10, "a":[1e400] }'),
            ("", "{}"),
        ):
            body = f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{arguments}"name":"a"}}}}'
            assert agent.post(body.encode()).json()["result"]["content"] == [{"type": "text", "text": "1"}]
            assert host.payloads[-1] == f'{{"method":"tools/call","params":{{"name":"a","arguments":{expected}}}}}'
        assert agent.call("send_request", {"payload": 1})["content"][0]["text"] == "2", "a tool of the session's own"
        assert host.asked[-1]["payload"]["params"] == {"name": "send_request", "arguments": {"payload": 1}}


def test_session_without_tools(parley: Parley) -> None:
    with ToolHost(parley.url, on_request=lambda payload: {"echo": payload}) as host:
        agent = Agent(host.mcp_url)
        assert agent.call("send_request", {"payload": None})["structuredContent"] == {"echo": None}
        assert agent.failed("send_request").endswith("payload is missing.")
        told = agent.failed("send_request", {"payload": 1, "code": "x"})
        assert told.endswith('"code" is not an argument here. Known: payload.')
        assert [request["payload"] for request in host.asked] == [None]
        answer = agent.send("tools/call", {"name": "other"})
        assert error(answer) == (200, -32602), "which the host says"


def test_fixed_tools(parley: Parley) -> None:
    tools = {"add": Tool(lambda given: given["a"] + given["b"], {"description": "Adds."}), "one": Tool(lambda _: 1)}
    with ToolHost(parley.url, tools, on_request=lambda payload: [payload]) as host:
        for version in VERSIONS:
            agent, code = Agent(f"{parley.url}/mcp", version), f"{host.code[:4].lower()}-{host.code[4:]}"
            listed = agent.call("list_tools", {"code": code})
            assert json.loads(listed["content"][0]["text"]) == parley.http.get(f"{host.url}/tools").json()
            assert listed.get("structuredContent", listed["content"]) != {}
            called = agent.call("call_tool", {"code": code, "name": "add", "arguments": {"a": 2, "b": 3}})
            assert called["content"] == [{"type": "text", "text": "5"}]
            assert agent.call("call_tool", {"code": code, "name": "one"})["content"][0]["text"] == "1"
            assert agent.call("send_request", {"code": code, "payload": "x"})["content"][0]["text"] == '["x"]'
            told = agent.failed("call_tool", {"code": code, "name": "x"})
            assert told == 'The session has no tool "x". Its tools are: add, one.'


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        *((name, {}, "code is missing.") for name in ("list_tools", "call_tool", "send_request")),
        ("call_tool", {"code": "CODE"}, "name is missing."),
        ("send_request", {"code": "CODE"}, "payload is missing."),
        ("call_tool", {"code": "CODE", "name": 1}, "name must be a string."),
        ("call_tool", {"code": "CODE", "name": "a", "arguments": "{}"}, "arguments must be an object."),
        ("call_tool", {"code": "CODE", "name": "a", "args": {}}, "Known: code, name, arguments."),
        ("list_tools", {"code": "CODE", "\ud800": 1}, '"\\ud800" is not an argument here. Known: code.'),
        ("list_tools", {"code": 1}, "The code must be a string."),
        ("list_tools", {"code": "ABC"}, "Not a session code. A code is 8 letters and digits, like ABC1-2345."),
        ("list_tools", {"code": NO_SESSION}, "No such session. Check the code, or ask the host for a new one"),
        ("send_request", {"code": NO_SESSION, "payload": 1}, "No such session. Check the code"),
    ],
)
def test_arguments_of_the_fixed_tools(pair: Pair, name: str, arguments: dict[str, Any], told: str) -> None:
    """A model can mend them."""
    given = {key: pair.code if value == "CODE" else value for key, value in arguments.items()}
    assert told in Agent(f"{pair.parley.url}/mcp").failed(name, given)


def test_unknown_fixed_tools(parley: Parley) -> None:
    for name in ("add", "", "List_tools", "x" * 5000, "\ud800"):
        body = Agent("").message("tools/call", {"name": name})
        body["params"].pop("_meta")
        answer = Agent(f"{parley.url}/mcp", "2025-11-25").post(json.dumps(body).encode())
        assert error(answer) == (200, -32602)
        assert answer.json()["error"]["message"] == f"Unknown tool: {name[:128]}".replace("\ud800", "\ufffd")


@pytest.mark.parametrize("params", [{}, {"name": None}, {"name": 1}, {"name": ["a"]}])
def test_name_that_is_none(pair: Pair, params: dict[str, Any]) -> None:
    for path in ("/mcp", f"/mcp/{pair.code}"):
        answer = Agent(f"{pair.parley.url}{path}", "2025-11-25").send("tools/call", params)
        assert error(answer) == (200, -32602)


def test_cost(parley: Parley) -> None:
    """Two calls to the store: the request, and its answer. One more if the tool is the relay's own."""
    tools = {"a": Tool(lambda _: 1)}
    faults = parley.store.faults
    with ToolHost(parley.url, tools) as host, ToolHost(parley.url, on_request=lambda _: 1) as bare:
        for agent, name, arguments, cost in (
            (Agent(host.mcp_url), "a", {}, 2),
            (Agent(f"{parley.url}/mcp"), "call_tool", {"code": host.code, "name": "a"}, 2),
            (Agent(f"{parley.url}/mcp"), "send_request", {"code": bare.code, "payload": 1}, 2),
            (Agent(f"{parley.url}/mcp"), "list_tools", {"code": host.code}, 1),
            (Agent(bare.mcp_url), "send_request", {"payload": 1}, 3),
        ):
            agent.call(name, arguments)  # which subscribes
            before = faults.calls
            answer = agent.send("tools/call", {"name": name, "arguments": arguments})
            assert not answer.json()["result"]["isError"]
            assert faults.calls - before == cost, name
            own = cost if name == "list_tools" else cost - 1
            assert answer.headers["server-timing"].endswith(f'"{own} calls"')


def test_what_a_model_is_told(pair: Pair) -> None:
    """Each outcome that is not the client's mistake is a result that says what to do."""
    url = pair.parley.url
    for agent, name, arguments in (
        (Agent(f"{url}/mcp/{NO_SESSION}"), "a", {}),
        (Agent(f"{url}/mcp/{NO_SESSION}"), "send_request", {"payload": 1}),
        (Agent(f"{url}/mcp"), "call_tool", {"code": NO_SESSION, "name": "a"}),
    ):
        assert agent.failed(name, arguments).startswith("No such session. Check the code, or ask the host for a new")
    agent = Agent(f"{url}/mcp/{pair.code}")
    for size in (1_048_576, 4_400_000):  # a bare 413 ends the runs of some clients
        refused = agent.failed("a", {"x": "y" * size})
        assert re.fullmatch(
            "The message is too large. [0-9]{7} bytes are too many: send at most 1048576 bytes in one message.", refused
        )
    pair.parley.store.faults.fail("quota")
    told = agent.send("tools/call", {"name": "a"})
    assert "quota is used up" in told.json()["result"]["content"][0]["text"]
    line = pair.parley.log(told)
    assert (line["level"], line["status"], line["problem"]) == ("error", 200, "store_quota_exceeded")
    pair.parley.store.faults.heal()
    pair.parley.http.delete(pair.url, headers=pair.host)
    assert agent.failed("a") == "The session has ended. The host ended this session. Ask for the code of a new one."


def test_limits(parley: Parley) -> None:
    with ToolHost(parley.url, {"a": Tool(lambda _: 1)}) as host:
        agent = Agent(host.mcp_url)
        for _ in range(60):
            agent.call("a")
        told = agent.failed("a")
        assert told.startswith("Too many calls. Wait ")
        assert told.endswith(" s, then try again.")


def test_busy() -> None:
    """All places of the instance are taken: the call says so, at once."""
    release = threading.Event()
    with (
        running_store(None) as store,
        running_parley(store, MAX_WAITS="1") as parley,
        ToolHost(parley.url, {"a": Tool(lambda _: release.wait(20))}) as host,
    ):
        first = threading.Thread(target=Agent(host.mcp_url).call, args=["a"])
        first.start()
        wait_until(lambda: len(host.asked) == 1)
        assert Agent(host.mcp_url).failed("a") == "Too many calls wait. Try again in a moment."
        release.set()
        first.join()
        assert len(host.asked) == 1


def test_client_that_hangs_up(parley: Parley) -> None:
    """Before a stream has begun. The host is told within a second, and nothing is left."""
    release = threading.Event()
    with ToolHost(parley.url, {"a": Tool(lambda _: release.wait(20))}) as host:
        for accept in ("application/json", "application/json, text/event-stream"):
            agent = Agent(host.mcp_url, Accept=accept)
            body = agent.message("tools/call", {"name": "a"})
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(host.mcp_url, json=body, headers=agent.headers_of(body), timeout=0.5)
            left = time.monotonic()
            wait_until(lambda: host.withdrawn == [request["id"] for request in host.asked])
            assert time.monotonic() - left < 1
        assert len(host.withdrawn) == 2
        assert parley.store.db.xlen(f"{parley.store.prefix}req:{host.code}") == 0
        wait_until(lambda: sum('"clientGone": true' in line and "/mcp" in line for line in parley.lines) == 2)
        release.set()
