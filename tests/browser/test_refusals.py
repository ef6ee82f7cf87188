"""public/relay.js: which failures are final, which pass, and which are the caller's own."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route

from tests.browser.conftest import HOST, Beside, Window, ask, asking, hurry_until, refuse, set_clock, start, until
from tests.support.deployments import Parley
from tests.support.tools import wait_until

CODE = "ABC12345"
TOO_LARGE = {"name": "RelayError", "code": "payload_too_large", "status": 413}
LONG = "'ü'.repeat(2_100_000)"  # 4.2 MB in UTF-8, and half as much to String.length

type Answer = Callable[[Route], None]


def reply(status: int, body: dict[str, Any]) -> Answer:
    return lambda route: route.fulfill(status=status, json={"id": "q", **body})


def problem(status: int, code: str, retry_after: int = 0) -> Answer:
    return lambda route: refuse(route, status, code, retry_after)


def bare(status: int) -> Answer:
    """Return an answer without a problem document, such as the platform's own."""
    return lambda route: route.fulfill(status=status, content_type="text/plain", body="FUNCTION_PAYLOAD_TOO_LARGE")


ANSWERED = reply(200, {"status": "answered", "result": 42})
PENDING = reply(202, {"status": "pending"})


def answer_in_turn(tab: Page, *answers: Answer) -> list[str]:
    """Answer the tab's calls one after the other, the last answer again and again. Return what is called."""
    calls: list[str] = []

    def answer(route: Route) -> None:
        calls.append(f"{route.request.method} {route.request.url.partition('/api')[2]}")
        answers[min(len(calls), len(answers)) - 1](route)

    tab.route("**/api/**", answer)
    return calls


def test_answer_that_the_platform_would_refuse(tab: Page, site: Parley, beside: Beside) -> None:
    """It is not uploaded, and the guest is told."""
    code = start(tab)
    lengths: list[int] = []

    def measure(route: Route) -> None:
        lengths.append(len(route.request.post_data_buffer or b""))
        route.continue_()

    tab.route("**/responses", measure)
    asked = beside(ask, site, code, {"give": "huge"})
    until(tab, "told.at(-1)?.[0] === 'answered'")
    assert asked.result()["error"]["code"] == "payload_too_large"
    assert tab.evaluate("told.at(-1)[1].problem.code") == "payload_too_large"
    assert len(lengths) == 1
    assert lengths[0] < 200
    tab.unroute_all()
    tab.reload()
    assert start(tab) == code
    assert ask(site, code, "next", "q2")["result"] == {"echo": "next"}
    assert tab.evaluate("ran") == ["q1", "q2"]


def test_answer_that_the_platform_refuses(window: Window, tab: Page, site: Parley, beside: Beside) -> None:
    code = start(tab)
    uploads: list[str] = []

    def refuse_first(route: Route) -> None:
        uploads.append(route.request.post_data or "")
        if len(uploads) == 1:
            bare(413)(route)
        else:
            route.continue_()

    tab.route("**/responses", refuse_first)
    asked = beside(ask, site, code, 1)
    until(tab, "told.at(-1)?.[0] === 'answered'")
    assert asked.result()["error"]["code"] == "payload_too_large"
    assert len(uploads) == 2
    window.forgive_the_network()


def test_request_that_is_too_large(window: Window, tab: Page) -> None:
    calls = answer_in_turn(tab, bare(413))
    told = tab.evaluate(
        f"""async () => {{
          const {{ guest }} = await import("/relay.js");
          return guest("{CODE}").request({LONG}).catch((error) => ({{ name: error.name, ...error }}));
        }}"""
    )
    assert told.items() >= TOO_LARGE.items()
    assert calls == []
    assert asking(tab, CODE, 1).items() >= TOO_LARGE.items()
    assert len(calls) == 1
    window.forgive_the_network()


