"""public/index.html: what a person sees and does, in a real Chromium."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, Route, expect

from tests.browser.conftest import Beside, Window, ask, refuse, set_clock, until
from tests.support.deployments import Parley, running_site
from tests.support.tools import PROJECT, wait_until

SCREENSHOTS = PROJECT / "screenshots"
HOSTILE = "<img src=x onerror='window.hacked=1'></pre><script>window.hacked=1</script>\u202egnp.exe"


def open_host(window: Window, site: Parley) -> tuple[Page, str]:
    """Open the host's view, and return it with its code."""
    host = window.open(f"{site.url}/")
    expect(host.locator("#state")).to_have_text("Connected")
    return host, host.locator("#code").inner_text().replace("-", "")


def end_session(host: Page) -> None:
    """End it; the page asks once."""
    host.get_by_role("button", name="End session").click()
    host.get_by_role("button", name="End it for everybody?").click()


def clipboard(tab: Page) -> str:
    return str(tab.evaluate("navigator.clipboard.readText()"))


def test_code_and_countdown(window: Window, site: Parley) -> None:
    host, code = open_host(window, site)
    assert re.fullmatch("[0-9A-HJKMNP-TV-Z]{8}", code)
    assert site.http.get(f"/api/sessions/{code}").json()["active"]
    assert re.fullmatch(r"9:5\d|10:00", host.locator("#clock").inner_text())
    assert host.title() == f"{code[:4]}-{code[4:]} · Parley"
    first = host.locator("#clock").inner_text()
    expect(host.locator("#clock")).not_to_have_text(first)


def test_pages_call_nobody_but_their_origin(window: Window, site: Parley) -> None:
    asked: list[str] = []
    window.context.on("request", lambda request: asked.append(request.url))
    for path in ("/", "/demo.html", "/problems.html", "/api.html"):
        window.open(f"{site.url}{path}")
    host, code = open_host(window, site)
    expect(window.open(f"{site.url}/?code={code}").locator("#guest-state")).to_contain_text("Open, ")
    end_session(host)
    assert len(asked) > 20
    assert [url for url in asked if not url.startswith(f"{site.url}/")] == []


def test_call_of_another_machine_is_a_complaint(chromium: Browser, site: Parley) -> None:
    """Of the tests' own windows, also of those that forgive a network which fails."""
    with chromium.new_context() as context:
        window = Window(context)
        window.forgive_the_network()
        tab = window.open(f"{site.url}/problems.html")
        for origin in ("http://elsewhere.example", "http://192.0.2.1"):
            tab.evaluate("(url) => navigator.sendBeacon(url)", origin)
        wait_until(lambda: len(window.complaints) >= 2)


def test_copies(window: Window, site: Parley) -> None:
    window.context.grant_permissions(["clipboard-read", "clipboard-write"])
    host, code = open_host(window, site)
    host.get_by_role("button", name="Copy code").click()
    expect(host.locator("#copy-code")).to_have_text("Copied")
    assert clipboard(host) == f"{code[:4]}-{code[4:]}"
    host.get_by_role("button", name="Copy link for a guest").click()
    expect(host.locator("#copy-link")).to_have_text("Copied")
    assert clipboard(host) == f"{site.url}/#{code[:4]}-{code[4:]}"


def test_instructions_work_as_pasted(window: Window, site: Parley) -> None:
    window.context.grant_permissions(["clipboard-read", "clipboard-write"])
    host, _ = open_host(window, site)
    host.get_by_label("Echo").check()
    curl = host.locator("details").filter(has_text="Without MCP: curl")
    curl.locator("summary").click()
    curl.get_by_role("button").click()
    expect(curl.get_by_role("button")).to_have_text("Copied")
    send, wait = re.findall(r"^curl .*?(?<!\\)$", clipboard(host), re.MULTILINE | re.DOTALL)
    sent = subprocess.run(["sh", "-c", send], capture_output=True, text=True, check=True)
    assert '"status":"answered","result":"your question"' in sent.stdout
    request_id = sent.stdout.split('"')[3]
    read = subprocess.run(["sh", "-c", wait.replace("ID", request_id)], capture_output=True, text=True, check=True)
    assert read.stdout == sent.stdout


