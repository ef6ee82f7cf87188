"""public/index.html: connecting an agent, and what it asks, in a real Chromium."""

import asyncio
import base64
import io
import json
import re
import tomllib
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
import zxingcpp
from mcp import Client
from mcp.types import CallToolResult
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Beside, Window
from tests.browser.test_page import LOOKS, clipboard, end_session, in_each_look, open_host, tab_to
from tests.browser.test_tools import call
from tests.support.deployments import Parley


def pasted(page: Page, name: str) -> str:
    """Copy what is to be pasted for a client."""
    page.locator("summary").get_by_text(name, exact=True).click()
    button = page.locator("details[open]").get_by_role("button")
    button.click()
    expect(button).to_have_text("Copied")
    expect(page.locator("details[open]")).to_have_count(1)
    return clipboard(page)


def ask_person(url: str, question: str, **more: Any) -> CallToolResult:
    async def run() -> CallToolResult:
        async with Client(url) as client:
            return await client.call_tool("ask_person", {"question": question, **more})

    return asyncio.run(run())


def test_what_to_paste(window: Window, site: Parley) -> None:
    """For the session, and once for every session."""
    window.context.grant_permissions(["clipboard-read", "clipboard-write"])
    host, code = open_host(window, site)
    for label, url in [("For this session", f"{site.url}/mcp/{code}"), ("Once, for every session", f"{site.url}/mcp")]:
        host.get_by_label(label).check()
        host.get_by_role("button", name="Copy URL").click()
        expect(host.locator("#copy-mcp-url")).to_have_text("Copied")
        assert clipboard(host) == url
        assert pasted(host, "Claude") == url
        assert pasted(host, "Claude Code") == f"claude mcp add --transport http parley {url}"
        server = tomllib.loads(pasted(host, "Codex"))["mcp_servers"]["parley"]
        assert server == {"url": url, "tool_timeout_sec": 300}
        assert json.loads(pasted(host, "Cursor")) == {"mcpServers": {"parley": {"url": url}}}
        assert json.loads(pasted(host, "VS Code")) == {"servers": {"parley": {"type": "http", "url": url}}}
        assert f"/api/sessions/{code}/requests" in pasted(host, "Without MCP: curl")
        host.locator("details[open] summary").click()


def test_tools_are_listed(window: Window, site: Parley) -> None:
    host, code = open_host(window, site)
    expect(host.locator("#tools li")).to_have_count(1)
    expect(host.locator("#tools")).to_contain_text("ask_person: Asks the person at this page a question")
    (tool,) = site.http.get(f"/api/sessions/{code}/tools").json()["tools"]
    assert tool["inputSchema"]["required"] == ["question"]


def test_an_agent_asks(window: Window, site: Parley, beside: Beside) -> None:
    """The question is shown, not the request that it came in. The answer goes back as it was typed."""
    host, code = open_host(window, site)
    asked = beside(ask_person, f"{site.url}/mcp/{code}", "How many?")
    entry = host.locator("#requests li")
    expect(entry.get_by_role("heading")).to_have_text("Call 1: ask_person")
    expect(entry.locator(".payload")).to_have_text("How many?")
    expect(entry.get_by_text("JSON goes as JSON")).to_be_hidden()
    expect(host.locator("#announcer")).to_have_text("Call 1: ask_person: How many?")
    host.get_by_label("Answer", exact=True).fill("42")
    host.get_by_role("button", name="Send answer").click()
    result = asked.result()
    assert (result.content[0].text, result.structured_content, result.is_error) == ("42", None, False)
    expect(host.locator("#answered .outcome")).to_have_text("Answered")


@pytest.mark.parametrize("text", ["not my business", ""])
def test_the_person_refuses(window: Window, site: Parley, beside: Beside, text: str) -> None:
    host, code = open_host(window, site)
    asked = beside(ask_person, f"{site.url}/mcp/{code}", "How old?")
    host.get_by_label("Answer", exact=True).fill(text)
    host.get_by_role("button", name="Send as error").click()
    result = asked.result()
    assert result.is_error
    assert result.content[0].text == (text or "The person does not answer.")


def test_the_agent_hangs_up(window: Window, site: Parley) -> None:
    """The call is shown as withdrawn, with what was typed, and the focus does not get lost."""
    host, code = open_host(window, site)
    payload = {"method": "tools/call", "params": {"name": "ask_person", "arguments": {"question": "Still there?"}}}
    site.http.post(f"/api/sessions/{code}/requests", json={"id": "q1", "payload": payload}).raise_for_status()
    host.get_by_label("Answer", exact=True).fill("half an ans")
    assert host.title().startswith("(1) ")
    site.http.delete(f"/api/sessions/{code}/requests/q1").raise_for_status()
    entry = host.locator("#answered li")
    expect(entry.locator(".outcome")).to_have_text("Withdrawn by the guest")
    expect(entry.locator(".answer")).to_have_text("Not sent: half an ans")
    expect(entry).to_be_focused()
    expect(host.locator("#requests li")).to_have_count(0)
    assert not host.title().startswith("(")