@pytest.mark.parametrize(
    ("answers", "outcome", "calls"),
    [
        pytest.param([problem(429, "rate_limited", 1)], {"code": "rate_limited"}, 1, id="first post"),
        pytest.param([PENDING, problem(429, "rate_limited", 1), ANSWERED], {"result": 42}, 3, id="accepted"),
        pytest.param(
            [bare(502), problem(429, "too_many_pending", 1), ANSWERED], {"result": 42}, 3, id="perhaps accepted"
        ),
        pytest.param(
            [problem(503, "busy", 1), problem(429, "rate_limited", 1)], {"code": "rate_limited"}, 2, id="not accepted"
        ),
        pytest.param([PENDING, problem(429, "rate_limited", 60)], {"code": "timeout"}, 2, id="longer than the guest"),
    ],
)
def test_guest_that_is_limited(
    window: Window, tab: Page, answers: list[Answer], outcome: dict[str, object], calls: int
) -> None:
    """Before its request is accepted it is told; later it waits, and goes on. It withdraws what it gives up."""
    called = answer_in_turn(tab, *answers)
    assert asking(tab, CODE, 1, "{timeout: 4000}").items() >= outcome.items()
    gave_up = outcome.get("code") == "timeout"
    wait_until(lambda: bool(tab.evaluate("1")) and len(called) == calls + gave_up)
    assert [call.startswith("DELETE ") for call in called] == [False] * calls + [True] * gave_up
    window.forgive_the_network()


def test_guest_that_is_limited_for_long(window: Window, tab: Page) -> None:
    """The relay asks for patience for longer than a guest puts up with a relay that is out of reach."""
    tab.clock.install()
    called = answer_in_turn(tab, PENDING, *[problem(429, "rate_limited", 20)] * 4, ANSWERED)
    assert asking_in_a_hurry(tab) == 42
    assert len(called) == 6
    window.forgive_the_network()


def asking_in_a_hurry(tab: Page) -> Any:
    """Ask from the page, whose clock runs ahead, and return the result or the code of the error."""
    tab.evaluate(
        f"""async () => {{
          const {{ guest }} = await import("/relay.js");
          window.outcome = undefined;
          guest("{CODE}").request(1).then((result) => (outcome = result), ({{ code }}) => (outcome = code));
        }}"""
    )
    hurry_until(tab, "outcome !== undefined")
    return tab.evaluate("outcome")


def test_guest_of_a_busy_relay(window: Window, tab: Page) -> None:
    """It asks without waiting, which always works, for as long as it takes, and waits again as soon as it can."""
    tab.clock.install()
    plain: list[str] = []

    def be_busy(route: Route) -> None:
        if not route.request.url.endswith("wait=0"):
            refuse(route, 503, "busy", retry_after=1)
            return
        plain.append(route.request.method)
        (ANSWERED if len(plain) > 12 else PENDING)(route)

    tab.route("**/api/**", be_busy)
    before = tab.evaluate("Date.now()")
    assert asking_in_a_hurry(tab) == 42
    assert plain == ["POST"] + ["GET"] * 12
    assert tab.evaluate("Date.now()") - before > 60_000
    tab.unroute_all()
    calls = answer_in_turn(tab, problem(503, "busy", 1), PENDING, PENDING, ANSWERED)
    assert asking_in_a_hurry(tab) == 42
    assert [call.partition("wait=")[2] for call in calls] == ["25", "0", "25", "25"]
    window.forgive_the_network()


def test_guest_whose_clock_is_set(tab: Page) -> None:
    """It goes on waiting in calls of 25 s, where an hour seems to have passed."""

    def answer_an_hour_later(route: Route) -> None:
        set_clock(tab, 3600)
        PENDING(route)

    tab.clock.install()
    calls = answer_in_turn(tab, answer_an_hour_later, ANSWERED)
    assert asking(tab, CODE, 1, "{timeout: 600_000}") == {"result": 42}
    assert [call.partition("wait=")[2] for call in calls] == ["25", "25"]


def test_relay_that_is_always_busy(window: Window, tab: Page) -> None:
    """Even for calls that do not wait: something is broken, and the guest gives up as with any other failure."""
    tab.clock.install()
    answer_in_turn(tab, problem(503, "busy", 1))
    assert asking_in_a_hurry(tab) == "busy"
    window.forgive_the_network()


