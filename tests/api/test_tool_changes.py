"""Lists of tools that change: who listens hears of it, in both eras; and the host hears who has listed them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from dev.events import events_of
from tests.support.agents import Agent, error
from tests.support.deployments import Api, Pair, Parley, refusal
from tests.support.toolhosts import Tool, ToolHost
from tests.support.tools import PATIENCE_SECONDS, wait_until

NO_SESSION = "0000000Z"
WANTED = {"notifications": {"toolsListChanged": True, "promptsListChanged": True}}
SUBSCRIPTION = {"io.modelcontextprotocol/subscriptionId": 1}
ACKNOWLEDGED = {
    "jsonrpc": "2.0",
    "method": "notifications/subscriptions/acknowledged",
    "params": {"_meta": SUBSCRIPTION, "notifications": {"toolsListChanged": True}},
}
COMPLETE = {"jsonrpc": "2.0", "id": 1, "result": {"resultType": "complete", "_meta": SUBSCRIPTION}}


@pytest.fixture
def pair(parley: Parley) -> Pair:
    return Pair(parley)


@contextmanager
def listening(method: str, url: str, headers: dict[str, str], body: Any = None) -> Iterator[list[Any]]:
    """Give what a stream brings, as it comes. The stream has begun when the block begins, and is closed after it."""
    messages: list[Any] = []
    begun = threading.Event()
    with httpx.stream(method, url, json=body, headers=headers, timeout=PATIENCE_SECONDS) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "text/event-stream"

        def read() -> None:
            parts = answer.iter_bytes()
            first = next(parts, b"")
            begun.set()
            messages.extend(event.data for event in events_of([first], ("event", "data")))
            messages.extend(event.data for event in events_of(parts, ("event", "data")))
            messages.append(None)

        threading.Thread(target=read, daemon=True).start()
        assert begun.wait(PATIENCE_SECONDS)
        yield messages


def legacy(pair: Pair) -> Any:
    headers = {"Accept": "text/event-stream", "MCP-Protocol-Version": "2025-11-25"}
    return listening("GET", f"{pair.parley.url}/mcp/{pair.code}", headers)


def modern(pair: Pair) -> Any:
    agent = Agent(f"{pair.parley.url}/mcp/{pair.code}")
    body = agent.message("subscriptions/listen", WANTED)
    return listening("POST", agent.url, agent.headers_of(body), body)


def test_list_that_changes(pair: Pair) -> None:
    """Each change is told once; the same list again is no change. It costs no call of a listener's."""
    with legacy(pair) as old, modern(pair) as new:
        wait_until(lambda: new)
        assert new == [ACKNOWLEDGED]
        changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        for number, name in enumerate("abc", start=1):
            before = pair.parley.store.faults.calls
            for _ in range(2):
                assert pair.offer(f'[{{"name":"{name}"}}]').status_code == 204
            wait_until(lambda number=number: len(old) >= number and len(new) > number)  # type: ignore[misc]
            if number > 1:  # a stream that has just begun may still be subscribing, until it tells of a change
                assert pair.parley.store.faults.calls - before == 2
        assert old == [changed] * 3
        assert new[1:] == [{**changed, "params": {"_meta": SUBSCRIPTION}}] * 3
        pair.parley.http.delete(pair.url, headers=pair.host)
        wait_until(lambda: old[-1] is None and new[-1] is None)
        assert old[3:] == [None]
        assert new[4:] == [COMPLETE, None]


def test_session_that_expires(pair: Pair) -> None:
    pair.parley.store.db.pexpire(f"{pair.parley.store.prefix}session:{pair.code}", 1500)
    with modern(pair) as new:
        wait_until(lambda: new and new[-1] is None)
        assert new == [ACKNOWLEDGED, COMPLETE, None]


def test_stream_that_has_had_its_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """It just ends: clients listen again after a stream that drops, and not after one that says it is complete."""
    monkeypatch.setenv("STREAM_SECONDS", "1")
    pair = Pair(api)
    with modern(pair) as new, legacy(pair) as old:
        wait_until(lambda: None in new and None in old)
        assert new == [ACKNOWLEDGED, None]
        assert old == [None]


