"""api/mcp as clients really speak it: what they send beside the specification, and what would make them give up."""

import json
import threading
from typing import Any

import httpx
import pytest

from lib.mcp import results
from tests.support.agents import BOTH, META, VERSIONS, Agent, error
from tests.support.deployments import Pair, Parley
from tests.support.toolhosts import Held, Raw, Tool, ToolHost
from tests.support.tools import PATIENCE_SECONDS, long, wait_until


@pytest.fixture
def pair(parley: Parley) -> Pair:
    return Pair(parley)


def modern(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}}


@pytest.mark.parametrize("version", [*results.LEGACY, f"{results.MODERN}, {results.MODERN}"])
def test_modern_body_with_another_header(parley: Parley, version: str) -> None:
    """The body decides; headers that repeat it may be missing, but must agree if they are there."""
    with ToolHost(parley.url, {"a": Tool(lambda _: 1)}) as host:
        headers = BOTH | {"MCP-Protocol-Version": version}
        for method, params in (("server/discover", {}), ("tools/list", {}), ("tools/call", {"name": "a"})):
            for more in ({}, {"Mcp-Method": method}, {"Mcp-Method": f"{method}, {method}"}):
                answer = httpx.post(host.mcp_url, json=modern(method, **params), headers=headers | more)
                assert answer.json()["result"]["resultType"] == "complete"
            answer = httpx.post(host.mcp_url, json=modern(method, **params), headers=headers | {"Mcp-Method": "ping"})
            assert error(answer) == (400, -32020)
        wrong = headers | {"Mcp-Name": "b"}
        assert error(httpx.post(host.mcp_url, json=modern("tools/call", name="a"), headers=wrong)) == (400, -32020)


@pytest.mark.parametrize("version", ["2099-01-01", f"{results.MODERN}, 2099-01-01", "", "x"])
def test_other_mismatches_stay_faults(pair: Pair, version: str) -> None:
    headers = BOTH | {"MCP-Protocol-Version": version, "Mcp-Method": "tools/list"}
    answer = httpx.post(f"{pair.parley.url}/mcp/{pair.code}", json=modern("tools/list"), headers=headers)
    assert error(answer) == (400, -32020)


def test_null_is_left_out(parley: Parley) -> None:
    with ToolHost(parley.url, {"a": Tool(lambda given: given)}) as host:
        for url in (host.mcp_url, f"{parley.url}/mcp"):
            for params in (None, {"_meta": None}, {"cursor": None}, {"cursor": ""}):
                body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params}
                assert httpx.post(url, json=body).json()["result"]["tools"]
        agent = Agent(host.mcp_url, "2025-11-25")
        assert agent.ask("tools/call", {"name": "a", "arguments": None})["structuredContent"] == {}
        fixed = Agent(f"{parley.url}/mcp", "2025-11-25")
        called = fixed.call("call_tool", {"code": host.code, "name": "a", "arguments": None})
        assert called["structuredContent"] == {}


def test_slash_at_the_end(parley: Parley) -> None:
    """As the whole API, so the MCP servers answer under their path with one slash at its end."""
    with ToolHost(parley.url, {"a": Tool(lambda _: 1)}) as host:
        for path in (f"/mcp/{host.code}/", "/mcp/", f"/api/sessions/{host.code}/mcp/", "/api/mcp/"):
            assert Agent(f"{parley.url}{path}").ask("tools/list")["tools"]
        assert parley.http.post("/api/sessions/").status_code == 201
        for path in ("", "tools/", "requests/", "stream/"):
            found = parley.http.head(f"/api/sessions/{host.code}/{path}", headers=host.headers)
            assert found.status_code == 200, path
        assert parley.http.get("/api/health/").status_code == 200


@pytest.mark.parametrize("version", [VERSIONS[0], *map(long, VERSIONS[1:])])
def test_texts_that_break_clients(parley: Parley, version: str) -> None:
    """Half a character becomes U+FFFD; what some clients take for the end of a line is escaped in events."""
    half, pair = "\\ud83d", "\\ud83d\\ude00"
    text = f'"{half}x{pair}\\\\ud83d{half}\u2028\u2029\u0085{half}"'
    mended = json.loads(
        text.replace(half + "x", "\ufffdx").replace(half + "\u2028", "\ufffd\u2028").replace(f'{half}"', '\ufffd"')
    )
    held = Held(Raw(text))
    fields = {"description": json.loads(text), "_meta": {"x/y": [1.5]}, "annotations": {"consequentialHint": "yes"}}
    with ToolHost(parley.url, {"a": Tool(held.execute, fields)}) as host:
        listed = Agent(host.mcp_url, version).send("tools/list")
        (tool,) = json.loads(listed.content.decode())["result"]["tools"]
        assert tool["description"] == mended
        assert (tool["_meta"], tool["annotations"]) == ({"x/y": [1.5]}, {"consequentialHint": "yes"})
        agent = Agent(host.mcp_url, version)
        body = agent.message("tools/call", {"name": "a", "_meta": {"progressToken": 1}})
        with httpx.stream("POST", agent.url, json=body, headers=agent.headers_of(body), timeout=20) as answer:
            wait_until(lambda: len(host.asked) == 1)
            host.report(host.asked[0]["id"], 1, message="\ud800\u2028")
            held.go.set()
            sent = answer.read().decode()
        assert not set(sent) & set("\u2028\u2029\u0085")
        report, result = (
            json.loads(line.removeprefix("data: ")) for line in sent.splitlines() if line.startswith("data: ")
        )
        assert report["params"]["message"] == "\ufffd\u2028"
        assert result["result"]["content"] == [{"type": "text", "text": mended}]


