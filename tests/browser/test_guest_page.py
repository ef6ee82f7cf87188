"""public/index.html, for a guest: a code, the session's tools, and what their calls return."""

import base64
import io
import json
import re
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.browser.conftest import Window
from tests.browser.test_page import LOOKS, SCREENSHOTS, check_look, in_each_look, open_host
from tests.support.deployments import Parley
from tests.support.tools import wait_until

# A page with tools for all kinds of arguments and results.
OFFERS = """async (picture) => {
  const { host } = await import("/relay.js");
  window.ran = [];
  const schema = {
    properties: {
      text: { type: "string", description: "Any text." },
      count: { type: "integer", minimum: 1 },
      ratio: { anyOf: [{ type: "number" }, { type: "null" }] },
      colour: { enum: ["red", "blue", 3] },
      deep: { type: "boolean" },
      more: { type: "array" },
    },
    required: ["text", "count"],
  };
  const results = {
    table: [{ planet: "Earth", moons: 1 }, { planet: "<b>Mars</b>", radius: { km: 3390 } }],
    object: { a: [1, 2] },
    picture: {
      content: [{ type: "text", text: "Two points" }, { type: "image", mimeType: "image/png", data: picture }],
    },
    broken: { content: [{ type: "image", mimeType: "image/svg+xml", data: btoa("<svg onload=alert(1)>") }] },
    failure: { content: [{ type: "text", text: "no such thing" }], isError: true },
  };
  window.session = await host({ tools: [
    { name: "echo", title: "Say it again", description: "Returns the arguments.", inputSchema: schema,
      execute: (args) => { ran.push(args); return JSON.stringify(args); } },
    { name: "give", inputSchema: { properties: { what: { enum: Object.keys(results) } }, required: ["what"] },
      execute: ({ what }) => results[what] },
  ] });
  return session.code;
}"""


def picture() -> str:
    """Return a picture of two points, in Base64."""
    written = io.BytesIO()
    Image.new("RGB", (2, 1), "red").save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()


@pytest.fixture
def guest(window: Window, tab: Page, site: Parley) -> Page:
    """Give the page of a guest who has typed a code on the first page."""
    code = tab.evaluate(OFFERS, picture())
    page, _ = open_host(window, site)
    page.get_by_label("Have a code?").fill(f"{code[:4].lower()} {code[4:]}")
    page.get_by_role("button", name="Join").click()
    expect(page.locator("#guest-code")).to_have_value(f"{code[:4]}-{code[4:]}")
    return page


def open_tool(guest: Page, name: str) -> Locator:
    tool = guest.locator("#guest-tools li").filter(has_text=name)
    tool.locator("summary").click()
    return tool


def give(guest: Page, what: str) -> Locator:
    """Call the tool for a result, and return the entry that shows it."""
    tool = guest.locator("#guest-tools li").filter(has_text="Call give")
    if not tool.get_by_role("button", name="Call give").is_visible():
        tool.locator("summary").click()
    before = guest.locator("#answers li").count()
    tool.get_by_label("what").select_option(what)
    tool.get_by_role("button", name="Call give").click()
    expect(guest.locator("#answers li")).to_have_count(before + 1)
    entry = guest.locator("#answers li").first
    expect(entry.locator(".outcome")).not_to_have_text("Waiting for the host")
    return entry


def test_tools(guest: Page) -> None:
    expect(guest.locator("#guest-tools summary")).to_have_text(["Say it again (echo)", "give"])
    expect(guest.locator("#guest-host")).to_have_text("The host is there.")


def test_form(guest: Page, tab: Page) -> None:
    """Each argument has a field of its kind. What is left empty is left out."""
    tool = open_tool(guest, "Say it again")
    expect(tool).to_contain_text("Returns the arguments.")
    button = tool.get_by_role("button", name="Call echo")
    button.click()
    assert tab.evaluate("ran") == [], "the browser asks for what is required"
    tool.get_by_label("text").fill("<b>ü</b>")
    tool.get_by_label("count").fill("0")
    button.click()
    assert tab.evaluate("ran") == [], "it is less than the minimum"
    tool.get_by_label("count").fill("2")
    button.click()
    outcome = guest.locator("#answers .outcome")
    expect(outcome).to_have_text(["Done"])
    tool.get_by_label("ratio").fill("0.5")
    tool.get_by_label("colour").select_option("3")
    tool.get_by_label("deep").check()
    tool.get_by_label("more").fill("[1, ")
    button.click()
    assert len(tab.evaluate("ran")) == 1, "it is not JSON"
    tool.get_by_label("more").fill("[1, null]")
    button.click()
    expect(outcome).to_have_text(["Done", "Done"])
    first = {"text": "<b>ü</b>", "count": 2}
    assert tab.evaluate("ran") == [first, first | {"ratio": 0.5, "colour": 3, "deep": True, "more": [1, None]}]
    entry = guest.locator("#answers li").first
    expect(entry.get_by_role("heading")).to_have_text("Call 2: echo")
    expect(entry.locator(".answer:visible")).to_contain_text('"more":[1,null]')


