"""public/relay.js: both sides of a session, as other pages and scripts use them."""

import json
import os
import re
import signal
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from dev.events import events_of
from tests.browser.conftest import HOST, Beside, Elsewhere, Window, ask, asking, set_clock, start, states, until
from tests.support.deployments import Parley, running_site
from tests.support.documents import blocks
from tests.support.tools import PROJECT, wait_until


def test_answers(tab: Page, site: Parley) -> None:
    code = start(tab)
    assert ask(site, code, {"a": [1, None, "ü"]})["result"] == {"echo": {"a": [1, None, "ü"]}}
    until(tab, "told.map(([type]) => type).slice(-2).join() === 'request,answered'")
    assert re.fullmatch(r"\d{4}-.*Z", tab.evaluate("session.expiresAt"))
    assert 595 < tab.evaluate("session.ttl") <= 600.1


@pytest.mark.parametrize(
    ("payload", "response"),
    [
        ({"raise": "no way"}, {"error": {"name": "Error", "message": "no way"}}),
        ({"throw": "just a text"}, {"error": "just a text"}),
        ({"throw": {"code": 7}}, {"error": {"code": 7}}),
        ({"give": "none"}, {"result": None}),
        ({"give": "loop"}, {"error": {"message": "The host returned Infinity, which is no JSON."}}),
        ({"give": "big"}, {"error": {"name": "TypeError"}}),
        ({"give": "odd"}, {"error": {"message": "The host failed."}}),
        ({"give": "large"}, {"error": {"code": "payload_too_large"}}),
    ],
)
def test_whatever_happens_is_an_answer(
    window: Window, tab: Page, site: Parley, payload: dict[str, str], response: dict[str, Any]
) -> None:
    answer = ask(site, start(tab), payload)
    for name, value in response.items():
        if isinstance(value, dict) and "code" not in payload.get("throw", ""):
            assert answer[name].items() >= value.items()
        else:
            assert answer[name] == value
    window.forgive_the_network()


def test_needs_a_handler(tab: Page) -> None:
    told = tab.evaluate("import('/relay.js').then(({ host }) => host({})).catch(String)")
    assert told == "TypeError: host() needs tools, or onRequest: a function that answers a request"


def test_request_in_hand_is_not_run_again(tab: Page, site: Parley, beside: Beside) -> None:
    """After a reload the guest is told, instead."""
    code = start(tab)
    asking = beside(ask, site, code, {"hold": True})
    until(tab, "ran.length === 1")
    tab.reload()
    assert start(tab) == code
    assert asking.result()["error"]["code"] == "interrupted"
    assert tab.evaluate("ran") == ["q1"]
    assert ask(site, code, "next", "q2")["result"] == {"echo": "next"}


def test_request_in_hand_is_resumed(tab: Page, site: Parley, beside: Beside) -> None:
    code = start(tab)
    asking = beside(ask, site, code, {"hold": True})
    until(tab, "ran.length === 1")
    tab.reload()
    start(tab, resumes=True)
    assert asking.result()["result"] == "resumed q1"
    assert tab.evaluate("ran") == ["q1"]


def test_answer_in_hand_outlives_a_reload(window: Window, tab: Page, site: Parley, beside: Beside) -> None:
    cut = "**/responses"
    tab.route(cut, lambda route: route.abort())
    code = start(tab)
    asking = beside(ask, site, code, "once")
    until(tab, "ran.length === 1")
    wait_until(lambda: bool(tab.evaluate("Object.values(sessionStorage).some((text) => text.includes('echo'))")))
    tab.reload()
    tab.unroute(cut)
    start(tab)
    assert asking.result()["result"] == {"echo": "once"}
    assert tab.evaluate("ran") == ["q1"]
    until(tab, "told.some(([type]) => type === 'answered')")
    assert tab.evaluate("Object.keys(sessionStorage).filter((key) => key.includes('/q1'))") == []
    window.forgive_the_network()


def test_answer_that_nobody_can_take(window: Window, tab: Page, site: Parley) -> None:
    """One that the relay refuses is replaced by what it says of it, and the request is not run again."""
    deep = "[" * 1400 + "]" * 1400
    code = start(tab)
    content = f'{{"id":"deep","payload":{deep}}}'
    url = f"/api/sessions/{code}/requests?wait=10"
    told = site.http.post(url, content=content, headers={"Content-Type": "application/json"})
    assert told.status_code == 200
    assert '"result":{"echo":[' in told.text or told.json()["error"]["code"] == "invalid_json"
    tab.reload()
    start(tab)
    assert ask(site, code, "next", "q2")["result"] == {"echo": "next"}
    assert tab.evaluate("ran") == ["deep", "q2"]
    window.forgive_the_network()


