"""The first minute of somebody who has only a code, an agent, or a page, on a desk and on a phone."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from mcp import Client
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Beside, Window, ask
from tests.browser.test_approval import dialog, press
from tests.browser.test_connect import ask_person
from tests.browser.test_demo import Desk
from tests.browser.test_page import SCREENSHOTS, check_look, clipboard, open_host
from tests.support.deployments import Parley, running_site
from tests.support.tools import PROJECT

DEVICES: dict[str, dict[str, Any]] = {
    "desk": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "color_scheme": "dark"},
}
# With 200 % zoom a window has half as many pixels of CSS.
ZOOMED = {"desk": {"width": 640, "height": 400}, "phone": {"width": 195, "height": 422}}
LINES = "(shown) => shown.getBoundingClientRect().height / parseFloat(getComputedStyle(shown).lineHeight)"
ARABIC = "ما هو لون السماء في المساء؟"
CHINESE = "請問明天早上九點可以開會嗎?" * 5


@pytest.fixture(params=DEVICES)
def visitor(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Window]:
    """Give a newcomer's window."""
    permissions = ["clipboard-read", "clipboard-write"]
    with chromium.new_context(**DEVICES[request.param], permissions=permissions) as context:
        window = Window(context)
        yield window
    assert window.complaints == []


def in_view(found: Locator) -> Locator:
    """Return an element that is seen without scrolling, from its beginning to its end."""
    expect(found).to_be_in_viewport(ratio=1)
    return found


def at_top(page: Page) -> None:
    assert page.evaluate("scrollY") == 0, "nobody has scrolled"


def test_only_a_code(visitor: Window, site: Parley) -> None:
    """Type it, call the host's tool, and see the result."""
    desk = Desk(visitor, site)
    page, _ = open_host(visitor, site)
    assert page.locator("#host h1").evaluate(LINES) <= 2, "the form leaves the heading its room"
    in_view(page.get_by_label("Have a code?")).fill(desk.code)
    in_view(page.get_by_role("button", name="Join")).click()
    in_view(page.locator("summary").get_by_text("get_data", exact=True)).click()
    at_top(page)
    in_view(page.get_by_role("button", name="Call get_data")).click()
    expect(page.locator("#answers .outcome")).to_have_text("Done")
    in_view(page.locator("#answers .result"))


def test_an_agent(visitor: Window, site: Parley, beside: Beside) -> None:
    """Copy the URL, let the agent ask, and answer."""
    page, code = open_host(visitor, site)
    page.get_by_role("button", name="URL").filter(visible=True).first.click()
    at_top(page)
    assert clipboard(page) == f"{site.url}/mcp/{code}"
    asked = beside(ask_person, clipboard(page), "Tea or coffee?")
    in_view(page.get_by_role("button", name="1 question is waiting")).click()
    in_view(page.get_by_label("Answer", exact=True)).fill("tea")
    in_view(page.get_by_role("button", name="Send answer")).click()
    assert asked.result().content[0].text == "tea"


def test_a_page(visitor: Window, site: Parley, beside: Beside) -> None:
    """Open the demo, copy the URL, and watch the agent; allow what it changes."""
    page = Desk(visitor, site, approve="writes").page
    in_view(page.get_by_role("button", name="Copy URL")).click()
    at_top(page)

    async def work(url: str) -> None:
        async with Client(url) as client:
            await client.call_tool("select", {"rows": [2]})

    working = beside(asyncio.run, work(clipboard(page)))
    in_view(dialog(page).get_by_role("button", name="Allow once"))
    press(page, "Allow once")
    working.result()
    expect(page.locator("tr.selected td:nth-child(2)")).to_have_text("Earth")
    expect(page.locator("#how-to-connect")).not_to_have_attribute("open", "")
    expect(page.locator("#table-title")).to_be_in_viewport()


def test_links_to_what_is_served(visitor: Window, site: Parley) -> None:
    """A newcomer finds the API, the problems and the clients from each page."""
    for path in ("/", "/#ABC1-2345", "/demo.html"):
        page = visitor.context.new_page()
        visitor.forgive_the_network()  # for the code that is no session's
        page.goto(f"{site.url}{path}")
        links = page.get_by_role("navigation").get_by_role("link")
        served = {link.get_attribute("href") for link in links.all()}
        assert served >= {"/api.html", "/problems.html", "/relay.d.ts", "/relay.py"}


