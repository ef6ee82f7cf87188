"""Messages of 1 MiB, and of 4 MiB if that is set, pass every way; one byte more is refused everywhere."""

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from dev.events import events_of
from dev.local import environment
from tests.support.agents import VERSIONS, Agent
from tests.support.deployments import Pair, Parley, refusal, running_parley
from tests.support.stores import running_store
from tests.support.toolhosts import Tool, ToolHost
from tests.support.tools import PATIENCE_SECONDS

pytestmark = pytest.mark.long

MIB = 1024 * 1024


@pytest.fixture(scope="module", params=[1, 4])
def sized(request: pytest.FixtureRequest) -> Iterator[tuple[Parley, int]]:
    """Give a deployment, and how many bytes its messages may have."""
    limit = request.param * MIB
    variables = {**environment.UNLIMITED, "SESSION_BYTES": str(64 * MIB)}
    if limit != MIB:
        variables["MAX_PAYLOAD_BYTES"] = str(limit)
    with running_store(None) as store, running_parley(store, **variables) as parley:
        yield parley, limit


def largest(limit: int, more: int = 0) -> str:
    """Return a JSON string of so many bytes, with a character of four bytes in it."""
    return '"😀' + "x" * (limit - 6 + more) + '"'


def test_round_trip(sized: tuple[Parley, int]) -> None:
    """Pushed to a stream, answered, and read by a guest that waits."""
    parley, limit = sized
    pair, text = Pair(parley), largest(limit)
    answers: list[httpx.Response] = []
    with parley.http.stream("GET", f"{pair.url}/stream", headers=pair.host) as stream:
        events = events_of(stream.iter_bytes())
        assert next(events).name == "open"
        asking = threading.Thread(target=lambda: answers.append(pair.post(text, "q", "?wait=50")))
        asking.start()
        assert (event := next(events)).name == "request"
        assert f'"payload":{text}' in event.text
        assert pair.answer("q", text).status_code == 201
        asking.join(PATIENCE_SECONDS)
    assert answers[0].status_code == 200
    assert f'"result":{text}' in answers[0].text
    for answer in (pair.post(largest(limit, 1), "r"), pair.answer("q", largest(limit, 1))):
        assert refusal(answer) == (413, "payload_too_large")
        assert str(limit) in answer.json()["detail"]


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[1]])
def test_tool_call(sized: tuple[Parley, int], version: str) -> None:
    """Arguments and results. Over the limit a model is told, in a result."""
    parley, limit = sized
    room = limit - 200  # for what is around the arguments in the request to the host
    sizes: list[int] = []

    def execute(given: Any) -> Any:
        sizes.append(len(given["x"]))
        return {"content": [{"type": "image", "data": "A" * (room - 100), "mimeType": "image/png"}]}

    with ToolHost(parley.url, {"a": Tool(execute)}) as host:
        for agent, name, arguments in (
            (Agent(host.mcp_url, version), "a", {"x": "y" * room}),
            (
                Agent(f"{parley.url}/mcp", version),
                "call_tool",
                {"code": host.code, "name": "a", "arguments": {"x": "y" * room}},
            ),
        ):
            (block,) = agent.call(name, arguments)["content"]
            assert len(block["data"]) == room - 100
        assert sizes == [room] * 2
        told = Agent(host.mcp_url, version).failed("a", {"x": "y" * limit})
        assert told.startswith("The message is too large.")
        assert f"at most {limit} bytes" in told
        assert len(sizes) == 2