def test_copying_without_a_clipboard(window: Window, site: Parley) -> None:
    """As on a page without https."""
    window.context.add_init_script("delete Navigator.prototype.clipboard")
    host, code = open_host(window, site)
    host.get_by_role("button", name="Copy code").click()
    expect(host.locator("#copy-code")).to_have_text("Copied")
    guest = window.open(f"{site.url}/?code=")
    guest.locator("#payload").focus()
    guest.keyboard.press("ControlOrMeta+V")
    expect(guest.locator("#payload")).to_have_value(f"{code[:4]}-{code[4:]}")


@pytest.mark.parametrize(
    ("text", "response"),
    [("42", {"result": 42}), ('{"a": [null]}', {"result": {"a": [None]}}), ("it is {so", {"result": "it is {so"})],
)
def test_receive_and_answer(
    window: Window, site: Parley, beside: Beside, text: str, response: dict[str, object]
) -> None:
    host, code = open_host(window, site)
    asking = beside(ask, site, code, {"question": "6 x 7?"})
    request = host.get_by_role("listitem").filter(has_text="q1")
    expect(request.locator(".payload")).to_have_text('{\n  "question": "6 x 7?"\n}')
    assert host.title().startswith("(1) ")
    request.get_by_label("Answer", exact=True).fill(text)
    request.get_by_role("button", name="Send answer").click()
    assert asking.result().items() >= response.items()
    expect(request.locator(".outcome")).to_have_text("Answered")
    assert not host.title().startswith("(")


def test_answer_with_an_error(window: Window, site: Parley, beside: Beside) -> None:
    host, code = open_host(window, site)
    asking = beside(ask, site, code, 1)
    host.get_by_label("Answer", exact=True).fill("no idea")
    host.get_by_role("button", name="Send as error").click()
    assert asking.result()["error"] == "no idea"


def test_in_order_and_nothing_is_rounded(window: Window, site: Parley, beside: Beside) -> None:
    host, code = open_host(window, site)
    exact = '{"big":12345678901234567890,"digits":1.10,"text":"\\ud800"}'
    for number in range(3):
        site.http.post(
            f"/api/sessions/{code}/requests",
            content=f'{{"id":"q{number}","payload":{exact}}}',
            headers={"Content-Type": "application/json"},
        ).raise_for_status()
    expect(host.locator("#requests h3")).to_have_text(["q0", "q1", "q2"])
    expect(host.locator("#requests .payload").first).to_contain_text("12345678901234567890")
    host.get_by_label("Echo").check()
    expect(host.locator("#answered .outcome")).to_have_text(["Echoed"] * 3)
    answer = site.http.get(f"/api/sessions/{code}/responses/q0").text
    assert f'"result":{exact}' in answer


def test_echo_while_an_answer_is_on_its_way(window: Window, site: Parley, beside: Beside) -> None:
    host, code = open_host(window, site)
    held: list[Route] = []
    host.route("**/responses", lambda route: held.append(route))
    asked = beside(ask, site, code, "the question")
    host.get_by_label("Answer", exact=True).fill("my answer")
    host.get_by_role("button", name="Send answer").click()
    expect(host.locator(".outcome")).to_have_text("Sending")
    host.get_by_label("Echo").check()
    wait_until(lambda: host.locator(".answer").inner_text() == "my answer" and bool(held))
    held[0].continue_()
    assert asked.result()["result"] == "my answer"
    expect(host.locator(".outcome")).to_have_text("Answered")


def test_deep_nesting_does_not_fill_the_memory(window: Window, site: Parley) -> None:
    """Indented, these 120 KiB would be 100 MB."""
    host, code = open_host(window, site)
    payload = "[" * 900 + ",".join(["0"] * 60_000) + "]" * 900
    content = f'{{"id":"deep","payload":{payload}}}'
    url = f"/api/sessions/{code}/requests"
    site.http.post(url, content=content, headers={"Content-Type": "application/json"}).raise_for_status()
    expect(host.locator("#requests h3")).to_have_text("deep")
    assert len(str(host.locator(".payload").text_content())) < 200_000


@pytest.mark.long
def test_large_payload(window: Window, site: Parley, beside: Beside) -> None:
    """Of a megabyte the page shows a part, until it is asked for the rest, and the answer has all of it."""
    host, code = open_host(window, site)
    payload = "x" * 1_000_000
    asking = beside(ask, site, code, payload)
    shown = host.locator("#requests .payload")
    expect(shown).to_have_text("x" * 20_000)
    host.get_by_role("button", name="Show all 1,000,000 characters").click()
    assert shown.evaluate("(shown) => shown.textContent.length") == 1_000_000
    expect(shown).to_be_focused()
    host.get_by_label("Echo").check()
    assert asking.result()["result"] == payload