@pytest.mark.parametrize("device", DEVICES)
def test_zoomed_to_twice_the_size(chromium: Browser, site: Parley, beside: Beside, device: str) -> None:
    """Nothing runs out of the window, in any of the three views, with texts from right to left and without spaces."""
    SCREENSHOTS.mkdir(exist_ok=True)
    with chromium.new_context(**DEVICES[device] | {"viewport": ZOOMED[device]}) as context:
        window = Window(context)
        host, code = open_host(window, site)
        for number, text in enumerate([ARABIC, CHINESE]):
            payload = {"method": "tools/call", "params": {"name": "ask_person", "arguments": {"question": text}}}
            site.http.post(f"/api/sessions/{code}/requests", json={"id": f"q{number}", "payload": payload})
        site.http.post(f"/api/sessions/{code}/requests", json={"id": "json", "payload": {ARABIC: 1}})
        expect(host.locator("#requests li")).to_have_count(3)
        directions = host.locator("#requests .payload").evaluate_all("(shown) => shown.map(({ dir }) => dir)")
        assert directions == ["auto", "auto", "ltr"]
        check_look(host, SCREENSHOTS / f"zoomed-host-{device}.png")
        desk = Desk(window, site)
        desk.told("set_columns", columns=["planet", ARABIC])
        desk.told("add_rows", rows=[{"planet": CHINESE, ARABIC: 3}])
        desk.told("plot", type="bar", x="planet", y=ARABIC, title=ARABIC)
        assert desk.page.locator("tbody td").last.evaluate("(cell) => cell.dir") == "auto"
        asked = beside(desk.call, "ask_person", question=ARABIC)
        label = desk.page.locator("#questions label")
        assert label.evaluate("(label) => getComputedStyle(label).direction") == "rtl"
        check_look(desk.page, SCREENSHOTS / f"zoomed-demo-{device}.png")
        desk.page.locator("#questions input").fill(ARABIC)
        desk.page.keyboard.press("Enter")
        assert asked.result()["content"][0]["text"] == ARABIC
        guest = window.open(f"{site.url}/#{desk.code}")
        guest.locator("summary").get_by_text("get_data", exact=True).click()
        guest.get_by_role("button", name="Call get_data").click()
        expect(guest.locator("#answers .outcome")).to_have_text("Done")
        check_look(guest, SCREENSHOTS / f"zoomed-guest-{device}.png")
        assert window.complaints == []


@pytest.mark.long
def test_hundred_open_requests(visitor: Window, beside: Beside) -> None:
    """The first of them is answered from the bar, a large one among them, and the next one follows."""
    with running_site() as site, site.caller("127.0.0.2") as another_network:
        host, code = open_host(visitor, site)
        first = beside(ask, site, code, "The first?", "first")
        expect(host.locator("#requests li")).to_have_count(1)
        large = {"id": "large", "payload": "ü" * (512 * 1024 - 100)}
        site.http.post(f"/api/sessions/{code}/requests", json=large).raise_for_status()
        for number in range(98):
            body = {"id": f"q{number}", "payload": number}
            network = another_network if number >= 48 else site.http  # one alone may fill half of the places
            network.post(f"/api/sessions/{code}/requests", json=body).raise_for_status()
        host.get_by_role("button", name="100 questions are waiting").click()
        in_view(host.get_by_label("Answer", exact=True).first).fill('"done"')
        host.keyboard.press("Control+Enter")
        assert first.result()["result"] == "done"
        expect(host.get_by_role("button", name="99 questions are waiting")).to_be_visible()
        expect(host.get_by_label("Answer", exact=True).first).to_be_focused()
        in_view(host.get_by_label("Answer", exact=True).first)
        host.close()


def test_history_of_a_guest(visitor: Window, site: Parley) -> None:
    """It is there after a reload, folded to lines, and new entries have new titles."""
    desk = Desk(visitor, site)
    page = visitor.open(f"{site.url}/#{desk.code}")
    call = page.get_by_role("button", name="Call get_data")
    page.locator("summary").get_by_text("get_data", exact=True).click()
    call.click()
    expect(page.locator("#answers .outcome")).to_have_text("Done")
    page.get_by_role("textbox", name="Request").fill("<b>?</b>")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#answers .outcome").first).to_have_text("Answered with an error")
    page.reload()
    expect(page.locator("#answers h3")).to_have_text(["Request 1", "Call 1: get_data"])
    expect(page.locator("#answers .outcome")).to_have_text(["Answered with an error", "Done"])
    page.get_by_role("button", name="Show Call 1: get_data").click()
    expect(page.locator("#answers li").last.locator(".answer")).to_contain_text("Mercury")
    page.locator("summary").get_by_text("get_data", exact=True).click()
    call.click()
    expect(page.locator("#answers h3").first).to_have_text("Call 2: get_data")


def test_what_a_browser_is_served_is_small() -> None:
    """Without the client for Python, and without pictures."""
    others = (".py", ".pyc", ".svg")
    served = [file for file in (PROJECT / "public").rglob("*") if file.is_file() and file.suffix not in others]
    assert sum(file.stat().st_size for file in served) < 400_000
