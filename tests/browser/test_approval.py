"""public/relay.js: calls of tools that the person at the page allows or denies."""

import asyncio
from concurrent.futures import Future
from typing import Any

import pytest
from mcp import Client
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.browser.conftest import Beside, Window, until
from tests.browser.test_demo import Desk
from tests.browser.test_page import LOOKS, SCREENSHOTS, check_look, in_each_look, open_host
from tests.browser.test_tools import call
from tests.support.deployments import Parley
from tests.support.tools import wait_until

# A page with tools of all kinds, each of which returns its name.
OFFERS = """async (options = {}) => {
  const { host } = await import("/relay.js");
  const kinds = {
    plain: {},
    reads: { annotations: { readOnlyHint: true } },
    destroys: { annotations: { readOnlyHint: true, destructiveHint: true } },
    decides: { title: "Decide", annotations: { consequentialHint: true } },
  };
  const tools = Object.entries(kinds).map(([name, more]) => ({ name, ...more, execute: () => name }));
  window.asked = [];
  const decide = (allows) => async ({ name }) => {
    asked.push(name);
    return allows;
  };
  const makers = {
    ask: (given) => ({ name, client, tool }) => {
      asked.push([name, client?.name ?? null, tool.annotations ?? null]);
      if (given === "throw") throw new Error("cannot ask");
      return given;
    },
    approve: (given) => (["yes", "no"].includes(given) ? decide(given === "yes") : given),
  };
  const made = Object.fromEntries(Object.entries(options).map(([name, given]) => [name, makers[name](given)]));
  window.session = await host({ tools, ...made });
  return session.code;
}"""


class Calls:
    """A page that offers tools, and calls that may wait for the person at it."""

    def __init__(self, tab: Page, site: Parley, beside: Beside) -> None:
        self.tab, self.site = tab, site
        self._beside = beside
        self.code = ""
        self._count = 0

    def offer(self, **options: str) -> None:
        self.code = self.tab.evaluate(OFFERS, options)

    def begin(self, name: str, arguments: Any = None, client: str = "") -> Future[Any]:
        """Call a tool beside the test."""
        self._count += 1
        params = {"name": name, "arguments": arguments or {}}
        body = {"id": f"q{self._count}", "payload": {"method": "tools/call", "params": params}}
        if client:
            body["payload"]["client"] = {"name": client, "version": "2.1"}  # type: ignore[index]
        return self._beside(self.site.http.post, f"/api/sessions/{self.code}/requests?wait=50", json=body)

    def result(self, called: Future[Any]) -> dict[str, Any]:
        """Return the result of a call, while the browser goes on."""
        wait_until(lambda: bool(self.tab.evaluate("1")) and called.done())
        found: dict[str, Any] = called.result().json()["result"]
        return found

    def runs(self, name: str) -> None:
        """Call a tool that nobody is asked about."""
        assert self.result(self.begin(name)) == {"content": [{"type": "text", "text": name}]}

    def asks(self, name: str, button: str) -> None:
        """Call a tool, and answer the question about it."""
        called = self.begin(name)
        press(self.tab, button)
        result = self.result(called)
        assert result.get("isError", False) == (button == "Deny")
        assert result["content"][0]["text"] == (denial(name) if button == "Deny" else name)


def denial(name: str) -> str:
    return f"The person did not allow this call of {name}."


def dialog(tab: Page) -> Locator:
    found = tab.get_by_role("dialog")
    expect(found).to_be_visible()
    return found


def press(tab: Page, name: str) -> None:
    """Press a button of the dialog, as soon as that takes clicks."""
    button = dialog(tab).get_by_role("button", name=name, exact=True)
    while button.count():
        button.dispatch_event("pointermove")
        button.click(force=True, no_wait_after=True)
        tab.wait_for_timeout(50)


@pytest.fixture
def calls(window: Window, tab: Page, site: Parley, beside: Beside) -> Calls:
    window.forgive_the_network()  # for the report that comes when its request is answered already
    return Calls(tab, site, beside)


def test_never(calls: Calls) -> None:
    calls.offer()
    for name in ("plain", "reads", "destroys", "decides"):
        calls.runs(name)


def test_first(calls: Calls) -> None:
    """The first call of each tool, and the next one after a denial."""
    calls.offer(approve="first")
    calls.asks("reads", "Deny")
    calls.asks("reads", "Allow once")
    calls.runs("reads")
    calls.asks("destroys", "Allow this tool")
    calls.runs("destroys")


def test_writes(calls: Calls) -> None:
    """What only reads runs, what destroys or decides is asked each time, and the others once."""
    calls.offer(approve="writes")
    calls.runs("reads")
    calls.asks("plain", "Allow once")
    calls.runs("plain")
    for name in ("destroys", "decides"):
        calls.asks(name, "Allow once")
        calls.asks(name, "Deny")
        calls.asks(name, "Allow this tool")
        calls.runs(name)