@pytest.mark.long
def test_lists_have_an_end(window: Window, site: Parley) -> None:
    """Of what is answered, refused ones too, the page keeps the latest hundred."""
    host, code = open_host(window, site)
    host.get_by_label("Echo").check()
    for number in range(60):
        payload = {"method": "tools/call", "params": {"name": f"paint{number}"}}
        assert ask(site, code, payload, f"refused{number}")["error"]["code"] == "unknown_tool"
        assert ask(site, code, number, f"echoed{number}")["result"] == number
    expect(host.locator("#answered li")).to_have_count(100)
    expect(host.locator("#answered h3").first).to_have_text("echoed59")


def test_guest_page_in_a_second_tab(window: Window, site: Parley) -> None:
    host, code = open_host(window, site)
    guest = window.open(f"{site.url}/?code={code.lower()}")
    expect(guest.locator("#guest-state")).to_contain_text("Open, ")
    expect(guest.locator("#guest-code")).to_have_value(f"{code[:4]}-{code[4:]}")
    guest.get_by_role("textbox", name="Request").fill("What is in the cart?")
    guest.get_by_role("button", name="Send").click()
    expect(guest.locator(".outcome")).to_have_text("Waiting for the host")
    host.get_by_label("Answer", exact=True).fill('{"apples": 2}')
    host.get_by_role("button", name="Send answer").click()
    expect(guest.locator(".outcome")).to_have_text("Answered")
    expect(guest.locator(".answer")).to_have_text('{\n  "apples": 2\n}')
    guest.get_by_role("textbox", name="Request").fill("And the price?")
    guest.keyboard.press("Control+Enter")
    host.get_by_label("Answer", exact=True).fill("Cannot tell")
    host.get_by_role("button", name="Send as error").click()
    expect(guest.locator(".outcome").first).to_have_text("Answered with an error")
    expect(guest.locator(".answer").first).to_have_text("Cannot tell")


@pytest.mark.parametrize(
    ("code", "told"),
    [("ABC12345", "Check the code, or ask the host for a new one: the session may have expired."), ("U", "8")],
)
def test_guest_with_a_wrong_code(window: Window, site: Parley, code: str, told: str) -> None:
    guest = window.open(f"{site.url}/?code={code}")
    expect(guest.locator("#guest-state")).to_contain_text(told)
    guest.get_by_role("textbox", name="Request").fill("hello")
    guest.get_by_role("button", name="Send").click()
    expect(guest.locator(".outcome")).to_contain_text(told)
    window.forgive_the_network()


def test_guest_link(window: Window, site: Parley) -> None:
    """The code stays out of what the tab requests as its page, and may change while the tab is open."""
    codes = [site.create()["code"] for _ in range(2)]
    pages: list[str] = []

    def note(request: Request) -> None:
        if request.is_navigation_request():
            pages.append(request.url)

    window.context.on("request", note)
    tab = window.open(f"{site.url}/#{codes[0][:4].lower()}%20{codes[0][4:]}")
    expect(tab.locator("#guest-code")).to_have_value(f"{codes[0][:4]}-{codes[0][4:]}")
    expect(tab.locator("#guest-state")).to_contain_text("Open, ")
    tab.get_by_role("textbox", name="Request").fill("half a quest")
    tab.evaluate("(code) => (location.hash = code)", codes[1])
    expect(tab.locator("#guest-code")).to_have_value(f"{codes[1][:4]}-{codes[1][4:]}")
    expect(tab.locator("#guest-state")).to_contain_text("Open, ")
    expect(tab.get_by_role("textbox", name="Request")).to_have_value("half a quest")
    assert [httpx.URL(url).raw_path for url in pages] == [b"/"]