def test_answer_of_a_session_that_has_ended(tab: Page, site: Parley, beside: Beside) -> None:
    """It does not end up with a guest of the next one, where ids may come again."""
    first = start(tab)
    beside(site.http.post, f"/api/sessions/{first}/requests", json={"id": "q1", "payload": {"hold": "first"}})
    until(tab, "ran.length === 1")
    tab.evaluate("window.late = release; session.end()")
    second = start(tab)
    asked = beside(ask, site, second, {"hold": "second"})
    until(tab, "ran.length === 2")
    tab.evaluate("late()")
    tab.wait_for_timeout(100)
    tab.reload()
    start(tab)
    assert asked.result()["error"]["code"] == "interrupted"


def test_parser_that_throws(tab: Page, site: Parley) -> None:
    """As some do at __proto__: the request is read with JSON.parse, and the next ones come, too."""
    tab.evaluate(
        """async () => {
          const { host } = await import("/relay.js");
          const parse = (text) => { if (text.includes("__proto__")) throw new Error("no"); return JSON.parse(text); };
          window.session = await host({ parse, onRequest: ({ payload }) => Object.keys(payload) });
        }"""
    )
    code = tab.evaluate("session.code")
    content = '{"id":"evil","payload":{"__proto__":1}}'
    headers = {"Content-Type": "application/json"}
    told = site.http.post(f"/api/sessions/{code}/requests?wait=10", content=content, headers=headers)
    assert told.json()["result"] == ["__proto__"]
    assert ask(site, code, {"a": 1}, "honest")["result"] == ["a"]


def test_two_sessions_of_one_page(tab: Page, site: Parley) -> None:
    """Each is found again after a reload, and no third one is made."""
    codes = [start(tab), start(tab)]
    assert len(set(codes)) == 2
    tab.reload()
    assert [start(tab), start(tab)] == codes
    assert len(site.store.names("session:*")) >= 2


def test_answer_lost_on_its_way(window: Window, tab: Page, site: Parley, beside: Beside) -> None:
    """The relay has taken the answer, the host does not know, and sends it again."""
    lost: list[int] = []

    def lose(route: Route) -> None:
        if lost:
            route.continue_()
            return
        lost.append(route.fetch().status)
        route.abort()

    tab.route("**/responses", lose)
    code = start(tab)
    asked = beside(ask, site, code, 1)
    until(tab, "told.some(([type, detail]) => type === 'answered' && detail.problem === null)")
    assert asked.result()["result"] == {"echo": 1}
    assert (tab.evaluate("ran"), lost) == (["q1"], [201])
    window.forgive_the_network()


@pytest.mark.long
def test_many_streams_one_after_the_other(window: Window) -> None:
    """Each stream lasts a second; nothing is lost, run twice or out of order, and the state stays calm."""
    with running_site(STREAM_SECONDS="1") as site:
        tab = window.open(f"{site.url}/problems.html")
        code = start(tab)
        for number in range(40):
            assert ask(site, code, number, f"q{number}")["result"] == {"echo": number}
            tab.wait_for_timeout(75)
        assert tab.evaluate("ran") == [f"q{number}" for number in range(40)]
        assert set(states(tab)) <= {"connected"}
        tab.close()


def test_function_that_dies(window: Window, tab: Page, site: Parley, beside: Beside) -> None:
    code = start(tab)
    os.kill(site.platform.function("stream").pid, signal.SIGKILL)
    assert ask(site, code, 1)["result"] == {"echo": 1}
    window.forgive_the_network()


def test_store_that_fails_for_a_while(window: Window, tab: Page, site: Parley) -> None:
    code = start(tab)
    site.store.faults.fail("html")
    os.kill(site.platform.function("stream").pid, signal.SIGKILL)
    until(tab, "session.state === 'disconnected'")
    until(tab, "session.problem?.code === 'store_unavailable'")
    site.store.faults.heal()
    until(tab, "session.state === 'connected'")
    assert tab.evaluate("session.problem") is None
    assert ask(site, code, 1)["result"] == {"echo": 1}
    window.forgive_the_network()