def test_each(calls: Calls) -> None:
    calls.offer(approve="each")
    calls.asks("reads", "Allow once")
    calls.asks("reads", "Deny")
    calls.asks("reads", "Allow this tool")
    calls.runs("reads")
    calls.tab.evaluate("session.approve = 'never'")
    calls.runs("plain")
    calls.tab.evaluate("session.approve = 'first'")
    calls.asks("plain", "Deny")


def test_function_that_approves(calls: Calls) -> None:
    calls.offer(approve="yes")
    calls.runs("plain")
    calls.tab.evaluate("session.end()")
    calls.offer(approve="no")
    assert calls.result(calls.begin("plain"))["content"][0]["text"] == denial("plain")
    assert calls.tab.evaluate("asked") == ["plain"]


@pytest.mark.parametrize(
    ("answer", "allowed", "questions"),
    [("once", True, 2), ("tool", True, 1), ("deny", False, 2), ("yes", False, 2), ("throw", False, 2)],
)
def test_page_that_asks(calls: Calls, answer: str, allowed: bool, questions: int) -> None:
    """What is no permission is a denial."""
    calls.offer(approve="each", ask=answer)
    for _ in range(2):
        result = calls.result(calls.begin("reads", client="claude-code"))
        assert result.get("isError", False) is not allowed
    assert calls.tab.evaluate("asked") == [["reads", "claude-code", {"readOnlyHint": True}]] * questions


def test_keyboard(calls: Calls) -> None:
    """Deny has the focus, the other buttons follow, and Escape denies."""
    calls.offer(approve="each")
    calls.tab.clock.install()
    for keys, text in [
        (["Enter"], denial("plain")),
        (["Escape"], denial("plain")),
        (["Tab", "Enter"], "plain"),
    ]:
        called = calls.begin("plain")
        expect(dialog(calls.tab).get_by_role("button", name="Deny")).to_be_focused()
        calls.tab.clock.run_for(501)
        for key in keys:
            calls.tab.keyboard.press(key)
        assert calls.result(called)["content"][0]["text"] == text


def test_click_that_was_meant_for_something_else(calls: Calls) -> None:
    """For half a second the dialog takes no click."""
    calls.tab.clock.install()
    calls.offer(approve="each")
    called = calls.begin("plain")
    button = dialog(calls.tab).get_by_role("button", name="Allow once")
    button.click()
    expect(button).to_be_visible()
    calls.tab.clock.run_for(501)
    button.click()
    assert calls.result(called)["content"][0]["text"] == "plain"


def test_click_of_a_script(calls: Calls) -> None:
    """Only the browser's user allows a call."""
    calls.tab.clock.install()
    calls.offer(approve="each")
    called = calls.begin("plain")
    dialog(calls.tab)
    calls.tab.clock.run_for(1000)
    calls.tab.evaluate(
        """for (const button of document.querySelectorAll("dialog button")) {
          button.click();
          button.dispatchEvent(new MouseEvent("click", { bubbles: true }));
          button.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
        }"""
    )
    expect(calls.tab.get_by_role("dialog")).to_be_visible()
    press(calls.tab, "Deny")
    assert calls.result(called)["isError"]


def test_nobody_answers(calls: Calls) -> None:
    """Two minutes are a denial, and the dialog goes."""
    calls.tab.clock.install()
    calls.offer(approve="each")
    called = calls.begin("plain")
    dialog(calls.tab)
    calls.tab.clock.run_for(120_001)
    text = calls.result(called)["content"][0]["text"]
    assert text == f"{denial('plain')} There was no answer within two minutes."
    expect(calls.tab.get_by_role("dialog")).to_have_count(0)


def test_agent_that_gives_up(calls: Calls) -> None:
    """Its question goes, and the next one comes."""
    calls.offer(approve="each")
    calls.begin("plain")
    dialog(calls.tab)
    other = calls.begin("reads")
    calls.site.http.delete(f"/api/sessions/{calls.code}/requests/q1").raise_for_status()
    expect(calls.tab.get_by_role("dialog", name="Allow reads?")).to_be_visible()
    press(calls.tab, "Allow once")
    assert calls.result(other)["content"][0]["text"] == "reads"


def test_calls_at_once(calls: Calls) -> None:
    """One question at a time, and one permission for the tool is enough for the calls that wait."""
    calls.offer(approve="first")
    called = [calls.begin("plain") for _ in range(3)]
    press(calls.tab, "Allow once")
    assert [calls.result(one)["content"][0]["text"] for one in called] == ["plain"] * 3