def test_guest_link_in_the_tab_of_a_host(window: Window, site: Parley) -> None:
    """The tab becomes a guest, and on the way back the same host again."""
    tab, code = open_host(window, site)
    other = site.create()["code"]
    tab.evaluate("(code) => (location.hash = code)", other)
    expect(tab.locator("#guest-code")).to_have_value(f"{other[:4]}-{other[4:]}")
    expect(tab.locator("#host")).to_be_hidden()
    tab.evaluate("history.back()")
    expect(tab.locator("#code")).to_have_text(f"{code[:4]}-{code[4:]}")
    expect(tab.locator("#guest")).to_be_hidden()
    expect(tab.locator("#state")).to_have_text("Connected")


def test_busy_relay(window: Window, site: Parley) -> None:
    window.context.route("**/stream?*", lambda route: refuse(route, 503, "busy", retry_after=1))
    host = window.open(f"{site.url}/")
    expect(host.locator("#state")).to_have_text("The relay is busy, trying again")
    expect(host.locator("#state")).to_have_text("Connected, without a stream")
    window.context.unroute_all()
    expect(host.locator("#state")).to_have_text("Connected")
    window.forgive_the_network()


def test_replaced(window: Window, site: Parley) -> None:
    host, _ = open_host(window, site)
    host.route("**/stream?*", lambda route: refuse(route, 409, "replaced"))
    host.evaluate("dispatchEvent(new Event('online'))")
    expect(host.locator("#state")).to_have_text("Taken over by another tab or program")
    expect(host.get_by_role("button", name="New session")).to_be_visible()
    window.forgive_the_network()


def test_renew(window: Window, site: Parley) -> None:
    host, code = open_host(window, site)
    expect(host.locator("#clock")).to_have_text(re.compile(r"^9:[1-4]\d|9:5[0-7]$"))
    host.get_by_role("button", name="Renew").click()
    expect(host.locator("#announcer")).to_have_text("Renewed, 10:00 left")
    assert site.http.get(f"/api/sessions/{code}").json()["ttl"] >= 599


def test_end_and_begin_again(window: Window, site: Parley) -> None:
    host, code = open_host(window, site)
    site.http.post(f"/api/sessions/{code}/requests", json={"payload": 1})
    expect(host.locator("#requests li")).to_have_count(1)
    end_session(host)
    expect(host.locator("#state")).to_have_text("Ended")
    expect(host.locator(".outcome")).to_have_text("Not answered")
    assert not site.http.get(f"/api/sessions/{code}").json()["active"]
    again = host.get_by_role("button", name="New session")
    expect(again).to_be_focused()
    again.dblclick()
    expect(host.locator("#state")).to_have_text("Connected")
    expect(host.get_by_role("button", name="Copy code")).to_be_focused()
    new = host.locator("#code").inner_text()
    assert new.replace("-", "") != code
    host.reload()
    expect(host.locator("#code")).to_have_text(new)


def test_ended_while_answering(window: Window, site: Parley) -> None:
    """What was written stays to be seen, and the focus does not get lost."""
    host, code = open_host(window, site)
    site.http.post(f"/api/sessions/{code}/requests", json={"payload": 1})
    host.get_by_label("Answer", exact=True).fill("half an ans")
    kept = host.evaluate("Object.values(sessionStorage).find((text) => text.includes('token'))")
    token = json.loads(kept)["token"]
    site.http.delete(f"/api/sessions/{code}", headers={"Authorization": f"Bearer {token}"})
    expect(host.locator(".answer")).to_have_text("Not sent: half an ans")
    expect(host.get_by_role("button", name="New session")).to_be_focused()
    guest = window.open(f"{site.url}/?code={code}")
    expect(guest.locator("#guest-state")).to_have_text("The host has ended this session")


@pytest.mark.long
def test_expiry(window: Window) -> None:
    with running_site(SESSION_TTL_SECONDS="6") as site:
        host, code = open_host(window, site)
        host.get_by_label("Renew by itself").uncheck()
        expect(host.locator("#announcer")).to_have_text("The session ends within a minute")
        guest = window.open(f"{site.url}/?code={code}")
        expect(guest.locator("#guest-state")).to_contain_text("Open, ")
        expect(host.locator("#state")).to_have_text("Expired")
        expect(host.locator("#clock")).to_have_text("0:00")
        expect(guest.locator("#guest-state")).to_contain_text("Check the code")
        window.forgive_the_network()


