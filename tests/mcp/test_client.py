"""The official client of MCP for Python, in both eras: it finds the tools, calls them, and understands what it gets."""

import asyncio
import base64
import json
import os
from collections.abc import Coroutine, Iterator
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ToolsListChanged
from mcp_types import CallToolResult, ImageContent, TextContent, ToolListChangedNotification

from tests.support.deployments import Parley
from tests.support.functions import quick_mcp
from tests.support.toolhosts import Held, Refused, Tool, ToolHost
from tests.support.tools import PATIENCE_SECONDS, wait_until

type Report = tuple[float, float | None, str | None]

TICK = 0.2
PIXEL = base64.b64encode(b"no picture, but bytes").decode()
REPORTS: list[Report] = [(1, 10, "rows"), (2.5, 10, "rows of Zoë"), (10, 10, "rows")]
SUM = {"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]}
NUMBERS = {"type": "array", "items": {"type": "number"}}


def refuse(_: Any) -> Any:
    raise Refused({"code": "no", "message": "I do not want to"})


TOOLS = {
    "add": Tool(
        lambda given: {"sum": given["a"] + given["b"]},
        {"title": "Add", "description": "Adds.", "inputSchema": {"type": "object"}, "outputSchema": SUM},
    ),
    "count": Tool(lambda given: list(range(given["to"])), {"outputSchema": NUMBERS}),
    "picture": Tool(lambda _: {"content": [{"type": "image", "data": PIXEL, "mimeType": "image/png"}]}),
    "hello": Tool(lambda given: f"Hello, {given['name']}!", {"annotations": {"readOnlyHint": True}}),
    "refuse": Tool(refuse),
    "fail": Tool(lambda _: {"content": [{"type": "text", "text": "It broke."}], "isError": True}),
}

type Run = Coroutine[Any, Any, None]


@pytest.fixture
def quick(parley: Parley, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the function in this process, on the same store, where five seconds are 0.2."""
    with quick_mcp(parley.store, monkeypatch, TICK) as url:
        yield url


@pytest.fixture(params=["auto", "legacy"])
def mode(request: pytest.FixtureRequest) -> str:
    """Give both eras, as the client calls them."""
    return str(request.param)


def run(test: Run) -> None:
    asyncio.run(test)


def told(result: CallToolResult) -> str:
    """Return the one text of a result."""
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


def test_session(parley: Parley, mode: str) -> None:
    async def test() -> None:
        async with Client(host.mcp_url, mode=mode) as client:
            assert client.protocol_version == {"auto": "2026-07-28", "legacy": "2025-11-25"}[mode]
            assert client.server_info
            assert client.server_info.name == "parley"
            assert client.server_capabilities.tools is not None
            listed = (await client.list_tools()).tools
            assert [tool.name for tool in listed] == list(TOOLS)
            assert listed[0].title == "Add"
            assert listed[3].annotations
            assert listed[3].annotations.read_only_hint is True
            added = await client.call_tool("add", {"a": 1, "b": 2})
            assert (added.structured_content, json.loads(told(added))) == ({"sum": 3}, {"sum": 3})
            counted = await client.call_tool("count", {"to": 3})
            assert (counted.structured_content, told(counted)) == ([0, 1, 2] if mode == "auto" else None, "[0, 1, 2]")
            (picture,) = (await client.call_tool("picture")).content
            assert isinstance(picture, ImageContent)
            assert (picture.data, picture.mime_type) == (PIXEL, "image/png")
            assert told(await client.call_tool("hello", {"name": "Zoë 😀"})) == "Hello, Zoë 😀!"

    with ToolHost(parley.url, TOOLS) as host:
        run(test())


def test_failures(parley: Parley, mode: str) -> None:
    async def test() -> None:
        async with Client(host.mcp_url, mode=mode) as client:
            for name, expected in (("refuse", "I do not want to"), ("fail", "It broke.")):
                failed = await client.call_tool(name)
                assert (failed.is_error, told(failed)) == (True, expected)
            with pytest.raises(MCPError) as caught:
                await client.call_tool("no-such-tool")
            assert caught.value.error.code == -32602

    with ToolHost(parley.url, TOOLS) as host:
        run(test())


def test_fixed_url_and_two_sessions(parley: Parley, mode: str) -> None:
    """One connection, to which the codes come later."""

    async def test() -> None:
        async with Client(f"{parley.url}/mcp", mode=mode) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            assert names == ["list_tools", "call_tool", "send_request"]
            for host, tools in ((first, ["add"]), (second, ["hello", "picture"])):
                listed = await client.call_tool("list_tools", {"code": host.code})
                assert isinstance(listed.structured_content, dict)
                assert [tool["name"] for tool in listed.structured_content["tools"]] == tools
            call = {"code": first.code, "name": "add", "arguments": {"a": 2, "b": 2}}
            assert (await client.call_tool("call_tool", call)).structured_content == {"sum": 4}
            call = {"code": second.code.lower(), "name": "hello", "arguments": {"name": "you"}}
            assert told(await client.call_tool("call_tool", call)) == "Hello, you!"
            sent = await client.call_tool("send_request", {"code": second.code, "payload": [1]})
            assert sent.structured_content == {"got": [1]}
            failed = await client.call_tool("call_tool", {"code": first.code, "name": "hello"})
            assert (failed.is_error, told(failed).endswith("Its tools are: add.")) == (True, True)

    with (
        ToolHost(parley.url, {"add": TOOLS["add"]}) as first,
        ToolHost(parley.url, {name: TOOLS[name] for name in ("hello", "picture")}, lambda got: {"got": got}) as second,
    ):
        run(test())


def test_code_that_has_expired(parley: Parley, mode: str) -> None:
    """The client connects all the same, and its model is told what to do."""

    async def test() -> None:
        async with Client(url, mode=mode) as client:
            with pytest.raises(MCPError, match="No such session") as caught:
                await client.list_tools()
            assert caught.value.error.code == 404
            failed = await client.call_tool("add")
            assert (failed.is_error, told(failed).startswith("No such session. Check the code")) == (True, True)

    code = parley.create()["code"]
    parley.store.db.delete(f"{parley.store.prefix}session:{code}")
    url = f"{parley.url}/mcp/{code}"
    run(test())


def test_page_that_is_closed(parley: Parley, quick: str, mode: str) -> None:
    async def test() -> None:
        async with Client(f"{quick}/mcp/{host.code}", mode=mode) as client:
            assert len((await client.list_tools()).tools) == len(TOOLS)
            failed = await client.call_tool("add", {"a": 1, "b": 2})
            assert (failed.is_error, told(failed).startswith("No host listens")) == (True, True)

    with ToolHost(parley.url, TOOLS) as host:
        host.close()
        run(test())


def test_tool_that_takes_its_time(parley: Parley, quick: str, mode: str) -> None:
    """The stream that it is answered with brings progress, and then the result."""
    held = Held("done")
    seen: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)
        assert (total, message) == (None, "Waiting for the host")
        if len(seen) == 3:
            held.go.set()

    async def test() -> None:
        async with Client(f"{quick}/mcp/{host.code}", mode=mode) as client:
            result = await client.call_tool("slow", progress_callback=note)
            assert told(result) == "done"
        assert seen == sorted(set(seen))

    with ToolHost(parley.url, {"slow": held.tool}) as host:
        run(test())


@pytest.mark.parametrize("path", ["/mcp/{code}", "/mcp"])
def test_reports_of_progress(parley: Parley, mode: str, path: str) -> None:
    """The client has each report before the host sends the next, with its total and its message."""
    held = Held("done")
    seen: list[Report] = []

    def report_next() -> None:
        wait_until(lambda: len(host.asked) == 1)
        reported = [report for report in seen if report in REPORTS]
        if reported == REPORTS:
            held.go.set()
            return
        progress, total, message = REPORTS[len(reported)]
        assert host.report(host.asked[0]["id"], progress, total=total, message=message).status_code == 204

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))
        if seen[-1] in REPORTS:  # not a beat of the relay's, which comes if the machine is busy
            await anyio.to_thread.run_sync(report_next)

    async def test() -> None:
        name, arguments = ("slow", {}) if "{" in path else ("call_tool", {"code": host.code, "name": "slow"})
        async with (
            Client(f"{parley.url}{path.format(code=host.code)}", mode=mode) as client,
            anyio.create_task_group() as both,
        ):
            both.start_soon(anyio.to_thread.run_sync, report_next)
            assert told(await client.call_tool(name, arguments, progress_callback=note)) == "done"
        assert [report for report in seen if report in REPORTS] == REPORTS
        numbers = [progress for progress, _, _ in seen]
        assert numbers == sorted(set(numbers))

    with ToolHost(parley.url, {"slow": held.tool}) as host:
        run(test())


def test_list_that_changes(parley: Parley, mode: str) -> None:
    """A client that listens is notified of a new tool, and finds it in the list."""
    changed = anyio.Event()

    async def note(message: object) -> None:
        if isinstance(message, ToolListChangedNotification):
            changed.set()

    def has_listener() -> bool:
        listeners = parley.store.db.hget(f"{parley.store.prefix}res:{host.code}", "~listeners")
        return " guest " in (listeners or "")

    async def listen(client: Client, listens: anyio.Event) -> None:
        async with client.listen(tools_list_changed=True) as subscription:
            listens.set()
            async for event in subscription:
                assert isinstance(event, ToolsListChanged)
                changed.set()
                return

    async def test() -> None:
        async with Client(host.mcp_url, mode=mode, message_handler=note) as client, anyio.create_task_group() as both:
            assert len((await client.list_tools()).tools) == 1
            if mode == "auto":
                listens = anyio.Event()
                both.start_soon(listen, client, listens)
                await listens.wait()
            else:
                await anyio.to_thread.run_sync(lambda: wait_until(has_listener))
            host.tools["hello"] = TOOLS["hello"]
            await anyio.to_thread.run_sync(host.register)
            with anyio.fail_after(PATIENCE_SECONDS):
                await changed.wait()
            assert [tool.name for tool in (await client.list_tools()).tools] == ["add", "hello"]

    with ToolHost(parley.url, {"add": TOOLS["add"]}) as host:
        run(test())


@pytest.mark.parametrize("size", [300_000, 900_000])
def test_large_images(parley: Parley, mode: str, size: int) -> None:
    """Screenshots and plots arrive to the letter, as base64 of so many bytes."""
    data = base64.b64encode(os.urandom(size * 3 // 4)).decode()
    picture = Tool(lambda _: {"content": [{"type": "image", "data": data, "mimeType": "image/png"}]})

    async def test() -> None:
        async with Client(host.mcp_url, mode=mode) as client:
            (block,) = (await client.call_tool("picture")).content
            assert isinstance(block, ImageContent)
            assert (len(block.data), block.data) == (size, data)

    with ToolHost(parley.url, {"picture": picture}) as host:
        run(test())


@pytest.mark.parametrize("streaming", [False, True], ids=["before the stream", "in the stream"])
def test_call_that_is_cancelled(parley: Parley, quick: str, mode: str, *, streaming: bool) -> None:
    """The host hears of it at once, also from a client of the legacy era, which keeps its connection."""
    held = Held()

    in_stream = anyio.Event()

    async def note(progress: float, total: float | None, message: str | None) -> None:
        in_stream.set()

    async def cancel(calling: anyio.CancelScope) -> None:
        if streaming:
            await in_stream.wait()
        else:
            await anyio.to_thread.run_sync(lambda: wait_until(lambda: len(host.asked) == 1))
        calling.cancel()

    async def test() -> None:
        url = f"{quick}/mcp/{host.code}" if streaming else host.mcp_url
        async with Client(url, mode=mode) as client:
            async with anyio.create_task_group() as both:
                both.start_soon(cancel, both.cancel_scope)
                await client.call_tool("slow", progress_callback=note if streaming else None)
            assert both.cancel_scope.cancelled_caught
            await anyio.to_thread.run_sync(lambda: wait_until(lambda: len(host.withdrawn) == 1))

    with ToolHost(parley.url, {"slow": held.tool}) as host:
        run(test())
        assert host.withdrawn == [request["id"] for request in host.asked]
        held.go.set()