def test_what_the_dialog_shows(calls: Calls) -> None:
    """Tool, client and arguments, with what nobody would see made visible, and long texts folded."""
    calls.offer(approve="each")
    hostile = "<img src=x onerror='window.hacked=1'>"
    arguments = {"text": f"a\u202egnp\u200b\u0007\n{hostile}", "list": [1, {"b": None}], "long": "y" * 5000}
    called = calls.begin("decides", arguments, client="evil\u2066client")
    shown = dialog(calls.tab)
    expect(shown).to_contain_text("evil⟨U+2066⟩client 2.1 wants to use Decide (decides) of this page.")
    expect(shown.get_by_role("region", name="text")).to_have_text(f"a⟨U+202E⟩gnp⟨U+200B⟩⟨U+0007⟩\n{hostile}")
    expect(shown.get_by_role("region", name="list")).to_have_text('[\n  1,\n  {\n    "b": null\n  }\n]')
    expect(shown.locator("pre").last).to_be_hidden()
    shown.get_by_text("long (5,000 characters)").click()
    expect(shown.locator("pre").last).to_be_visible()
    press(calls.tab, "Deny")
    assert calls.result(called)["isError"]
    assert calls.tab.evaluate("window.hacked") is None


def test_agent_hears_what_it_waits_for(calls: Calls) -> None:
    calls.offer(approve="each")
    sent: list[Any] = []

    def take(route: Route) -> None:
        sent.append(route.request.post_data_json)
        route.fulfill(status=204)

    calls.tab.route("**/progress", take)
    called = calls.begin("plain")
    wait_until(lambda: bool(calls.tab.evaluate("1")) and sent != [])
    assert sent == [{"id": "q1", "progress": 0, "message": "Waiting for the person to allow this"}]
    press(calls.tab, "Deny")
    assert calls.result(called)["isError"]


def test_options_that_are_not_valid(tab: Page) -> None:
    refused = tab.evaluate(
        "import('/relay.js').then(({ host }) => host({ tools: [], approve: 'sometimes' })).catch(String)"
    )
    assert refused == "TypeError: approve has to be a function, or one of: never, first, writes, each"


def test_mcp_client_and_the_demo(window: Window, site: Parley, beside: Beside) -> None:
    """Denied, allowed once, allowed for the session; the demo begins with asking."""
    window.forgive_the_network()
    page = window.open(f"{site.url}/demo.html")
    expect(page.locator("#state")).to_have_text("connected")
    expect(page.get_by_label("Ask me before a tool runs")).to_have_value("writes")
    code = page.locator("#code").inner_text().replace("-", "")

    def select() -> Future[Any]:
        async def run() -> Any:
            async with Client(f"{site.url}/mcp/{code}") as client:
                return await client.call_tool("select", {"rows": [1]})

        return beside(asyncio.run, run())

    page.get_by_label("Ask me before a tool runs").select_option("each")
    for button, text in [
        ("Deny", denial("select")),
        ("Allow once", "Selected: 1."),
        ("Allow this tool", "Selected: 1."),
        ("", "Selected: 1."),
    ]:
        called = select()
        if button:
            press(page, button)
        wait_until(lambda called=called: bool(page.evaluate("1")) and called.done())  # type: ignore[misc]
        result = called.result()
        assert (result.content[0].text, bool(result.is_error)) == (text, button == "Deny")


def test_switch_of_the_first_page(window: Window, site: Parley, beside: Beside) -> None:
    """It lasts over a reload."""
    window.forgive_the_network()
    host, code = open_host(window, site)
    switch = host.get_by_label("Ask me before a tool runs")
    expect(switch).to_have_value("never")
    switch.select_option("each")
    host.reload()
    expect(host.locator("#state")).to_have_text("Connected")
    expect(switch).to_have_value("each")
    called = beside(call, site, code, "ask_person", {"question": "May I?"})
    press(host, "Allow once")
    host.get_by_label("Answer", exact=True).fill("yes")
    host.get_by_role("button", name="Send answer").click()
    assert called.result()["result"]["content"][0]["text"] == "yes"


@in_each_look
def test_looks(chromium: Browser, site: Parley, beside: Beside, look: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    with chromium.new_context(**LOOKS[look]) as context:
        desk = Desk(Window(context), site, approve="each")
        rows = [{"planet": "Venus", "radius": 6052, "moons": 0}] * 12
        called = beside(desk.call, "add_rows", rows=rows, note="a\u202eb")
        dialog(desk.page)
        check_look(desk.page, SCREENSHOTS / f"approval-{look}.png")
        press(desk.page, "Deny")
        wait_until(lambda: bool(desk.page.evaluate("1")) and called.done())
        until(desk.page, "!document.querySelector('dialog')")