@pytest.mark.parametrize("hours", [-1, 1])
def test_clock_that_is_set(window: Window, site: Parley, hours: int) -> None:
    """Back or forward: both pages ask the relay how long the session lives."""
    window.context.clock.install()
    host, code = open_host(window, site)
    guest = window.open(f"{site.url}/?code={code}")
    expect(guest.locator("#guest-state")).to_contain_text("Open, ")
    set_clock(host, hours * 3600)
    window.context.clock.run_for(10_000)
    expect(host.locator("#clock")).to_have_text(re.compile(r"^9:\d\d$"))
    expect(guest.locator("#guest-state")).to_have_text(re.compile(r"^Open, 9:\d\d left$"))


@pytest.mark.long
def test_renewed_by_itself(window: Window) -> None:
    with running_site(SESSION_TTL_SECONDS="4") as site:
        host, code = open_host(window, site)
        expect(host.get_by_label("Renew by itself")).to_be_checked()
        created = site.http.get(f"/api/sessions/{code}").json()["expiresAt"]
        wait_until(lambda: site.http.get(f"/api/sessions/{code}").json()["expiresAt"] > created)
        host.close()


def test_reload_in_the_middle_of_a_request(window: Window, site: Parley, beside: Beside) -> None:
    host, code = open_host(window, site)
    asking = beside(ask, site, code, "still there?")
    expect(host.locator("#requests h3")).to_have_text("q1")
    host.reload()
    expect(host.locator("#requests h3")).to_have_text(["q1"])
    assert host.locator("#code").inner_text().replace("-", "") == code
    host.get_by_label("Answer", exact=True).fill("yes")
    host.get_by_role("button", name="Send answer").click()
    assert asking.result()["result"] == "yes"


def test_reload_keeps_what_was_typed_and_answered(window: Window, site: Parley, beside: Beside) -> None:
    host, code = open_host(window, site)
    answered = beside(ask, site, code, "first?")
    host.get_by_label("Answer", exact=True).fill("<b>one</b>")
    host.get_by_role("button", name="Send answer").click()
    assert answered.result()["result"] == "<b>one</b>"
    expect(host.locator("#answered .outcome")).to_have_text("Answered")
    call = {"method": "tools/call", "params": {"name": "paint"}}
    assert ask(site, code, call, "q2")["error"]["code"] == "unknown_tool"
    asking = beside(ask, site, code, "second?", "q3")
    host.get_by_label("Answer", exact=True).fill("half an ans")
    host.get_by_label("Renew by itself").uncheck()
    host.reload()
    expect(host.get_by_label("Answer", exact=True)).to_have_value("half an ans")
    expect(host.get_by_label("Renew by itself")).not_to_be_checked()
    expect(host.locator("#answered h3")).to_have_text(["Call 1: paint", "q1"])
    expect(host.locator("#answered .outcome")).to_have_text(["Refused: there is no such tool", "Answered"])
    expect(host.locator("#answered li").last.locator(".answer")).to_have_text("<b>one</b>")
    host.get_by_label("Answer", exact=True).press("Control+Enter")
    assert asking.result()["result"] == "half an ans"
    until(host, "!Object.keys(sessionStorage).some((key) => key.startsWith('draft'))")


def test_end_that_was_not_meant(window: Window, site: Parley) -> None:
    """The question goes after a while, and the session goes on."""
    window.context.clock.install()
    host, code = open_host(window, site)
    host.get_by_role("button", name="End session").click()
    window.context.clock.run_for(10_001)
    host.get_by_role("button", name="End session").click()
    assert site.http.get(f"/api/sessions/{code}").json()["active"]


def test_offline_and_online_again(window: Window, site: Parley, beside: Beside) -> None:
    host, code = open_host(window, site)
    window.context.set_offline(True)
    expect(host.locator("#state")).to_have_text("Connection lost, trying again")
    asking = beside(ask, site, code, "are you there?")
    wait_until(lambda: site.store.names("req:*") != [])
    window.context.set_offline(False)
    expect(host.locator("#state")).to_have_text("Connected")
    host.get_by_label("Answer", exact=True).fill("again")
    host.get_by_role("button", name="Send answer").click()
    assert asking.result()["result"] == "again"
    window.forgive_the_network()


def test_answer_given_while_offline(window: Window, site: Parley, beside: Beside) -> None:
    host, code = open_host(window, site)
    asking = beside(ask, site, code, 1)
    host.get_by_label("Answer", exact=True).fill("2")
    window.context.set_offline(True)
    host.get_by_role("button", name="Send answer").click()
    expect(host.locator(".outcome")).to_have_text("Sending")
    window.context.set_offline(False)
    assert asking.result()["result"] == 2
    window.forgive_the_network()


