"""README.md: what it says of pages, done as it says, in a real Chromium."""

import subprocess
from concurrent.futures import Future

from PIL import Image
from playwright.sync_api import ViewportSize, expect

from tests.browser.conftest import Beside, Elsewhere, Window
from tests.browser.test_page import SCREENSHOTS, open_host
from tests.support.deployments import Parley
from tests.support.documents import blocks
from tests.support.tools import PROJECT

_SIZE: ViewportSize = {"width": 1000, "height": 620}


def printed(command: str) -> str:
    return subprocess.check_output(["sh", "-c", command], text=True)


def test_try_it(window: Window, site: Parley, beside: Beside) -> None:
    """The steps after the first, which leave the picture behind: copy screenshots/readme.png to docs/page.png."""
    _, connect, ask = blocks("README.md", "Try it", "sh", site.url)
    _, answer = blocks("README.md", "Try it", "text", site.url)
    host, code = open_host(window, site)
    host.set_viewport_size(_SIZE)
    host.locator("summary").get_by_text("Claude Code", exact=True).click()
    assert connect.strip().replace("ABC12345", code) == host.locator("details[open] pre").inner_text()
    asked: Future[str] = beside(printed, ask.replace("ABC12345", code))
    host.get_by_label("Answer", exact=True).fill("42")
    host.evaluate("scrollTo(0, 0)")
    SCREENSHOTS.mkdir(exist_ok=True)
    host.screenshot(path=SCREENSHOTS / "readme.png")
    with Image.open(SCREENSHOTS / "readme.png") as picture:
        picture.convert("RGB").quantize(64).save(SCREENSHOTS / "readme.png", optimize=True)
    host.get_by_role("button", name="Send answer").click()
    assert asked.result() + "\n" == answer
    with Image.open(PROJECT / "docs" / "page.png") as committed:
        assert committed.size == (_SIZE["width"], _SIZE["height"])
    assert (PROJECT / "docs" / "page.png").stat().st_size < 100_000


def test_give_an_agent_a_page(window: Window, site: Parley, elsewhere: str) -> None:
    """A page of another origin, and a call by hand."""
    (page,) = blocks("README.md", "Give an agent a page", "html", site.url)
    assert page.count("\n") == 10 + 2, "ten lines between the tags"
    (call,) = blocks("README.md", "Give an agent a page", "sh", site.url)
    Elsewhere.page = page.encode()
    window.origins.add(site.url)
    tab = window.open(elsewhere)
    expect(tab.locator("body")).to_contain_text(f"{site.url}/mcp/")
    url = tab.locator("body").inner_text().strip()
    told = printed(call.replace(f"{site.url}/mcp/ABC12345", url))
    assert '"content":[{"type":"text","text":"42"}]' in told