def test_swallowed_stream(window: Window, tab: Page, site: Parley) -> None:
    """A proxy that holds back what is streamed: after eight seconds of silence it polls, and tries again later."""
    held: list[Route] = []
    tab.clock.install()
    tab.route("**/stream?*", lambda route: held.append(route))
    code = str(tab.evaluate(HOST, {}))
    wait_until(lambda: bool(tab.evaluate("1")) and bool(held))
    tab.clock.fast_forward(8_000)
    until(tab, "session.state === 'polling'")
    assert ask(site, code, "still")["result"] == {"echo": "still"}
    tab.unroute("**/stream?*")
    tab.clock.fast_forward(301_000)
    assert ask(site, code, "wakes the poll", "q2")["result"] == {"echo": "wakes the poll"}
    until(tab, "session.state === 'connected'")
    assert ask(site, code, "streamed", "q3")["result"] == {"echo": "streamed"}
    window.forgive_the_network()


def test_stream_that_fails_once(window: Window, tab: Page, site: Parley) -> None:
    """One failure is no reason to do without the stream."""
    failed: list[str] = []

    def fail(route: Route) -> None:
        if failed:
            route.continue_()
        else:
            failed.append(route.request.url)
            route.abort()

    tab.route("**/stream?*", fail)
    start(tab)
    assert states(tab) == ["disconnected", "connected"]
    window.forgive_the_network()


def test_silent_stream(window: Window, tab: Page, site: Parley) -> None:
    """A laptop that slept, a connection that is dead without an end: silence of forty seconds is enough."""
    tab.clock.install()
    code = start(tab)
    tab.clock.fast_forward(41_000)
    until(tab, "told.filter(([type, { state }]) => type === 'state' && state === 'connected').length >= 1")
    assert ask(site, code, 1)["result"] == {"echo": 1}


@pytest.mark.long
def test_renews_in_time(window: Window) -> None:
    with running_site(SESSION_TTL_SECONDS="3", SESSION_MAX_SECONDS="8") as site:
        tab = window.open(f"{site.url}/problems.html")
        code = start(tab)
        until(tab, "session.state === 'ended'")
        assert tab.evaluate("session.reason") == "expired"
        renewed = tab.evaluate("told.filter(([type]) => type === 'renewed').length")
        assert 2 <= renewed <= 6
        patches = [line for line in map(json.loads, site.lines) if line["method"] == "PATCH"]
        assert renewed <= len(patches) <= renewed + 2  # where the end no longer moves it stops
        assert site.http.get(f"/api/sessions/{code}").status_code == 404
        window.forgive_the_network()


@pytest.mark.long
def test_renews_after_a_sleep(window: Window) -> None:
    """The timers of a machine that sleeps stand still, and the session's time does not."""
    with running_site(SESSION_TTL_SECONDS="60") as site:
        tab = window.open(f"{site.url}/problems.html")
        tab.clock.install()
        start(tab)
        before = tab.evaluate("session.expiresAt")
        set_clock(tab, 45)
        assert tab.evaluate("session.ttl") < 20
        tab.clock.run_for(20_000)
        until(tab, f"session.expiresAt > '{before}'")
        tab.close()


@pytest.mark.long
@pytest.mark.parametrize("hours", [-1, 1])
def test_renews_by_a_clock_that_is_set(window: Window, hours: int) -> None:
    """Back or forward, while the host runs: it is renewed in time all the same."""
    with running_site(SESSION_TTL_SECONDS="60") as site:
        tab = window.open(f"{site.url}/problems.html")
        tab.clock.install()
        start(tab)
        before = tab.evaluate("session.expiresAt")
        set_clock(tab, hours * 3600)
        tab.clock.run_for(41_000)
        until(tab, f"session.expiresAt > '{before}'")
        assert tab.evaluate("session.state") != "ended"
        tab.close()


@pytest.mark.parametrize("hours", [-1, 1])
def test_countdown_by_a_clock_that_is_set(tab: Page, hours: int) -> None:
    """Only the relay says how long a session lives that is not renewed."""
    tab.clock.install()
    start(tab, autoRenew=False)
    set_clock(tab, hours * 3600)
    tab.clock.run_for(10_000)
    until(tab, "session.ttl > 500 && session.ttl <= 600")
    assert tab.evaluate("session.state") == "connected"