def test_withdrawn_while_its_answer_is_sent(window: Window, site: Parley) -> None:
    host, code = open_host(window, site)
    host.route("**/responses", lambda route: None)
    site.http.post(f"/api/sessions/{code}/requests", json={"id": "q1", "payload": "?"}).raise_for_status()
    host.get_by_label("Answer", exact=True).fill("too late")
    host.get_by_role("button", name="Send answer").click()
    expect(host.locator(".outcome")).to_have_text("Sending")
    site.http.delete(f"/api/sessions/{code}/requests/q1").raise_for_status()
    expect(host.locator(".outcome")).to_have_text("Withdrawn by the guest")
    expect(host.locator(".answer")).to_have_text("Not sent: too late")


def test_calls_that_ask_nothing(window: Window, site: Parley) -> None:
    """They are answered at once, and shown with their arguments."""
    host, code = open_host(window, site)
    arguments = {"colour": "red", "sizes": [1, 2], "<b>": "<img src=x>"}
    assert call(site, code, "paint", arguments, "q1")["error"]["code"] == "unknown_tool"
    entry = host.locator("#answered li").first
    expect(entry.get_by_role("heading")).to_have_text("Call 1: paint")
    expect(entry.locator(".payload")).to_have_text("colour: red\nsizes: [\n  1,\n  2\n]\n<b>: <img src=x>")
    expect(entry.locator(".outcome")).to_have_text("Refused: there is no such tool")
    assert call(site, code, "ask_person", {}, "q2")["result"]["isError"]
    entry = host.locator("#answered li").first
    expect(entry.locator(".payload")).to_have_text("No arguments")
    expect(entry.locator(".outcome")).to_have_text("Refused: it asks nothing")


def test_call_and_reload(window: Window, site: Parley, beside: Beside) -> None:
    """Session, tools and question are there again."""
    host, code = open_host(window, site)
    asked = beside(ask_person, f"{site.url}/mcp/{code}", "Still there?")
    expect(host.locator("#requests .payload")).to_have_text("Still there?")
    host.reload()
    expect(host.locator("#requests .payload")).to_have_text("Still there?")
    expect(host.locator("#tools li")).to_have_count(1)
    expect(host.locator("#mcp-url")).to_have_text(f"{site.url}/mcp/{code}")
    host.get_by_label("Answer", exact=True).fill("yes")
    host.get_by_role("button", name="Send answer").click()
    assert asked.result().content[0].text == "yes"
    asked = beside(ask_person, f"{site.url}/mcp/{code}", "And now?")
    expect(host.locator("#requests .payload")).to_have_text("And now?")
    host.reload()
    host.get_by_role("button", name="Send as error").click()
    assert asked.result().content[0].text == "The person does not answer."


def test_echo_of_a_call(window: Window, site: Parley) -> None:
    host, code = open_host(window, site)
    host.get_by_label("Echo").check()
    result = call(site, code, "ask_person", {"question": "Anybody?"})["result"]
    assert result == {"content": [{"type": "text", "text": "Anybody?"}]}


def test_keyboard_only(window: Window, site: Parley, beside: Beside) -> None:
    """The panel is worked without a mouse."""
    window.context.grant_permissions(["clipboard-read", "clipboard-write"])
    host, _ = open_host(window, site)
    tab_to(host, "For this session")
    host.keyboard.press("ArrowDown")
    expect(host.locator("#mcp-url")).to_have_text(f"{site.url}/mcp")
    tab_to(host, "Codex")
    host.keyboard.press("Enter")
    tab_to(host, "Copy")
    host.keyboard.press("Enter")
    expect(host.locator("details[open] button")).to_have_text("Copied")
    assert "mcp_servers" in clipboard(host)


def test_ended_session_connects_nobody(window: Window, site: Parley) -> None:
    host, code = open_host(window, site)
    end_session(host)
    expect(host.get_by_role("button", name="Copy URL")).to_be_disabled()
    expect(host.locator("#qr svg")).to_have_count(0)
    host.get_by_role("button", name="New session").click()
    expect(host.locator("#mcp-url")).not_to_have_text(f"{site.url}/mcp/{code}")
    expect(host.get_by_role("button", name="Copy URL")).to_be_enabled()
    expect(host.locator("#qr svg")).to_have_count(1)


@in_each_look
def test_qr_code_on_the_screen(chromium: Browser, site: Parley, look: str) -> None:
    """A phone reads the link for a guest from it, and the link leads to the session."""
    with chromium.new_context(**LOOKS[look]) as context:
        window = Window(context)
        host, code = open_host(window, site)
        picture = Image.open(io.BytesIO(host.screenshot(full_page=True)))
        (found,) = zxingcpp.read_barcodes(picture)
        assert found.text == f"{site.url}/#{code[:4]}-{code[4:]}"
        guest = window.open(found.text)
        expect(guest.locator("#guest-state")).to_contain_text("Open, ")
        assert window.complaints == []