def test_nothing_to_listen_to(pair: Pair) -> None:
    """It is acknowledged and completed at once: clients try again and again if it is refused."""
    url = pair.parley.url
    for path, wanted in (
        ("/mcp", WANTED),
        (f"/mcp/{pair.code}", {"notifications": {"promptsListChanged": True}}),
        (f"/mcp/{pair.code}", {}),
        (f"/mcp/{NO_SESSION}", WANTED),
    ):
        agent = Agent(f"{url}{path}")
        body = agent.message("subscriptions/listen", wanted)
        with listening("POST", agent.url, agent.headers_of(body), body) as messages:
            wait_until(lambda messages=messages: messages and messages[-1] is None)  # type: ignore[misc]
            honoured = {"toolsListChanged": True} if NO_SESSION in path else {}
            told = {"_meta": SUBSCRIPTION, "notifications": honoured}
            assert messages == [{**ACKNOWLEDGED, "params": told}, COMPLETE, None]


def test_streams_that_are_refused(pair: Pair) -> None:
    answer = httpx.get(f"{pair.parley.url}/mcp/{NO_SESSION}", headers={"Accept": "text/event-stream"})
    assert refusal(answer) == (404, "session_not_found")
    agent = Agent(f"{pair.parley.url}/mcp/{pair.code}")
    assert error(agent.send("subscriptions/listen", {"notifications": 1})) == (400, -32602)
    pair.parley.store.faults.fail("quota")
    assert error(agent.send("subscriptions/listen", WANTED)) == (503, 503)
    pair.parley.store.faults.heal()
    old = Agent(agent.url, "2025-11-25")
    assert error(old.send("subscriptions/listen", WANTED)) == (200, -32601)


def test_host_hears_who_has_listed_its_tools(parley: Parley) -> None:
    """In each era and at both URLs; a call then says who makes it. What a client says of itself is cut, and escaped."""
    info = {"name": 'c"\n' + "x" * 200, "version": "1.0", "title": "not passed on"}
    client = {"name": info["name"][:128], "version": "1.0"}
    with ToolHost(parley.url, {"a": Tool(lambda _: 1)}) as host:
        meta = {"io.modelcontextprotocol/clientInfo": info}
        new = Agent(host.mcp_url)
        new.ask("tools/list", {"_meta": meta})
        new.ask("tools/call", {"name": "a", "_meta": meta})
        opened = Agent(host.mcp_url, "2025-11-25").send(
            "initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
        )
        session_id = opened.headers["mcp-session-id"]
        old = Agent(f"{parley.url}/mcp", "2025-11-25", **{"Mcp-Session-Id": session_id})
        old.call("list_tools", {"code": host.code})
        old.call("call_tool", {"code": host.code, "name": "a"})
        wait_until(lambda: len(host.guests) == 2)
        assert host.guests == [{"client": client}] * 2
        assert [request["payload"]["client"] for request in host.asked] == [client] * 2
        assert [list(request["payload"]) for request in host.asked] == [["method", "params", "client"]] * 2


@pytest.mark.parametrize("info", [None, 1, [], {}, {"name": 1}, {"title": "x"}])
def test_clients_that_do_not_say_who_they_are(parley: Parley, info: Any) -> None:
    with ToolHost(parley.url, {"a": Tool(lambda _: 1)}) as host:
        opened = Agent(host.mcp_url, "2025-11-25").send(
            "initialize", {"protocolVersion": "2025-11-25", "clientInfo": info}
        )
        for session_id in (opened.headers["mcp-session-id"], "x", "x.", "x.!", "x.bm9uZQ==", "x.W1tb", "." * 9000):
            agent = Agent(host.mcp_url, "2025-11-25", **{"Mcp-Session-Id": session_id})
            agent.ask("tools/list")
            agent.call("a")
        wait_until(lambda: len(host.guests) == 7)
        assert host.guests == [{"client": {}}] * 7
        assert all("client" not in request["payload"] for request in host.asked)
