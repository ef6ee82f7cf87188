"""An agent with the official MCP client, and the tools of pages in a real Chromium."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

import pytest
from mcp import Client, MCPError
from mcp.types import CallToolResult
from playwright.sync_api import Page

from tests.browser.conftest import Beside, Window, until
from tests.browser.test_tools import offer
from tests.support.deployments import Parley, running_site
from tests.support.tools import long, wait_until

type Work[T] = Callable[[Client], Awaitable[T]]
type Agent = Callable[..., Future[Any]]

# A tool that takes a while, or until it is told to stop.
SLOW = """session.registerTool({
  name: "slow",
  execute: ({ seconds }, { signal }) => new Promise((resolve, reject) => {
    window.signal = signal;
    setTimeout(() => resolve(`took ${seconds} s`), seconds * 1000);
    signal.addEventListener("abort", () => reject(signal.reason));
  }),
})"""


@pytest.fixture
def agent(beside: Beside) -> Agent:
    """Give what lets an agent work with a server, in a thread of its own: Playwright's loop has the test's."""

    def start[T](url: str, work: Work[T], mode: str = "auto") -> Future[T]:
        async def run() -> T:
            async with Client(url, mode=mode) as client:
                return await work(client)

        return beside(asyncio.run, run())

    return start


def calls(*names_and_arguments: tuple[str, dict[str, Any]]) -> Work[list[CallToolResult]]:
    async def work(client: Client) -> list[CallToolResult]:
        return [await client.call_tool(name, arguments) for name, arguments in names_and_arguments]

    return work


def text_of(result: CallToolResult) -> str:
    block = result.content[0]
    assert block.type == "text"
    return block.text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_list_and_call(tab: Page, site: Parley, agent: Agent, mode: str) -> None:
    schema = {"type": "object", "properties": {"what": {"type": "string"}}}
    offer(tab, {"name": "give", "title": "Give", "inputSchema": schema, "annotations": {"readOnlyHint": True}}, "echo")
    url = tab.evaluate("session.mcpUrl")

    async def look(client: Client) -> list[Any]:
        return [client.protocol_version, *(await client.list_tools()).tools]

    version, give, echo = agent(url, look, mode).result()
    assert version == ("2026-07-28" if mode == "auto" else "2025-11-25")
    assert (give.name, give.title, give.description, give.input_schema) == ("give", "Give", "The tool give.", schema)
    assert give.annotations.read_only_hint
    assert (echo.name, echo.input_schema) == ("echo", {"type": "object"})
    kinds = ("text", "object", "result", "nothing", "failure", "throwError", "cyclic")
    results = agent(url, calls(*(("give", {"what": what}) for what in kinds)), mode).result()
    text, structured, image, nothing, failure, thrown, cyclic = results
    assert (text_of(text), text.structured_content, text.is_error) == ("a text", None, False)
    assert (text_of(structured), structured.structured_content) == ('{"sum":3}', {"sum": 3})
    assert [block.type for block in image.content] == ["text", "image"]
    assert (image.content[1].data, image.content[1].mime_type) == ("AAAA", "image/png")
    assert image.structured_content == {"sum": 3}
    assert text_of(nothing) == ""
    assert (text_of(failure), failure.is_error) == ("no", True)
    assert (text_of(thrown), thrown.is_error) == ("no way", True)
    assert cyclic.is_error

    async def call_another(client: Client) -> None:
        with pytest.raises(MCPError, match="There is no tool other"):
            await client.call_tool("other", {})

    agent(url, call_another, mode).result()


@pytest.mark.long
def test_slow_tool(tab: Page, agent: Agent) -> None:
    """It takes longer than a client would wait in silence, which gets progress."""
    offer(tab)
    tab.evaluate(SLOW)
    heard: list[tuple[float, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, message))

    async def work(client: Client) -> CallToolResult:
        return await client.call_tool("slow", {"seconds": 20}, progress_callback=note)

    began = time.monotonic()
    result = agent(tab.evaluate("session.mcpUrl"), work).result()
    assert text_of(result) == "took 20 s"
    assert 20 <= time.monotonic() - began < 26
    assert heard[0][1] == "Waiting for the host"
    assert tab.evaluate("signal.aborted") is False


@pytest.mark.parametrize("mode", ["auto", long("legacy")])
def test_cancelled_call(tab: Page, agent: Agent, mode: str) -> None:
    """The agent hangs up, whether the answer is a stream already or not, and the tool is told to stop."""
    offer(tab)
    tab.evaluate(SLOW)
    for wait in (0.5, 6):

        async def work(client: Client, wait: float = wait) -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(wait):
                    await client.call_tool("slow", {"seconds": 60})

        tab.evaluate("window.signal = undefined")
        agent(tab.evaluate("session.mcpUrl"), work, mode).result()
        until(tab, "signal?.aborted")
        assert tab.evaluate("signal.reason.code") == "withdrawn"


def test_two_tabs_over_the_fixed_url(window: Window, tab: Page, site: Parley, agent: Agent) -> None:
    """An agent that is set up once chooses by code."""
    other = window.open(tab.url)
    codes = [offer(tab, "echo", "hold"), offer(other, "echo")]

    async def work(client: Client) -> list[CallToolResult]:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["list_tools", "call_tool", "send_request"]
        listed = [await client.call_tool("list_tools", {"code": code}) for code in codes]
        called = [
            await client.call_tool("call_tool", {"code": code, "name": "echo", "arguments": {"to": code}})
            for code in codes
        ]
        return [*listed, *called]

    *listed, first, second = agent(f"{site.url}/mcp", work).result()
    names = [[tool["name"] for tool in one.structured_content["tools"]] for one in listed]
    assert names == [["echo", "hold"], ["echo"]]
    assert [first.structured_content, second.structured_content] == [{"to": code} for code in codes]
    for page, code in zip([tab, other], codes, strict=True):
        assert [args for _, args, _ in page.evaluate("ran")] == [{"to": code}]


@pytest.mark.long
def test_code_that_has_expired(window: Window, agent: Agent) -> None:
    with running_site(SESSION_TTL_SECONDS="2", SESSION_MAX_SECONDS="2") as site:
        tab = window.open(f"{site.url}/problems.html")
        offer(tab, "echo")
        url = tab.evaluate("session.mcpUrl")
        until(tab, "session.state === 'ended'")

        async def look(client: Client) -> None:
            with pytest.raises(MCPError, match="ask the host for a new one") as refused:
                await client.list_tools()
            assert refused.value.code == 404

        agent(url, look).result()
        (result,) = agent(url, calls(("echo", {}))).result()
        assert result.is_error
        assert "ask the host for a new one" in text_of(result)
        tab.close()
    window.forgive_the_network()


@pytest.mark.long
def test_page_that_is_closed(tab: Page, site: Parley, agent: Agent) -> None:
    """The agent is told what its user can do about it."""
    code = offer(tab, "echo")
    url = tab.evaluate("session.mcpUrl")
    lines = len(site.lines)
    tab.close()
    wait_until(lambda: any("clientGone" in line and "/stream" in line for line in site.lines[lines:]))
    site.store.db.hdel(f"{site.store.prefix}res:{code}", "~listeners")  # as if a minute had passed
    began = time.monotonic()
    (result,) = agent(url, calls(("echo", {}))).result()
    assert result.is_error
    assert "the page or program that showed this code is closed or offline" in text_of(result)
    assert 9 < time.monotonic() - began < 15


def test_reload_in_the_middle_of_a_call(tab: Page, agent: Agent) -> None:
    """The agent is told, and its next call is answered by the page as it is then."""
    code = offer(tab, "hold")
    url = tab.evaluate("session.mcpUrl")
    held = agent(url, calls(("hold", {})))
    until(tab, "held.size === 1")
    tab.reload()
    assert offer(tab, "hold", "echo") == code
    (result,) = held.result()
    assert result.is_error
    assert text_of(result) == "The host was reloaded while it worked on this request."
    assert tab.evaluate("ran") == []
    (result,) = agent(url, calls(("echo", {"a": 1}))).result()
    assert result.structured_content == {"a": 1}


def test_call_while_the_page_reloads(tab: Page, site: Parley, agent: Agent) -> None:
    offer(tab, "echo")
    url = tab.evaluate("session.mcpUrl")
    tab.goto("about:blank")
    called = agent(url, calls(("echo", {"a": 1})))
    tab.goto(f"{site.url}/problems.html")
    offer(tab, "echo")
    (result,) = called.result()
    assert result.structured_content == {"a": 1}


def test_tools_that_change(tab: Page, agent: Agent) -> None:
    offer(tab, "one")

    async def look(client: Client) -> list[str]:
        return [tool.name for tool in (await client.list_tools()).tools]

    url = tab.evaluate("session.mcpUrl")
    assert agent(url, look).result() == ["one"]
    tab.evaluate("session.registerTool(make('two'))")
    assert agent(url, look).result() == ["one", "two"]
