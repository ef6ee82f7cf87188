"""public/page/attention.js: questions that a person cannot miss."""

from playwright.sync_api import Browser, expect

from tests.browser.conftest import Beside, Window, ask
from tests.browser.test_demo import Desk
from tests.browser.test_page import LOOKS, SCREENSHOTS, check_look, in_each_look, open_host
from tests.support.deployments import Parley
from tests.support.tools import wait_until

# A browser that notes its notifications, in a page that nobody looks at.
AWAY = """
window.notified = [];
window.Notification = class extends EventTarget {
  static permission = "default";
  static async requestPermission() {
    Notification.permission = "granted";
  }
  constructor(title, { body }) { super(); notified.push([title, body]); }
};
Object.defineProperty(Document.prototype, "visibilityState", { get: () => window.looked ? "visible" : "hidden" });
"""

# Whether the middle of an element is what one sees there.
IN_SIGHT = """(element) => {
  const { left, top, width, height } = element.getBoundingClientRect();
  return document.elementFromPoint(left + width / 2, top + height / 2) === element;
}"""


@in_each_look
def test_bar(chromium: Browser, site: Parley, look: str) -> None:
    """It stays in view, counts, and leads to the first question, which is in the viewport of a phone at once."""
    SCREENSHOTS.mkdir(exist_ok=True)
    with chromium.new_context(**LOOKS[look]) as context:
        window = Window(context)
        host, code = open_host(window, site)
        bar = host.locator(".attention")
        expect(bar).to_be_hidden()
        for number in range(2):
            site.http.post(f"/api/sessions/{code}/requests", json={"payload": f"Question {number}?"}).raise_for_status()
        expect(bar).to_contain_text("2 questions are waiting")
        assert host.title().startswith("(2) ")
        if look == "phone":
            expect(host.get_by_text("Question 0?")).to_be_in_viewport()
        host.evaluate("scrollTo(0, document.body.scrollHeight)")
        expect(bar).to_be_in_viewport()
        bar.get_by_role("button", name="2 questions are waiting").click()
        expect(host.get_by_label("Answer", exact=True).first).to_be_focused()
        expect(host.get_by_label("Answer", exact=True).first).to_be_in_viewport()
        check_look(host, SCREENSHOTS / f"questions-{look}.png")
        host.evaluate("scrollTo(0, document.body.scrollHeight)")
        echo = host.get_by_label("Echo")
        echo.focus()
        assert echo.evaluate(IN_SIGHT)
        host.get_by_label("Echo").check()
        expect(bar).to_be_hidden()
        assert not host.title().startswith("(")
        assert window.complaints == []


def test_notification(window: Window, site: Parley, beside: Beside) -> None:
    """It comes once the person has allowed it, and only if nobody looks at the page."""
    window.context.add_init_script(AWAY)
    host, code = open_host(window, site)
    asked = [beside(ask, site, code, number, f"q{number}") for number in range(1)]
    host.get_by_role("button", name="Notify me").click()
    expect(host.get_by_role("button", name="Notify me")).to_be_hidden()
    assert host.evaluate("notified") == []
    asked.append(beside(ask, site, code, 1, "q1"))
    expect(host.locator("#requests li")).to_have_count(2)
    assert host.evaluate("notified.map(([, body]) => body)") == ["Request q1"]
    host.evaluate("window.looked = true")
    asked.append(beside(ask, site, code, 2, "q2"))
    expect(host.locator("#requests li")).to_have_count(3)
    assert host.evaluate("notified.length") == 1
    host.get_by_label("Echo").check()
    wait_until(lambda: bool(host.evaluate("1")) and all(one.done() for one in asked))


def test_demo(window: Window, site: Parley, beside: Beside) -> None:
    desk = Desk(window, site)
    asked = beside(desk.call, "ask_person", question="Shall I?")
    desk.page.get_by_role("button", name="1 question is waiting").click()
    expect(desk.page.get_by_label("Shall I?")).to_be_focused()
    assert desk.page.title().startswith("(1) ")
    desk.page.keyboard.type("no")
    desk.page.keyboard.press("Enter")
    assert asked.result()["content"][0]["text"] == "no"
    expect(desk.page.locator(".attention")).to_be_hidden()


def test_answered_entries_are_folded(window: Window, site: Parley, beside: Beside) -> None:
    """To a line, which unfolds."""
    host, code = open_host(window, site)
    host.get_by_label("Echo").check()
    assert ask(site, code, "the question")["result"] == "the question"
    entry = host.locator("#answered li")
    expect(entry.locator(".payload")).to_be_hidden()
    entry.get_by_role("button", name="Show q1").click()
    expect(entry.locator(".payload")).to_be_visible()
    expect(entry.locator(".answer")).to_have_text("the question")