def test_renew_by_hand_and_not_by_itself(tab: Page, site: Parley) -> None:
    code = start(tab, autoRenew=False)
    before = tab.evaluate("session.expiresAt")
    tab.wait_for_timeout(20)
    tab.evaluate("session.renew()")
    assert tab.evaluate("session.expiresAt") > before
    assert site.http.get(f"/api/sessions/{code}").json()["expiresAt"] == tab.evaluate("session.expiresAt")
    tab.wait_for_timeout(100)
    assert tab.evaluate("told.filter(([type]) => type === 'renewed').length") == 1


def test_end(tab: Page, site: Parley, beside: Beside) -> None:
    code = start(tab)
    beside(site.http.post, f"/api/sessions/{code}/requests", json={"id": "q1", "payload": {"hold": True}})
    until(tab, "ran.length === 1")
    tab.evaluate("session.end()")
    tab.evaluate("session.end()")
    assert tab.evaluate("[session.state, session.reason]") == ["ended", "ended"]
    assert tab.evaluate("told.at(-1)") == ["ended", {"reason": "ended"}]
    assert tab.evaluate("told.find(([type]) => type === 'request')[1].signal.aborted")
    assert tab.evaluate("Object.keys(sessionStorage).filter((key) => key.startsWith('parley'))") == []
    assert not site.http.get(f"/api/sessions/{code}").json()["active"]
    assert start(tab) != code


@pytest.mark.parametrize("polls", [False, True])
def test_ended_elsewhere(window: Window, tab: Page, site: Parley, polls: bool) -> None:
    if polls:
        tab.route("**/stream?*", lambda route: route.abort())
    code = start(tab)
    token = tab.evaluate("Object.values(sessionStorage).map(JSON.parse).find(({ token }) => token).token")
    site.http.delete(f"/api/sessions/{code}", headers={"Authorization": f"Bearer {token}"}).raise_for_status()
    until(tab, "session.state === 'ended'")
    assert tab.evaluate("session.reason") == "ended"
    window.forgive_the_network()


def test_replaced(window: Window, tab: Page, site: Parley) -> None:
    """As by a program that has its token. It does not fight for the stream."""
    code = start(tab)
    token = tab.evaluate("Object.values(sessionStorage).map(JSON.parse).find(({ token }) => token).token")
    headers = {"Authorization": f"Bearer {token}"}
    with site.http.stream("GET", f"/api/sessions/{code}/stream", headers=headers) as answer:
        events = events_of(answer.iter_bytes())
        assert next(events).name == "open"
        until(tab, "session.state === 'ended'")
        assert tab.evaluate("session.reason") == "replaced"
        assert start(tab) != code, "it leaves the session to the other host"
        site.http.delete(f"/api/sessions/{code}", headers=headers)
        assert next(events).name == "ended"


def test_clock_that_is_wrong(tab: Page) -> None:
    tab.clock.install(time="2020-01-01T00:00:00Z")
    start(tab)
    assert 590 < tab.evaluate("session.ttl") <= 601


def test_guest(window: Window, tab: Page) -> None:
    code = start(tab)
    guest = window.open(tab.url)
    assert asking(guest, code, {"a": 1}) == {"result": {"echo": {"a": 1}}}
    assert asking(guest, f"{code[:4]}-{code[4:]}".lower(), "x") == {"result": {"echo": "x"}}
    assert asking(guest, code, {"raise": "no"})["error"] == {"name": "Error", "message": "no"}
    assert asking(guest, code, {"raise": "no"})["message"] == "no"
    assert asking(guest, code, {"throw": {"a": 1}})["message"] == "The host answered with an error."
    for dots in (".", ".."):
        assert asking(guest, code, dots, f"{{id: '{dots}'}}") == {"result": {"echo": dots}}
    rejected = guest.evaluate(
        "import('/relay.js').then(({ guest }) => guest('x').request(1n).catch((error) => error.name))"
    )
    assert rejected == "TypeError"


def test_guest_is_refused(window: Window, tab: Page) -> None:
    refused = asking(tab, "ABC12345")
    assert (refused["code"], refused["status"]) == ("session_not_found", 404)
    assert "ask the host for a new one" in refused["message"]
    code = start(tab)
    asking(tab, code, 1, '{id: "same"}')
    assert asking(tab, code, 2, '{id: "same"}')["code"] == "id_conflict"
    assert asking(tab, code, "x" * 1_200_000)["code"] == "payload_too_large"
    window.forgive_the_network()


def test_guest_does_not_wait_for_ever(tab: Page, site: Parley) -> None:
    code = site.create()["code"]
    assert asking(tab, code, 1, "{timeout: 300}")["code"] == "timeout"
    assert asking(tab, code, 1, "{signal: AbortSignal.timeout(300)}")["name"] == "TimeoutError"
    assert asking(tab, code, 1, "{signal: AbortSignal.abort()}")["name"] == "AbortError"