def test_blocked_stream(window: Window, site: Parley, beside: Beside) -> None:
    """It falls back to long polling, and goes back to the stream."""
    window.context.route("**/stream?*", lambda route: route.abort())
    host = window.open(f"{site.url}/")
    expect(host.locator("#state")).to_have_text("Connected, without a stream")
    code = host.locator("#code").inner_text()
    for number in range(3):
        asking = beside(ask, site, code, number, f"q{number}")
        host.get_by_label("Answer", exact=True).fill(f"{number}")
        host.get_by_role("button", name="Send answer").click()
        assert asking.result()["result"] == number
    window.forgive_the_network()


def test_hostile_text(window: Window, site: Parley, beside: Beside) -> None:
    host, code = open_host(window, site)
    asking = beside(ask, site, code, {HOSTILE: HOSTILE})
    expect(host.locator(".payload")).to_contain_text(HOSTILE)
    host.get_by_label("Echo").check()
    assert asking.result()["result"] == {HOSTILE: HOSTILE}
    host.get_by_label("Echo").uncheck()
    guest = window.open(f"{site.url}/?code={code}")
    guest.get_by_role("textbox", name="Request").fill("?")
    guest.get_by_role("button", name="Send").click()
    host.get_by_label("Answer", exact=True).fill(HOSTILE)
    host.get_by_role("button", name="Send as error").click()
    expect(guest.locator(".answer")).to_have_text(HOSTILE)
    for tab in (host, guest):
        assert tab.locator("img, li script").count() == 0
        assert tab.evaluate("window.hacked") is None


def tab_to(page: Page, name: str) -> None:
    """Press Tab until what has this name has the focus."""
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.labels?.[0]?.innerText ?? document.activeElement.innerText")
        if focused.strip().startswith(name):
            return
    pytest.fail(f"{name} cannot be reached by keyboard")


def test_keyboard_only(window: Window, site: Parley, beside: Beside) -> None:
    host, code = open_host(window, site)

    asking = [beside(ask, site, code, number, f"q{number}") for number in range(2)]
    expect(host.locator("#requests li")).to_have_count(2)
    tab_to(host, "Answer")
    host.keyboard.type('"first"')
    host.keyboard.press("Control+Enter")
    host.keyboard.type('"second"')  # the focus is in the next box already
    host.keyboard.press("Tab")
    host.keyboard.press("Enter")
    assert {one.result()["result"] for one in asking} == {"first", "second"}
    tab_to(host, "End session")
    host.keyboard.press("Space")
    expect(host.get_by_role("button", name="End it for everybody?")).to_be_focused()
    host.keyboard.press("Space")
    expect(host.get_by_role("button", name="New session")).to_be_focused()
    host.keyboard.press("Enter")
    expect(host.locator("#state")).to_have_text("Connected")


def test_guest_while_the_store_is_down(window: Window, site: Parley) -> None:
    code = site.create()["code"]
    site.store.faults.fail("quota")
    guest = window.open(f"{site.url}/?code={code}")
    expect(guest.locator("#guest-state")).to_contain_text("The operator has to raise")
    site.store.faults.heal()
    expect(guest.locator("#guest-state")).to_contain_text("Open, ", timeout=10_000)
    window.forgive_the_network()


def test_trouble_at_the_start(window: Window, site: Parley) -> None:
    site.store.faults.fail("quota")
    host = window.open(f"{site.url}/")
    expect(host.get_by_role("alert")).to_contain_text("The operator has to raise the database's limit")
    site.store.faults.heal()
    host.get_by_role("button", name="Try again").click()
    expect(host.locator("#state")).to_have_text("Connected")
    window.forgive_the_network()


def test_security_headers(site: Parley) -> None:
    for path in ("/", "/demo.html", "/problems.html", "/api.html", "/relay.js"):
        headers = site.http.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"


LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 900}},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "has_touch": True},
}
# One of them after each change, and all in CI.
in_each_look = pytest.mark.parametrize(
    "look", [pytest.param(look, marks=() if look == "light" else pytest.mark.long) for look in LOOKS]
)