@pytest.mark.parametrize("relay", ["nowhere.example:3000", "ftp://nowhere.example", "nonsense", "https://"])
def test_relay_that_is_no_url(tab: Page, relay: str) -> None:
    for side in (f"guest('{CODE}', options).request(1)", "host({ ...options, onRequest() {} })"):
        told = tab.evaluate(
            f"""async (options) => {{
              const {{ guest, host }} = await import("/relay.js");
              try {{
                return await {side};
              }} catch (error) {{
                return error.name;
              }}
            }}""",
            {"relay": relay},
        )
        assert told == "TypeError"


def test_call_that_is_not_valid(tab: Page) -> None:
    """A browser makes no request to such a URL, and never will."""
    relay = tab.url.replace("http://", "http://user:password@")
    told = tab.evaluate(
        """async (relay) => {
          const { guest } = await import("/relay.js");
          return guest("ABC12345", { relay }).request(1).catch((error) => error.name);
        }""",
        relay,
    )
    assert told == "TypeError"


def test_host_that_cannot_call(tab: Page) -> None:
    """A token that no header can carry stands for any defect: the session shows the error, and does not try again."""
    session = {"code": CODE, "token": "€", "createdAt": "", "expiresAt": "2100-01-01T00:00:00.000Z", "ttl": 600}
    tab.clock.install()
    tab.route("**/api/sessions", lambda route: route.fulfill(json=session))
    tab.evaluate(
        "window.made = 0; const Made = Request; Request = function (...all) { made++; return new Made(...all) }"
    )
    tab.evaluate(HOST, {"autoRenew": False})
    until(tab, "session.state === 'disconnected'")
    assert tab.evaluate("[session.problem.code, session.problem.cause.name]") == ["client_error", "TypeError"]
    tries = tab.evaluate("made")
    assert tries > 0
    assert tries > 0
    tab.clock.run_for(300_000)
    assert tab.evaluate("made") == tries


@pytest.mark.parametrize(
    "fetch",
    [
        "async () => { throw new TypeError('network error') }",
        "async () => new Response(new ReadableStream({ pull: () => Promise.reject(new TypeError('network error')) }))",
    ],
)
def test_network_that_fails(tab: Page, fetch: str) -> None:
    """Before the answer, and in the middle of its body."""
    told = tab.evaluate(
        f"""async () => {{
          const {{ guest }} = await import("/relay.js");
          window.fetch = {fetch};
          return guest("{CODE}").session().catch(({{ name, code, cause }}) => [name, code, cause.name]);
        }}"""
    )
    assert told == ["RelayError", "unreachable", "TypeError"]


def test_browser_of_last_year(window: Window, site: Parley, beside: Beside) -> None:
    """Without AbortSignal.any and AbortSignal.timeout, which came with Safari 17.4, Firefox 124 and Chrome 116."""
    window.context.add_init_script("delete AbortSignal.any; delete AbortSignal.timeout")
    tab = window.open(f"{site.url}/problems.html")
    assert tab.evaluate("[typeof AbortSignal.any, typeof AbortSignal.timeout]") == ["undefined", "undefined"]
    code = start(tab)
    guest = window.open(tab.url)
    assert asking(guest, code, 1) == {"result": {"echo": 1}}
    assert asking(guest, code, {"hold": 1}, "{timeout: 300}")["code"] == "timeout"
    assert asking(guest, code, 2, "{signal: AbortSignal.abort()}")["name"] == "AbortError"
    guest.evaluate("window.stop = new AbortController(); setTimeout(() => stop.abort(), 300)")
    assert asking(guest, code, {"hold": 2}, "{signal: stop.signal}")["name"] == "AbortError"
    tab.route("**/stream?*", lambda route: route.abort())
    tab.evaluate("dispatchEvent(new Event('online'))")
    until(tab, "session.state === 'polling'")
    asked = beside(ask, site, code, 3)
    assert asked.result()["result"] == {"echo": 3}
    tab.evaluate("session.end()")
    assert asking(guest, code, 4)["code"] == "session_ended"
    window.forgive_the_network()
