"""An agent with the official MCP client, and the functions of a file that `python relay.py host` offers."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from mcp import Client
from mcp.types import CallToolResult

from tests.clients.conftest import Served, serving
from tests.support.deployments import Parley
from tests.support.tools import wait_until

MODES = ("auto", "legacy")


@pytest.fixture(scope="module")
def served(any_site: Parley) -> Iterator[Served]:
    with serving(any_site) as running:
        yield running


def with_client[T](served: Served, mode: str, work: Callable[[Client], Awaitable[T]]) -> T:
    """Let a client of the session's MCP server work."""
    url = served.output.read_text("utf-8").splitlines()[1]

    async def run() -> T:
        async with Client(url, mode=mode) as client:
            return await work(client)

    return asyncio.run(run())


def call(served: Served, mode: str, tool: str, /, **arguments: Any) -> CallToolResult:
    return with_client(served, mode, lambda client: client.call_tool(tool, arguments))


def text_of(result: CallToolResult) -> str:
    block = result.content[0]
    assert block.type == "text"
    return block.text


@pytest.mark.parametrize("mode", MODES)
def test_list(served: Served, mode: str) -> None:
    async def look(client: Client) -> list[Any]:
        return [client.protocol_version, *(await client.list_tools()).tools]

    version, add, *_, picture = with_client(served, mode, look)
    assert version == ("2026-07-28" if mode == "auto" else "2025-11-25")
    assert (add.name, add.description) == ("add", "Add two numbers.")
    assert add.input_schema["properties"]["b"] == {
        "type": "integer",
        "description": "The second one.",
        "default": 10,
    }
    assert picture.name == "picture"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("add", {"a": 1, "b": 2}, "3"),
        ("add", {"a": 1}, "11"),
        ("total", {"values": [1, 2.5]}, "3.5"),
        ("greet", {"name": "you", "loud": True}, "HELLO YOU"),
        ("later", {"text": "ü"}, "ü"),
        ("day", {}, "2026-11-24"),
    ],
)
def test_call(served: Served, mode: str, name: str, arguments: dict[str, Any], text: str) -> None:
    result = call(served, mode, name, **arguments)
    assert (text_of(result), result.is_error) == (text, False)


@pytest.mark.parametrize("mode", MODES)
def test_dataclass(served: Served, mode: str) -> None:
    moved = {"latitude": 1.5, "longitude": 2.0, "name": "here"}
    result = call(served, mode, "move", place=moved, north=1)
    assert result.structured_content == moved | {"latitude": 2.5}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("add", {"a": "x"}, 'The arguments do not fit: a must be of the type integer, not "x".'),
        ("move", {"place": {"latitude": 1}, "north": 1}, "The arguments do not fit: place.longitude is missing."),
        ("fail", {"why": "gone"}, "LookupError: gone"),
    ],
)
def test_failure(served: Served, mode: str, name: str, arguments: dict[str, Any], text: str) -> None:
    result = call(served, mode, name, **arguments)
    assert (text_of(result), result.is_error) == (text, True)


def test_image(served: Served) -> None:
    block = call(served, "auto", "picture").content[0]
    assert block.type == "image"
    assert (block.data, block.mime_type) == ("AAAA", "image/png")


def test_what_is_printed_is_no_result(served: Served) -> None:
    assert text_of(call(served, "auto", "add", a=41, b=1)) == "42"
    wait_until(lambda: "adding 41 1\n" in served.errors.read_text("utf-8"))
    assert served.output.read_text("utf-8").count("\n") == 2


@pytest.mark.long
def test_call_that_takes_long(served: Served) -> None:
    """Longer than the relay answers with plain JSON, and than the first keep-alive comment."""
    begun = time.monotonic()
    result = call(served, "auto", "sleep", seconds=16)
    assert text_of(result) == "slept 16 s"
    assert 16 <= time.monotonic() - begun < 21


def test_calls_run_beside_each_other(served: Served) -> None:
    async def call_eight(client: Client) -> list[CallToolResult]:
        names = ["sleep"] * 4 + ["work"] * 4
        return await asyncio.gather(*(client.call_tool(name, {"seconds": 2}) for name in names))

    begun = time.monotonic()
    assert len(with_client(served, "auto", call_eight)) == 8
    assert time.monotonic() - begun < 6


def test_agent_that_hangs_up(served: Served) -> None:
    """The function is told."""
    before = served.errors.read_text("utf-8").count("stopped\n")

    async def give_up(client: Client) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.call_tool("work", {"seconds": 60}), 1)

    with_client(served, "auto", give_up)
    wait_until(lambda: served.errors.read_text("utf-8").count("stopped\n") > before, 30)