def test_more_to_paste(window: Window, site: Parley) -> None:
    window.context.grant_permissions(["clipboard-read", "clipboard-write"])
    host, code = open_host(window, site)
    shown = f"{code[:4]}-{code[4:]}"
    for label, url, given in [
        ("For this session", f"{site.url}/mcp/{code}", [shown]),
        ("Once, for every session", f"{site.url}/mcp", []),
    ]:
        host.get_by_label(label).check()
        for name in ("ChatGPT", "n8n"):
            assert pasted(host, name) == url
        assert json.loads(pasted(host, "Gemini CLI")) == {"mcpServers": {"parley": {"httpUrl": url}}}
        assert json.loads(pasted(host, "LM Studio")) == {"mcpServers": {"parley": {"url": url}}}
        assert json.loads(pasted(host, "Windsurf")) == {"mcpServers": {"parley": {"serverUrl": url}}}
        assert json.loads(pasted(host, "Zed")) == {"context_servers": {"parley": {"url": url}}}
        command = json.loads(pasted(host, "Clients that start a command, such as Claude Desktop"))
        arguments = ["relay.py", "mcp", *given, "--relay", site.url]
        assert command == {"mcpServers": {"parley": {"command": "python3", "args": arguments}}}
        host.locator("details[open] summary").click()


def test_one_click(window: Window, site: Parley) -> None:
    host, code = open_host(window, site)
    url = f"{site.url}/mcp/{code}"

    def link(name: str) -> httpx.URL:
        return httpx.URL(host.get_by_role("link", name=name, exact=True).get_attribute("href") or "")

    cursor = link("Cursor")
    assert (cursor.scheme, cursor.host, cursor.path) == ("cursor", "anysphere.cursor-deeplink", "/mcp/install")
    studio = link("LM Studio")
    assert (studio.scheme, studio.host) == ("lmstudio", "add_mcp")
    for found in (cursor, studio):
        assert found.params["name"] == "parley"
        assert json.loads(base64.b64decode(found.params["config"])) == {"url": url}
    code_link = link("VS Code")
    assert (code_link.scheme, code_link.path) == ("vscode", "mcp/install")
    assert json.loads(unquote(code_link.query.decode())) == {"name": "parley", "type": "http", "url": url}


@pytest.mark.parametrize("path", ["/", "/demo.html"])
def test_who_is_there(window: Window, site: Parley, path: str) -> None:
    """The page waits for an agent, until one has listed the tools or called one."""
    events = f"event: open\nid: 1-0\ndata: {json.dumps({'expiresAt': '2100-01-01T00:00:00.000Z'})}\n\n"
    guest = {"client": {"name": "claude\u202e-code", "version": "2.1"}}
    call = {"id": "q1", "createdAt": "2026-11-28T08:00:00.000Z", "payload": {"method": "tools/call", "client": None}}
    call["payload"]["params"] = {"name": "none"}  # type: ignore[index]
    bodies = [events, f"{events}event: guest\nid: 1-0\ndata: {json.dumps(guest)}\n\n"]
    bodies.append(f"{bodies[1]}event: request\nid: 2-0\ndata: {json.dumps(call)}\n\n")
    place = [0]
    window.context.route(
        "**/stream?*", lambda route: route.fulfill(content_type="text/event-stream", body=bodies[place[0]])
    )
    window.context.route("**/responses", lambda route: route.fulfill(status=201, json={}))
    page = window.open(f"{site.url}{path}")
    agent = page.locator("#agent")
    expect(agent).to_have_text("Waiting for an agent")
    place[0] = 1
    expect(agent).to_have_text("claude⟨U+202E⟩-code 2.1 is connected, no call yet")
    place[0] = 2
    expect(agent).to_have_text(re.compile(r"^claude⟨U\+202E⟩-code 2\.1 is connected, last call \d+ s ago$"))
    window.forgive_the_network()


def test_demo_has_the_same_list(window: Window, site: Parley) -> None:
    names = []
    for path in ("/", "/demo.html"):
        page = window.open(f"{site.url}{path}")
        expect(page.locator("#mcp-url")).to_contain_text("/mcp/")
        names.append(page.locator("#clients summary").all_text_contents())
    assert names[0] == names[1]
    assert len(names[0]) == 13


@pytest.mark.parametrize("path", ["/", "/demo.html"])
def test_agent_that_lists_the_tools(window: Window, site: Parley, beside: Beside, path: str) -> None:
    page = window.open(f"{site.url}{path}")
    expect(page.locator("#agent")).to_have_text("Waiting for an agent")
    url = page.locator("#mcp-url").inner_text()

    async def run() -> None:
        async with Client(url) as client:
            await client.list_tools()

    beside(asyncio.run, run()).result()
    expect(page.locator("#agent")).to_have_text(re.compile(r"^mcp.* is connected, no call yet$"))
