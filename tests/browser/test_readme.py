"""README.md: what it says of pages, done as it says, in a real Chromium."""

import asyncio
import subprocess
from concurrent.futures import Future
from typing import Literal

import pytest
from mcp import Client
from mcp.types import Implementation
from PIL import Image
from playwright.sync_api import ViewportSize, expect

from tests.browser.conftest import Beside, Elsewhere, Window
from tests.browser.test_demo import PLANETS, Desk
from tests.browser.test_page import SCREENSHOTS, open_host
from tests.support.deployments import Parley
from tests.support.documents import blocks, read
from tests.support.tools import PROJECT

_SIZE: ViewportSize = {"width": 1280, "height": 840}


def printed(command: str) -> str:
    return subprocess.check_output(["sh", "-c", command], text=True)


async def work_at_desk(url: str) -> None:
    """Use the tools of the demo, as the agent in the README's picture."""
    async with Client(url, client_info=Implementation(name="claude-code", version="2.1")) as client:
        await client.call_tool("get_data")
        await client.call_tool("add_rows", {"rows": PLANETS})
        await client.call_tool("plot", {"type": "pie", "x": "planet", "y": "moons"})
        plot = {"type": "bar", "x": "planet", "y": "moons", "title": "Moons of the planets"}
        await client.call_tool("plot", plot)
        await client.call_tool("select", {"rows": [6]})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_picture(window: Window, site: Parley, beside: Beside, scheme: Literal["light", "dark"]) -> None:
    """The demo with an agent at work. To renew the pictures, copy screenshots/readme-*.png to docs/page-*.png."""
    desk = Desk(window, site)
    desk.page.set_viewport_size(_SIZE)
    desk.page.emulate_media(color_scheme=scheme)
    beside(asyncio.run, work_at_desk(f"{site.url}/mcp/{desk.code}")).result()
    expect(desk.page.locator("#agent")).to_contain_text("claude-code 2.1 is connected, last call")
    expect(desk.page.locator("#calls li")).to_have_count(5)
    for shown in ("#code", "#agent", "tbody tr:last-child", "#plot svg", "#calls li:last-child"):
        expect(desk.page.locator(shown)).to_be_in_viewport()
    SCREENSHOTS.mkdir(exist_ok=True)
    taken = SCREENSHOTS / f"readme-{scheme}.png"
    desk.page.screenshot(path=taken)
    with Image.open(taken) as picture:
        picture.convert("RGB").quantize(64).save(taken, optimize=True)
    assert f"docs/page-{scheme}.png" in read("README.md")
    committed = PROJECT / "docs" / f"page-{scheme}.png"
    with Image.open(committed) as picture:
        assert picture.size == (_SIZE["width"], _SIZE["height"])
    assert committed.stat().st_size < 150_000


def test_try_it(window: Window, site: Parley, beside: Beside) -> None:
    """The steps after the first."""
    _, connect, ask = blocks("README.md", "Try it", "sh", site.url)
    _, answer = blocks("README.md", "Try it", "text", site.url)
    host, code = open_host(window, site)
    host.locator("summary").get_by_text("Claude Code", exact=True).click()
    assert connect.strip().replace("ABC12345", code) == host.locator("details[open] pre").inner_text()
    asked: Future[str] = beside(printed, ask.replace("ABC12345", code))
    host.get_by_label("Answer", exact=True).fill("42")
    host.get_by_role("button", name="Send answer").click()
    assert asked.result() + "\n" == answer


def test_give_an_agent_a_page(window: Window, site: Parley, elsewhere: str) -> None:
    """A page of another origin, and a call by hand."""
    (page,) = blocks("README.md", "Give an agent a page", "html", site.url)
    assert page.count("\n") == 10 + 2, "ten lines between the tags"
    (call,) = blocks("README.md", "Give an agent a page", "sh", site.url)
    Elsewhere.page = page.encode()
    tab = window.open(elsewhere)
    expect(tab.locator("body")).to_contain_text(f"{site.url}/mcp/")
    url = tab.locator("body").inner_text().strip()
    told = printed(call.replace(f"{site.url}/mcp/ABC12345", url))
    assert '"content":[{"type":"text","text":"42"}]' in told
