"""public/relay.js: a guest that calls tools, and one that gives up."""

from typing import Any

from playwright.sync_api import Page

from tests.browser.conftest import Beside, Window, asking, start, until
from tests.browser.test_tools import RESULTS, offer
from tests.support.deployments import Parley
from tests.support.tools import wait_until


def calling(tab: Page, code: str, expression: str, relay: str = "") -> Any:
    """Evaluate an expression of `guest`; return its value, or what its promise was rejected with."""
    return tab.evaluate(
        f"""async (code) => {{
          const {{ guest: join }} = await import("{relay}/relay.js");
          const guest = join(code);
          try {{
            return await {expression};
          }} catch (error) {{
            return {{ name: error.name, message: error.message, ...error }};
          }}
        }}""",
        code,
    )


def test_tools(window: Window, tab: Page, site: Parley) -> None:
    guest = window.open(tab.url)
    code = offer(tab, "echo", {"name": "typed", "inputSchema": {"type": "object", "required": ["a"]}})
    assert calling(guest, f"{code[:4].lower()}-{code[4:]}", "guest.tools()") == [
        {"name": "echo", "description": "The tool echo.", "inputSchema": {"type": "object"}},
        {"name": "typed", "description": "The tool typed.", "inputSchema": {"type": "object", "required": ["a"]}},
    ]
    assert calling(guest, code, "guest.session()")["listening"] is True
    assert calling(guest, site.create()["code"], "guest.tools()") == []
    assert calling(guest, "ABC12345", "guest.tools()")["code"] == "session_not_found"
    window.forgive_the_network()


def test_call_tool(window: Window, tab: Page) -> None:
    guest = window.open(tab.url)
    code = offer(tab, "echo", "give")
    assert calling(guest, code, "guest.callTool('echo', { a: [1] })")["structuredContent"] == {"a": [1]}
    assert calling(guest, code, "guest.callTool('echo')")["structuredContent"] == {}
    for what in ("nothing", "result", "failure", "null"):
        assert calling(guest, code, f"guest.callTool('give', {{ what: '{what}' }})") == RESULTS[what]
    assert calling(guest, code, "guest.callTool('give', { what: 'throwError' })")["isError"]
    for _ in range(2):
        once = "guest.callTool('echo', {}, { id: 'once' })"
        assert calling(guest, code, once)["structuredContent"] == {}
    assert tab.evaluate("ran.filter(([name, args, id]) => id === 'once').length") == 1


def test_call_that_is_rejected(window: Window, tab: Page) -> None:
    guest = window.open(tab.url)
    code = offer(tab, "echo")
    unknown = calling(guest, code, "guest.callTool('other', {})")
    assert unknown["name"] == "RelayError"
    assert unknown["message"] == "There is no tool other."
    assert unknown["error"] == {"code": "unknown_tool", "message": "There is no tool other."}
    assert calling(guest, code, "guest.callTool('echo', { a: 1n })")["name"] == "TypeError"
    assert calling(guest, "ABC12345", "guest.callTool('echo')")["code"] == "session_not_found"
    window.forgive_the_network()


def test_host_without_tools_that_answers_calls(window: Window, tab: Page, site: Parley, beside: Beside) -> None:
    """Whatever another kind of host answers is a result of a tool to the guest."""
    session = site.create()
    url = f"/api/sessions/{session['code']}"

    def answer(value: Any) -> None:
        wait_until(lambda: site.http.get(f"{url}/requests", headers=session["host"]).json()["requests"] != [])
        found = site.http.get(f"{url}/requests", headers=session["host"]).json()["requests"][0]
        site.http.post(f"{url}/responses", json={"id": found["id"], "result": value}, headers=session["host"])

    for value, text in [("a text", "a text"), ([1], "[1]")]:
        answered = beside(answer, value)
        result = calling(tab, session["code"], "guest.callTool('any', {})")
        assert result["content"] == [{"type": "text", "text": text}]
        answered.result()


def given_up(tab: Page) -> None:
    """Wait until the host has been told that what it works on is withdrawn."""
    until(tab, "told.at(-1)?.[0] === 'withdrawn'")
    assert tab.evaluate("[...held.values()].every(({ signal }) => signal.aborted)")
    tab.evaluate("told.length = 0; held.clear(); 0")


def test_guest_that_gives_up_withdraws(window: Window, tab: Page) -> None:
    guest = window.open(tab.url)
    code = offer(tab, "hold")
    assert calling(guest, code, "guest.callTool('hold', {}, { timeout: 500 })")["code"] == "timeout"
    given_up(tab)
    expression = "guest.callTool('hold', {}, { signal: AbortSignal.timeout(500) })"
    assert calling(guest, code, expression)["name"] == "TimeoutError"
    given_up(tab)
    payload = "{ method: 'tools/call', params: { name: 'hold' } }"
    for request_id in (".", ".."):
        expression = f"guest.request({payload}, {{ id: '{request_id}', timeout: 500 }})"
        assert calling(guest, code, expression)["code"] == "timeout"
        given_up(tab)


def test_guest_of_another_origin_that_gives_up(window: Window, tab: Page, site: Parley, elsewhere: str) -> None:
    """A preflight comes before the withdrawal."""
    code = offer(tab, "hold")
    guest = window.open(elsewhere)
    assert calling(guest, code, "guest.callTool('hold', {}, { timeout: 500 })", site.url)["code"] == "timeout"
    given_up(tab)


def test_guest_whose_page_closes_while_it_gives_up(window: Window, tab: Page) -> None:
    code = offer(tab, "hold")
    guest = window.open(tab.url)
    guest.evaluate(
        """async (code) => {
          const { guest } = await import("/relay.js");
          const stop = new AbortController();
          addEventListener("pagehide", () => stop.abort());
          guest(code).callTool("hold", {}, { signal: stop.signal }).catch(() => undefined);
        }""",
        code,
    )
    until(tab, "held.size === 1")
    guest.close(run_before_unload=False)
    given_up(tab)


def test_guest_that_never_began(tab: Page) -> None:
    """What it has not sent it does not withdraw."""
    code = start(tab)
    made: list[str] = []
    tab.on("request", lambda request: made.append(request.method) if "/requests" in request.url else None)
    assert asking(tab, code, 1, "{signal: AbortSignal.abort()}")["name"] == "AbortError"
    tab.wait_for_timeout(100)
    assert made == []


def test_guest_that_gives_up_what_is_answered(window: Window, tab: Page, site: Parley) -> None:
    """The answer was on its way: nothing is withdrawn, and the guest can still read it."""
    code = offer(tab, "echo")
    guest = window.open(tab.url)
    guest.route("**/requests?*", lambda route: (route.fetch(), route.abort()))
    expression = "guest.callTool('echo', { a: 1 }, { id: 'q1', timeout: 3000 })"
    assert calling(guest, code, expression)["code"] == "timeout"
    answer = site.http.get(f"/api/sessions/{code}/responses/q1?wait=10").json()
    assert answer["result"]["structuredContent"] == {"a": 1}
    window.forgive_the_network()
