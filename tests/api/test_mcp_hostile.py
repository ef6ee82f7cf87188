"""api/mcp: whatever is sent gets the specification's answer; nothing of it is a defect of ours."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from dev.local import environment
from tests.support.agents import VERSIONS, Agent, error
from tests.support.deployments import Pair, Parley, running_parley
from tests.support.stores import running_store
from tests.support.toolhosts import Raw, Refused, Tool, ToolHost

PING = '"jsonrpc":"2.0","method":"ping"'
DEEP = 1600  # deeper than Python's parser goes
JSON = "application/json"


@pytest.fixture(scope="module")
def any_parley() -> Iterator[Parley]:
    """Give a deployment that does not mind how often it is called. Nothing in its log is a defect, or a 5xx."""
    limits = environment.UNLIMITED
    with running_store(None) as store, running_parley(store, **limits) as parley:
        yield parley
        lines = [json.loads(line) for line in parley.lines]
        assert not [line for line in lines if "defect" in line or (line.get("status") or 0) >= 500]


@pytest.fixture
def parley(any_parley: Parley) -> Parley:
    return any_parley


@pytest.fixture(params=["session", "fixed"])
def agent(request: pytest.FixtureRequest, parley: Parley) -> Agent:
    """Give a client of the last version before 2026-07-28, which wants the least, for both URLs."""
    path = f"/mcp/{parley.create()['code']}" if request.param == "session" else "/mcp"
    return Agent(f"{parley.url}{path}", "2025-11-25")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        *((body, 400, -32700) for body in (b"", b"{", b"x", b"{}{}", b"\xff\xfe{}", b"\xef\xbb\xbf{}")),
        (b'{"jsonrpc":"2.0","id":"\xed\xa0\x80","method":"ping"}', 400, -32700),
        *((body, 400, -32700) for body in (b'{"id":NaN}', b"[" * 70_000, b'{"a":' * 20_000, b"[" * DEEP + b"]" * DEEP)),
        *((body, 400, -32600) for body in (b"[]", b"null", b"1", b'"x"', b"true", b"{}", b'{"id":1,"id":2}')),
        (f"[{{{PING},\"id\":1}},{{{PING},\"id\":2}}]".encode(), 400, -32600),
        *((f'{{"jsonrpc":{v},"id":1,"method":"ping"}}'.encode(), 400, -32600) for v in ("2.0", '"1.0"', "2", "null")),
        *((f'{{"jsonrpc":"2.0","id":1,"method":{m}}}'.encode(), 400, -32600) for m in ("1", "null", "{}", '["ping"]')),
        (b'{"jsonrpc":"2.0","id":1}', 400, -32600),
        *((f"{{{PING},\"id\":{i}}}".encode(), 400, -32600) for i in ("null", "1.5", "1e3", "1.0", "{}", "[1]", "true")),
        *((f"{{{PING},\"id\":1,\"params\":{p}}}".encode(), 400, -32602) for p in ("[]", "1", '"x"')),
        (f'{{{PING},"id":1,"params":{{"a":1,"a":2}}}}'.encode(), 400, -32602),
        (f'{{{PING},"id":1,"params":{{"_meta":1}}}}'.encode(), 400, -32602),
        (f'{{{PING},"id":1,"params":{{"_meta":{{"a":1,"a":2}}}}}}'.encode(), 400, -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}', 200, -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * 100_000 + b'"}', 200, -32601),
        (b" " * 2_000_000, 400, -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"no","x":"' + b"x" * 4_000_000 + b'"}', 200, -32601),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else None,
)  # fmt: skip
def test_messages(agent: Agent, body: bytes, status: int, code: int) -> None:
    assert error(agent.post(body)) == (status, code)


def test_five_megabytes(agent: Agent) -> None:
    """The platform refuses that by itself."""
    assert agent.post(b"x" * 5_000_000).status_code == 413


@pytest.mark.parametrize(
    "request_id",
    ["0", "-1", "9" * 5000, '""', '"\\ud800"', '"é\\u00e9\\n"', '"' + "x" * 100_000 + '"', '"1"'],
    ids=lambda text: text[:10],
)
def test_ids_come_back_to_the_letter(agent: Agent, request_id: str) -> None:
    answer = agent.post(f'{{{PING},"id":{request_id}}}'.encode())
    assert answer.text == f'{{"jsonrpc":"2.0","id":{request_id},"result":{{}}}}'
    answer = agent.post(f'{{"jsonrpc":"2.0","id":{request_id},"method":"no"}}'.encode())
    assert answer.text.startswith(f'{{"jsonrpc":"2.0","id":{request_id},"error":{{"code":-32601,')


def test_content_types(agent: Agent) -> None:
    body = f'{{{PING},"id":1}}'.encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/x+yaml", ";"):
        assert error(agent.post(body, {"Content-Type": kind})) == (415, 415)
    for kind in ("application/json; charset=utf-8", "application/vnd.x+json", "APPLICATION/JSON"):
        assert agent.post(body, {"Content-Type": kind}).json()["result"] == {}


@pytest.mark.parametrize("arguments", ["1", "[]", '"{}"', "true", '{"a":1,"a":2}'])
def test_arguments_that_are_none(agent: Agent, arguments: str) -> None:
    body = f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"a","arguments":{arguments}}}}}'
    assert error(agent.post(body.encode())) == (200, -32602)


@pytest.mark.parametrize(
    "name", ["no-such-tool", "", "\ud800", "x" * 100_000, "../../a", "a\r\nx: y", "__proto__", "😀"], ids=ascii
)
def test_names_that_no_tool_has(parley: Parley, name: str) -> None:
    """The host says that it does not have it, in words that may hold the name."""
    with ToolHost(parley.url, {"a": Tool(lambda _: 1)}) as host:
        for url in (host.mcp_url, f"{parley.url}/mcp"):
            body = json.dumps(Agent("", "2025-11-25").message("tools/call", {"name": name}))
            answer = Agent(url, "2025-11-25", Accept=JSON).post(body.encode())
            assert error(answer) == (200, -32602)
        assert host.asked[0]["payload"]["params"]["name"] == name


def test_headers_with_all_kinds_of_bytes(parley: Parley) -> None:
    agent = Agent(f"{parley.url}/mcp")
    body = json.dumps(agent.message("tools/list")).encode()
    for value in (b"\xff\xfe", "é".encode(), b"x" * 5000, b"=?base64?" + b"/" * 5000 + b"?=", b"=?base64??="):
        for name in ("MCP-Protocol-Version", "Mcp-Method"):
            headers: Any = {"Content-Type": JSON, "MCP-Protocol-Version": agent.speaks, "Mcp-Method": "tools/list"}
            assert error(agent.post(body, headers | {name: value})) == (400, -32020)


def test_nesting(parley: Parley) -> None:
    """A hundred levels pass both ways; at any depth that one side takes, the other has an answer."""
    nested = "[" * 100 + "]" * 100
    answers: list[Any] = [None]

    def execute(_: Any) -> Any:
        if isinstance(answers[0], Refused):
            raise answers[0]
        return answers[0]

    with ToolHost(parley.url, {"a": Tool(execute)}) as host:
        agent = Agent(host.mcp_url, Accept=JSON)
        answers[0] = Raw(f'{{"content":[],"structuredContent":{nested}}}')
        assert agent.call("a", {"x": json.loads(nested)})["structuredContent"] == json.loads(nested)
        pair = Pair(parley)
        for depth in range(DEEP, 1400, -1):  # the deepest answer that the relay takes, and some that are less deep
            nested = "[" * depth + "]" * depth
            pair.post(request_id=f"q{depth}")
            if pair.answer(f"q{depth}", nested).status_code == 201:
                break
            pair.withdraw(f"q{depth}")
        for less in range(3, 12):
            nested = "[" * (depth - less) + "]" * (depth - less)
            for answers[0] in (
                Raw(nested),
                Raw(f'{{"content":{nested}}}'),
                Raw(f'{{"content":[],"structuredContent":{nested}}}'),
                Refused(Raw(nested)),
                Refused(Raw(f'{{"message":{nested}}}')),
            ):
                answer = agent.send("tools/call", {"name": "a"})
                assert answer.status_code == 200
                assert answer.text.startswith('{"jsonrpc":"2.0","id":')
                assert '"result":{"resultType":"complete","content":[' in answer.text


def test_schemas(parley: Parley) -> None:
    """As large and as deep as they may be: every version lists them."""
    pair = Pair(parley)
    large = json.dumps({"type": "object", "description": "x" * (128 * 1024 - 100)})
    deep = f'{{"type":"object","x":{"[" * 100}{"]" * 100}}}'
    for schema in (large, deep):
        listed = f'[{{"name":"a","inputSchema":{schema}}}]'
        assert pair.offer(listed).status_code == 204
        for version in VERSIONS:
            answer = Agent(f"{parley.url}/mcp/{pair.code}", version).send("tools/list")
            assert f'"tools":{listed}' in answer.text
    results = f'[{{"name":"a","inputSchema":{{"type":"object"}},"outputSchema":{deep}}}]'
    assert pair.offer(results).status_code == 204
    assert f'"tools":{results}' in Agent(f"{parley.url}/mcp/{pair.code}", "2025-11-25").send("tools/list").text


@pytest.mark.long
def test_two_hundred_calls_at_once(parley: Parley) -> None:
    """Each gets its own answer, and none is refused: fifty of one network may wait in a session."""
    tools = {"echo": Tool(lambda given: given["n"])}
    with ExitStack() as running:
        hosts = [running.enter_context(ToolHost(parley.url, tools)) for _ in range(4)]

        def call(number: int) -> str:
            version = VERSIONS[number // 4 % len(VERSIONS)]
            host = hosts[number % 4]
            if number % 2:
                result = Agent(host.mcp_url, version, Accept=JSON).call("echo", {"n": number})
            else:
                given = {"code": host.code, "name": "echo", "arguments": {"n": number}}
                result = Agent(f"{parley.url}/mcp", version, Accept=JSON).call("call_tool", given)
            return str(result["content"][0]["text"])

        with ThreadPoolExecutor(200) as pool:
            assert list(pool.map(call, range(200))) == [str(number) for number in range(200)]
        assert [host.withdrawn for host in hosts] == [[]] * 4