def test_page_for_a_browser(pair: Pair) -> None:
    """It says what the URL is, and nothing of what was sent is taken for HTML."""
    for path in (f"/mcp/{pair.code}", "/mcp", f"/api/mcp?code={pair.code}"):
        answer = pair.parley.http.get(path, headers={"Accept": "text/html,*/*;q=0.8", "X-Forwarded-Host": '"><script>'})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "This is an MCP server" in answer.text
        assert "<script>" not in answer.text
    assert (
        f"{pair.parley.url}/mcp/{pair.code}"
        in pair.parley.http.get(f"/mcp/{pair.code}", headers={"Accept": "text/html"}).text
    )


@pytest.mark.parametrize("version", results.LEGACY)
def test_cancelling(parley: Parley, version: str) -> None:
    """Clients of these versions keep the connection. The tool is stopped, and the cancellation costs one call."""
    held = Held()
    with ToolHost(parley.url, {"a": held.tool, "b": Tool(lambda _: 1)}) as host:
        Agent(host.mcp_url).call("b")  # so that the instance subscribes
        for url, name, arguments in (
            (host.mcp_url, "a", {}),
            (f"{parley.url}/mcp", "call_tool", {"code": host.code, "name": "a"}),
        ):
            opened = Agent(url, version).send("initialize", {"protocolVersion": version})
            session_id = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
            for accept in ("application/json", "application/json, text/event-stream"):
                agent = Agent(url, version, Accept=accept, **session_id)
                body = agent.message("tools/call", {"name": name, "arguments": arguments})
                answers: list[httpx.Response] = []

                def call(agent: Agent = agent, body: Any = body, answers: Any = answers) -> None:
                    answers.append(agent.post(json.dumps(body).encode()))

                asked, gone = len(host.asked), len(host.withdrawn)
                calling = threading.Thread(target=call)
                calling.start()
                wait_until(lambda asked=asked: len(host.asked) > asked)  # type: ignore[misc]
                for request_id, other in ((body["id"], {"Mcp-Session-Id": "other"}), ("other", {})):
                    params = {"requestId": request_id, "reason": "no"}
                    note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
                    assert httpx.post(url, json=note, headers=agent.headers | other).status_code == 202
                assert len(host.withdrawn) == gone
                note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": body["id"]}}
                noted = httpx.post(url, json=note, headers=agent.headers)
                assert (noted.status_code, parley.log(noted)["storeCalls"]) == (202, 1)
                wait_until(lambda gone=gone: len(host.withdrawn) > gone)  # type: ignore[misc]
                calling.join(PATIENCE_SECONDS)
                assert (answers[0].status_code, answers[0].content) == (202, b"")
        held.go.set()
    opened = Agent(host.mcp_url, version).send("ping")
    assert "mcp-session-id" not in opened.headers


def test_cancelling_in_another_instance(parley: Parley) -> None:
    """The call waits in one instance, and its cancellation comes to another."""
    held = Held()
    with ToolHost(parley.url, {"a": held.tool, "b": Tool(lambda _: 1)}) as host:
        Agent(host.mcp_url).call("b")  # so that the instance subscribes, and hears of the cancellation
        agent = Agent(host.mcp_url, "2025-11-25", Accept="application/json", **{"Mcp-Session-Id": "s"})
        body = agent.message("tools/call", {"name": "a"})
        answers: list[int] = []
        calling = threading.Thread(target=lambda: answers.append(agent.post(json.dumps(body).encode()).status_code))
        calling.start()
        wait_until(lambda: len(host.asked) == 2)
        function = parley.platform.detach("mcp")  # the next call starts another
        assert function
        try:
            note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": body["id"]}}
            assert agent.post(json.dumps(note).encode()).status_code == 202
            calling.join(PATIENCE_SECONDS)
            assert answers == [202]
            wait_until(lambda: len(host.withdrawn) == 1)
        finally:
            function.stop()
        held.go.set()
