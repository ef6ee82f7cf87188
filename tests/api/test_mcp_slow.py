"""api/mcp: a tool call that takes its time, and whatever may happen meanwhile.

The function runs in this process, where its five seconds are 0.2.
"""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from lib.mcp import tool_call
from lib.wait import long_poll
from tests.support.agents import VERSIONS, Agent, result_of, text_of
from tests.support.deployments import Pair, Parley
from tests.support.functions import quick_mcp
from tests.support.toolhosts import Held, Refused, Tool, ToolHost
from tests.support.tools import PATIENCE_SECONDS, long, wait_until

TICK = 0.2


@pytest.fixture
def parley(well: Parley) -> Parley:
    """Give the deployment for the hosts."""
    return well


@pytest.fixture
def quick(parley: Parley, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the function on the same store."""
    with quick_mcp(parley.store, monkeypatch, TICK) as url:
        yield url


def streamed(agent: Agent, held: Held, parts_before: int, meta: dict[str, Any] | None = None) -> list[Any]:
    """Return the parts of the stream of a call that is answered after so many, and check its shape.

    A part is None for a comment, else a message. There may be a few more before the answer.
    """
    message = agent.message("tools/call", {"name": "a", "_meta": meta or {}})
    parts: list[Any] = []
    text = ""
    with httpx.stream("POST", agent.url, json=message, headers=agent.headers_of(message), timeout=20) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["x-accel-buffering"] == "no"
        assert "content-length" not in answer.headers
        for piece in answer.iter_text():
            *events, text = (text + piece).split("\n\n")
            parts += map(part_of, events)
            if len(parts) >= parts_before:
                held.go.set()
    held.go.clear()
    assert text == ""
    assert all(part is None or part["jsonrpc"] == "2.0" for part in parts)
    assert [part["id"] for part in parts if part and "id" in part] == [message["id"]] == [parts[-1]["id"]]
    return parts


def part_of(event: str) -> Any:
    if event == ":":
        return None
    name, data = event.split("\n")
    assert name == "event: message"
    return json.loads(data.removeprefix("data: "))


@pytest.mark.parametrize("version", [VERSIONS[0], *map(long, VERSIONS[1:-1]), VERSIONS[-1]])
@pytest.mark.parametrize("token", ["p", long(10**30)])
def test_stream(parley: Parley, quick: str, version: str, token: object) -> None:
    """A comment at once, progress every 10 seconds, and the answer when it is there."""
    held = Held()
    with ToolHost(parley.url, {"a": held.tool}) as host:
        *parts, last = streamed(Agent(f"{quick}/mcp/{host.code}", version), held, 7, {"progressToken": token})
        assert parts[0] is None
        numbers = [part["params"].pop("progress") for part in parts if part]
        assert len(numbers) >= 3
        assert numbers == sorted(set(numbers))
        assert numbers[0] == pytest.approx(numbers[-1], abs=1e-9), "whatever the host reports next is above them"
        beat = {"progressToken": token, "message": "Waiting for the host"}
        assert parts[1] == {"jsonrpc": "2.0", "method": "notifications/progress", "params": beat}
        assert json.dumps(last["result"], separators=(",", ":")) == result_of(version, text_of("1"), "1")


@pytest.mark.long
def test_stream_without_progress(parley: Parley, quick: str) -> None:
    held = Held()
    with ToolHost(parley.url, {"a": held.tool}) as host:
        wrong: tuple[object, ...] = (None, 1.5, {}, True)
        for token in wrong:
            agent = Agent(f"{quick}/mcp/{host.code}", Accept="Application/JSON, Text/Event-Stream")
            *comments, last = streamed(agent, held, 3, {"progressToken": token})
            assert set(comments) == {None}
            assert last["result"]["content"][0]["text"] == "1"


def test_client_that_takes_no_streams(parley: Parley, quick: str) -> None:
    held = Held()
    with ToolHost(parley.url, {"a": held.tool}) as host:
        for accept in ("application/json", "*/*", ""):
            threading.Timer(3 * TICK, held.go.set).start()
            answer = Agent(f"{quick}/mcp/{host.code}", Accept=accept).send("tools/call", {"name": "a"})
            assert answer.headers["content-type"] == "application/json"
            assert answer.json()["result"]["content"][0]["text"] == "1"


def test_fault_in_a_stream(parley: Parley, quick: str) -> None:
    held = Held(Refused({"code": "unknown_tool", "message": "gone meanwhile"}))
    with ToolHost(parley.url, {"a": held.tool}) as host:
        *_, last = streamed(Agent(f"{quick}/mcp/{host.code}"), held, 2)
        assert last["error"] == {"code": -32602, "message": "gone meanwhile"}


def test_longest_call(parley: Parley, quick: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 280 seconds the model is told, and the host."""
    assert tool_call._SECONDS == 280
    monkeypatch.setattr(tool_call, "_SECONDS", 10 * TICK)
    held = Held()
    with ToolHost(parley.url, {"a": held.tool}) as host:
        *comments, last = streamed(Agent(f"{quick}/mcp/{host.code}"), held, 99)
        assert set(comments) == {None}
        assert last["result"]["isError"] is True
        assert last["result"]["content"][0]["text"].startswith("The host did not answer in time. It may still be at")
        told = Agent(f"{quick}/mcp/{host.code}", Accept="application/json").failed("a")
        assert told.startswith("The host did not answer in time.")
        wait_until(lambda: host.withdrawn == [request["id"] for request in host.asked])
        assert len(host.withdrawn) == 2
        held.go.set()


def test_no_host(parley: Parley, quick: str) -> None:
    """After ten seconds. The request does not wait for a host that comes later."""
    pair = Pair(parley)
    started = time.monotonic()
    *comments, last = streamed(Agent(f"{quick}/mcp/{pair.code}"), Held(), 99)
    assert time.monotonic() - started >= 2 * TICK
    assert comments == [None]
    assert last["result"]["content"][0]["text"].startswith("No host listens: the page or program that showed this")
    before = parley.store.faults.calls
    told = Agent(f"{quick}/mcp", Accept="").failed("call_tool", {"code": pair.code, "name": "a"})
    assert told.startswith("No host listens")
    assert parley.store.faults.calls - before == 3, "the request, the question, the withdrawal"
    assert pair.unanswered().json()["requests"] == []


def test_host_that_goes(parley: Parley, quick: str) -> None:
    """Ten seconds after its connection is closed the model is told, unless it is there again."""
    held = Held()
    with ToolHost(parley.url, {"a": held.tool}) as host:
        told: list[str] = []
        agent = Agent(f"{quick}/mcp/{host.code}", Accept="application/json")
        calling = threading.Thread(target=lambda: told.append(agent.failed("a")))
        calling.start()
        wait_until(lambda: len(host.asked) == 1)
        host.close()
        calling.join(20)
        assert told[0].startswith("No host listens")
        held.go.set()


def test_host_that_comes_back(parley: Parley, quick: str) -> None:
    """A page that is loaded again under a call: it gets the request once more, and the call is answered."""
    held = Held()
    session = parley.create()
    with ToolHost(parley.url, {"a": held.tool}, session=session) as host:
        answers: list[Any] = []
        agent = Agent(f"{quick}/mcp/{host.code}", Accept="application/json")
        calling = threading.Thread(target=lambda: answers.append(agent.call("a")))
        calling.start()
        wait_until(lambda: len(host.asked) == 1)
        host.close()
        with ToolHost(parley.url, {"a": Tool(lambda _: "again")}, session=session) as other:
            calling.join(20)
            assert answers[0]["content"] == [{"type": "text", "text": "again"}]
            assert other.asked == host.asked
        held.go.set()


@pytest.mark.parametrize("end", ["ended", "expired"])
def test_session_that_ends_meanwhile(parley: Parley, quick: str, end: str) -> None:
    held = Held()
    with ToolHost(parley.url, {"a": held.tool, "b": Tool(lambda _: 1)}) as host:
        told: list[Any] = []
        agent = Agent(f"{quick}/mcp/{host.code}")
        agent.call("b")  # so that the instance subscribes: the next call looks for its answer only once
        if end == "expired":
            parley.store.db.pexpire(f"{parley.store.prefix}session:{host.code}", 1500)
        calling = threading.Thread(target=lambda: told.extend(streamed(agent, held, 99)))
        calling.start()
        wait_until(lambda: len(host.asked) == 2)
        time.sleep(1.5 * TICK)  # until the answer is a stream
        before = parley.store.faults.calls
        if end == "ended":
            httpx.delete(host.url, headers=host.headers)
        calling.join(20)
        expected = {"ended": "The session has ended.", "expired": "No such session."}[end]
        assert told[-1]["result"]["content"][0]["text"].startswith(expected)
        assert parley.store.faults.calls - before <= 3, "the end, the stream's look and this one's; no withdrawal"
        held.go.set()


@pytest.mark.parametrize("accept", ["application/json", "application/json, text/event-stream"])
@pytest.mark.parametrize("way", ["withdrawn", "expired"])
def test_request_that_is_gone_before_its_answer(
    parley: Parley, quick: str, monkeypatch: pytest.MonkeyPatch, accept: str, way: str
) -> None:
    """The client has not cancelled the call, and waits for a response to it."""
    held = Held()
    with ToolHost(parley.url, {"a": held.tool, "b": Tool(lambda _: 1)}) as host:
        agent = Agent(f"{quick}/mcp/{host.code}", "2025-11-25", Accept=accept, **{"Mcp-Session-Id": "s"})
        agent.call("b")
        answers: list[httpx.Response] = []
        calling = threading.Thread(target=lambda: answers.append(agent.send("tools/call", {"name": "a"})))
        calling.start()
        wait_until(lambda: len(host.asked) == 2)
        if way == "withdrawn":
            assert httpx.delete(f"{host.url}/requests/{host.asked[1]['id']}").status_code == 204
        else:
            monkeypatch.setenv("MESSAGE_TTL_SECONDS", "1")
            url = f"{quick}/api/sessions/{host.code}/requests"
            wait_until(lambda: httpx.get(url, headers=host.headers).json()["requests"] == [])
        calling.join(PATIENCE_SECONDS)
        held.go.set()
        (answer,) = answers
        if answer.headers["content-type"] == "text/event-stream":
            *_, last = (part_of(event) for event in answer.text.removesuffix("\n\n").split("\n\n"))
        else:
            last = answer.json()
        result = last["result"]
        assert result["isError"] is True
        assert result["content"][0]["text"].startswith("The request was withdrawn before the host answered.")


def test_client_that_hangs_up(parley: Parley, quick: str) -> None:
    """Its stream has begun. The host is told within a second, and nothing is left."""
    held = Held()
    with ToolHost(parley.url, {"a": held.tool}) as host:
        agent = Agent(f"{quick}/mcp/{host.code}")
        message = agent.message("tools/call", {"name": "a"})
        with httpx.stream("POST", agent.url, json=message, headers=agent.headers_of(message), timeout=20) as answer:
            assert next(answer.iter_bytes()) == b":\n\n"
        left = time.monotonic()
        wait_until(lambda: len(host.withdrawn) == 1)
        assert time.monotonic() - left < 1
        assert parley.store.db.xlen(f"{parley.store.prefix}req:{host.code}") == 0
        held.go.set()


def test_post_whose_answer_is_lost(parley: Parley, quick: str) -> None:
    """The store has the request, and nobody waits for it: it is withdrawn."""
    pair = Pair(parley)
    agent = Agent(f"{quick}/mcp/{pair.code}", Accept="application/json")
    agent.failed("a")  # so that the process subscribes
    parley.store.faults.fail("lost", times=2)
    assert agent.failed("a") == "The store does not answer. Try again in a few seconds."
    assert pair.unanswered().json()["requests"] == []


def test_store_that_fails_for_a_moment(parley: Parley, quick: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host has answered, with more than a message takes: the answer is looked for again."""
    monkeypatch.setattr(long_poll, "_RETRY_SECONDS", TICK)
    held = Held("x" * 10_000)
    with ToolHost(parley.url, {"a": held.tool, "b": Tool(lambda _: 1)}) as host:
        results: list[Any] = []
        agent = Agent(f"{quick}/mcp/{host.code}", Accept="application/json")
        agent.call("b")
        calling = threading.Thread(target=lambda: results.append(agent.call("a")))
        calling.start()
        wait_until(lambda: len(host.asked) == 2)
        before = parley.store.faults.calls
        parley.store.faults.fail_after(1, "html")
        held.go.set()
        wait_until(lambda: parley.store.faults.calls >= before + 5)  # the answer, and two looks, each tried twice
        parley.store.faults.heal()
        calling.join(PATIENCE_SECONDS)
        (result,) = results
        assert (result["isError"], result["content"]) == (False, [{"type": "text", "text": "x" * 10_000}])


def test_store_that_fails_while_a_call_waits(parley: Parley, quick: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too large for a message has to be looked for. If that fails for 15 seconds, the model reads why."""
    assert long_poll._STORE_RETURNS_SECONDS == 15
    monkeypatch.setattr(long_poll, "_STORE_RETURNS_SECONDS", 3 * TICK)
    monkeypatch.setattr(long_poll, "_RETRY_SECONDS", TICK)
    held = Held("x" * 10_000)
    with ToolHost(parley.url, {"a": held.tool, "b": Tool(lambda _: 1)}) as host:
        told: list[str] = []
        agent = Agent(f"{quick}/mcp/{host.code}", Accept="application/json")
        agent.call("b")  # as above
        calling = threading.Thread(target=lambda: told.append(agent.failed("a")))
        calling.start()
        wait_until(lambda: len(host.asked) == 2)
        parley.store.faults.fail_after(1, "html")  # the answer itself comes through
        held.go.set()
        calling.join(PATIENCE_SECONDS)
        parley.store.faults.heal()
        assert told == ["The store does not answer. Try again in a few seconds."]