def test_guest_tries_again(window: Window, tab: Page, site: Parley) -> None:
    """A store that fails for a moment, and an answer that is lost: the host sees one request."""
    code = start(tab)
    guest = window.open(tab.url)
    site.store.faults.fail("html", times=3)
    assert asking(guest, code, 1) == {"result": {"echo": 1}}
    lost: list[int] = []

    def lose(route: Route) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route.fetch().status)
            route.abort()

    guest.route("**/requests*", lose)
    assert asking(guest, code, 2) == {"result": {"echo": 2}}
    assert lost == [200]
    assert len(tab.evaluate("ran")) == 2
    window.forgive_the_network()


def test_what_is_not_the_relay(window: Window, tab: Page) -> None:
    """A captive portal, or the platform's own page before a protected deployment."""
    tab.route("**/api/**", lambda route: route.fulfill(status=200, body="<html>Log in</html>"))
    assert asking(tab, "ABC12345", 1, "{timeout: 1000}")["code"] == "timeout"
    told = tab.evaluate("import('/relay.js').then(({ host }) => host({onRequest() {}})).catch(({ code }) => code)")
    assert told == "unexpected_answer"
    tab.unroute_all()
    start(tab)
    tab.route("**/api/**", lambda route: route.fulfill(json={"status": "welcome"}))
    assert tab.evaluate("session.renew().catch(({ code }) => code)") == "unexpected_answer"
    assert tab.evaluate("session.ttl") > 0
    window.forgive_the_network()


def test_five_lines_of_a_page(window: Window, site: Parley, elsewhere: str) -> None:
    """They run as pasted, in a page of another origin."""
    host_block, guest_block = blocks("docs/api.md", "In a page", "html", site.url)
    assert host_block.count("\n") == 5 + 2, "five lines between the tags"
    Elsewhere.page = host_block.encode()
    host = window.open(elsewhere)
    expect(host.locator("body")).to_have_text(re.compile(r"^\s*[0-9A-Z]{8}\s*$"))
    Elsewhere.page = guest_block.replace("ABC1-2345", host.locator("body").inner_text().strip()).encode()
    guest = window.open(elsewhere)
    expect(guest.locator("body")).to_contain_text("42")


def test_modules_load_in_two_waves(window: Window, site: Parley, elsewhere: str) -> None:
    """relay.js comes first, then all of its modules at once: each is asked for before any other has arrived."""
    Elsewhere.page = f"<!doctype html><script type=module>import '{site.url}/relay.js'</script>".encode()
    asked: list[str] = []
    held: list[Route] = []

    def hold(route: Route) -> None:
        asked.append(route.request.url.removeprefix(site.url))
        held.append(route)

    window.context.route(f"{site.url}/**", hold)
    tab = window.context.new_page()
    tab.goto(elsewhere, wait_until="commit")
    modules = sorted(f"/relay/{path.name}" for path in (PROJECT / "public" / "relay").glob("*.js"))
    wait_until(lambda: bool(tab.evaluate("1")) and asked == ["/relay.js"])
    held.pop().continue_()
    wait_until(lambda: bool(tab.evaluate("1")) and sorted(asked[1:]) == modules)
    for route in held:
        route.continue_()
    tab.wait_for_load_state()
    assert tab.evaluate(f"import('{site.url}/relay.js').then(({{ guest }}) => typeof guest)") == "function"
    assert len(asked) == 1 + len(modules)


def test_types_name_what_there_is(tab: Page) -> None:
    """Every export and every member of a session is declared, and the other way round."""
    declared = (PROJECT / "public" / "relay.d.ts").read_text("utf-8")
    exports = tab.evaluate("import('/relay.js').then((all) => Object.keys(all).sort())")
    assert exports == sorted(re.findall(r"^export (?:class|function) (\w+)", declared, re.MULTILINE))
    start(tab)
    members = tab.evaluate(
        "[...Object.keys(session), ...Object.getOwnPropertyNames(Object.getPrototypeOf(session))].sort()"
    )
    interface = declared.partition("export interface Session<")[2].partition("\n}")[0]
    named = set(re.findall(r"^  (?:readonly )?(\w+)[(:]", interface, re.MULTILINE))
    assert sorted(named - {"addEventListener"}) == [name for name in members if name != "constructor"]