def test_results(guest: Page) -> None:
    """Texts, tables, images, other JSON, and failures are shown as what they are."""
    entry = give(guest, "table")
    expect(entry.locator("th")).to_have_text(["planet", "moons", "radius"])
    expect(entry.locator("tbody tr").last.locator("td")).to_have_text(["<b>Mars</b>", "", '{\n  "km": 3390\n}'])
    expect(entry.locator(".answer:visible")).to_have_count(0)
    entry = give(guest, "object")
    expect(entry.locator(".answer:visible")).to_have_text('{\n  "a": [\n    1,\n    2\n  ]\n}')
    entry = give(guest, "picture")
    expect(entry.locator(".answer:visible")).to_have_text("Two points")
    shown = entry.get_by_role("img")
    wait_until(lambda: shown.evaluate("({ width, height }) => [width, height]") == [2, 1])
    entry = give(guest, "broken")
    expect(entry.locator(".answer:visible")).to_have_text("This image (image/svg+xml) cannot be shown.")
    entry = give(guest, "failure")
    expect(entry.locator(".outcome")).to_have_text("The tool has failed")
    expect(entry).to_have_class("card message failed")
    expect(entry.locator(".answer:visible")).to_have_text("no such thing")


def test_progress(guest: Page) -> None:
    """It is shown while the call runs."""
    report = json.dumps({"progress": 3, "total": 10, "message": "rows"})
    held: list[Route] = []

    def answer(route: Route) -> None:
        if held:
            held.append(route)
        else:
            held.append(route)
            route.fulfill(body=f"event: progress\ndata: {report}\n\n", content_type="text/event-stream")

    guest.route("**/requests?*", answer)
    tool = open_tool(guest, "Call give")
    tool.get_by_label("what").select_option("object")
    tool.get_by_role("button", name="Call give").click()
    expect(guest.locator("#answers .outcome")).to_have_text("3 of 10: rows")
    wait_until(lambda: bool(guest.evaluate("1")) and len(held) == 2)
    held[1].continue_()
    expect(guest.locator("#answers .outcome")).to_have_text("Done")


@pytest.mark.long
def test_host_that_goes(guest: Page) -> None:
    """The page says so, and when it comes back it has the tools that it has then."""
    listening: list[bool] = [False]

    def answer(route: Route) -> None:
        found: dict[str, Any] = route.fetch().json()
        route.fulfill(json=found | {"listening": listening[0]})

    guest.route(re.compile("/api/sessions/[^/]+$"), answer)
    expect(guest.locator("#guest-host")).to_have_text("No host is there now. What you send waits until one comes back.")
    guest.route("**/tools", lambda route: route.fulfill(json={"tools": [{"name": "another"}]}))
    listening[0] = True
    expect(guest.locator("#guest-host")).to_have_text("The host is there.")
    expect(guest.locator("#guest-tools summary")).to_have_text(["another"])


def test_session_that_ends(guest: Page, tab: Page) -> None:
    tab.evaluate("session.end()")
    expect(guest.locator("#guest-state")).to_have_text("The host has ended this session")
    expect(guest.locator("#guest-tools")).to_be_hidden()


def test_session_without_tools(window: Window, site: Parley) -> None:
    guest = window.open(f"{site.url}/#{site.create()['code']}")
    expect(guest.locator("#guest-host")).to_contain_text("No host is there")
    expect(guest.locator("#guest-tools")).to_be_hidden()


@in_each_look
def test_looks(chromium: Browser, site: Parley, look: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    with chromium.new_context(**LOOKS[look]) as context:
        window = Window(context)
        host = window.open(f"{site.url}/problems.html")
        code = host.evaluate(OFFERS, picture())
        page = window.open(f"{site.url}/#{code}")
        expect(page.locator("#guest-host")).to_have_text("The host is there.")
        for what in ("table", "picture", "failure"):
            give(page, what)
        open_tool(page, "Say it again")
        check_look(page, SCREENSHOTS / f"guest-tools-{look}.png")
        assert window.complaints == []