def test_error_without_a_text(window: Window, site: Parley, beside: Beside) -> None:
    host, code = open_host(window, site)
    asking = beside(ask, site, code, 1)
    host.get_by_role("button", name="Send as error").click()
    assert asking.result()["error"] == "The person does not answer."


def test_call_of_a_session_that_has_expired(window: Window, site: Parley) -> None:
    """The host is not asked to ask the host for a new code."""
    host, _ = open_host(window, site)
    problem = "session_not_found"
    host.route(re.compile("/api/sessions/[^/]+$"), lambda route: refuse(route, 404, problem))
    host.get_by_role("button", name="Renew").click()
    expect(host.locator("#state")).to_have_text("Expired")
    expect(host.get_by_role("alert")).to_be_hidden()
    window.forgive_the_network()


def test_api(window: Window, site: Parley) -> None:
    """Each call of openapi.json is on the page that its link leads to, with what it takes and answers."""
    page = window.open(f"{site.url}/")
    page.get_by_role("link", name="API", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("The API")
    described = site.http.get("/openapi.json").json()["paths"]
    calls = [f"{method.upper()} {path}" for path in described for method in described[path] if method != "parameters"]
    shown = page.locator("section > p:first-of-type > code")
    expect(shown).to_have_count(len(calls))
    assert sorted(shown.all_inner_texts()) == sorted(calls)
    post = page.locator("#postRequest")
    expect(post).to_contain_text("wait (query)")
    expect(post).to_contain_text('"question": "6 x 7?"')
    expect(post.get_by_role("row").filter(has_text="409")).to_be_visible()


@in_each_look
def test_looks(chromium: Browser, site: Parley, look: str) -> None:
    """Take pictures of both views, in which axe finds nothing serious and nothing runs out of the window."""
    SCREENSHOTS.mkdir(exist_ok=True)
    with chromium.new_context(**LOOKS[look]) as context:
        window = Window(context)
        host, code = open_host(window, site)
        guest = window.open(f"{site.url}/?code={code}")
        for number, text in enumerate(["Which of the two?", '{"order": 1, "items": ["tea", "bread"]}', "x" * 300]):
            guest.get_by_role("textbox", name="Request").fill(text)
            guest.get_by_role("button", name="Send").click()
            expect(host.locator("#requests li")).to_have_count(number + 1)
        for text, button in [("the first", "Send answer"), ("there is no such order", "Send as error")]:
            host.get_by_label("Answer", exact=True).first.fill(text)
            host.get_by_role("button", name=button).first.click()
        expect(guest.locator(".answer:not([hidden])")).to_have_count(2)
        expect(host.locator("#answered li")).to_have_count(2)
        for request_id, name, arguments in [
            ("c1", "ask_person", {"question": "Which colour?"}),
            ("c2", "ask_person", {"question": "And which size, if you had to choose among small, large and huge?"}),
            ("c3", "paint", {"colour": "red", "sizes": [1, 2]}),
        ]:
            payload = {"method": "tools/call", "params": {"name": name, "arguments": arguments}}
            site.http.post(f"/api/sessions/{code}/requests", json={"id": request_id, "payload": payload})
        expect(host.locator("h3").filter(has_text="paint")).to_be_visible()
        site.http.delete(f"/api/sessions/{code}/requests/c1").raise_for_status()
        expect(host.locator(".outcome").filter(has_text="Withdrawn")).to_be_visible()
        host.locator("summary").filter(has_text="VS Code").click()
        check_look(host, SCREENSHOTS / f"host-{look}.png")
        check_look(guest, SCREENSHOTS / f"guest-{look}.png")
        end_session(host)
        expect(host.locator("#state")).to_have_text("Ended")
        check_look(host, SCREENSHOTS / f"ended-{look}.png")
        check_look(window.open(f"{site.url}/problems.html"), SCREENSHOTS / f"problems-{look}.png")
        reference = window.open(f"{site.url}/api.html")
        expect(reference.locator("#postRequest")).to_be_visible()
        check_look(reference, SCREENSHOTS / f"api-{look}.png")
        window.forgive_the_network()
        assert window.complaints == []


def check_look(tab: Page, picture: Path) -> None:
    """Take a picture of the whole page, in which axe finds nothing, and which is no wider than its window."""
    found = Axe().run(tab).response["violations"]
    assert [(one["id"], one["impact"], one["nodes"][0]["html"]) for one in found] == []
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    tab.screenshot(path=picture, full_page=True)
