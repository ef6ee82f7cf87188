"""public/relay.js: calls over a network that is slow, and one that is silent."""

import pytest
from playwright.sync_api import Page, Route

from tests.browser.conftest import Beside, ask, start, until
from tests.support.deployments import Parley
from tests.support.tools import wait_until


def held_answers(tab: Page) -> list[Route]:
    """Hold the calls with which the tab answers requests. Returns a list of them, which grows."""
    held: list[Route] = []
    tab.route("**/responses", lambda route: held.append(route))
    return held


def test_large_answer(tab: Page, site: Parley, beside: Beside) -> None:
    """120 KB may take longer than the 20 s that a small call has: it is sent once."""
    tab.clock.install()
    code = start(tab)
    held = held_answers(tab)
    asked = beside(ask, site, code, "x" * 120_000)
    wait_until(lambda: bool(tab.evaluate("1")) and bool(held))
    tab.clock.run_for(60_000)
    assert tab.evaluate("told.filter(([type]) => type === 'answered').length") == 0
    held[0].continue_()
    until(tab, "told.some(([type, { problem }]) => type === 'answered' && problem === null)")
    assert len(asked.result()["result"]["echo"]) == 120_000
    assert len(held) == 1


def test_small_answer(tab: Page, site: Parley, beside: Beside) -> None:
    """One that is lost is soon sent again."""
    tab.clock.install()
    code = start(tab)
    held = held_answers(tab)
    asked = beside(ask, site, code, "x")
    wait_until(lambda: bool(tab.evaluate("1")) and bool(held))
    tab.clock.run_for(22_000)
    wait_until(lambda: bool(tab.evaluate("1")) and len(held) == 2)
    held[1].continue_()
    assert asked.result()["result"] == {"echo": "x"}


# A guest looks the session up, in an answer of which the test sends a part at a time.
DRIP = """async () => {
  const { guest } = await import("/relay.js");
  window.fetch = async ({ signal }) => {
    const start = (body) => {
      window.send = (text) => body.enqueue(new TextEncoder().encode(text));
      window.finish = () => body.close();
      signal.addEventListener("abort", () => body.error(signal.reason));
    };
    return new Response(new ReadableStream({ start }));
  };
  window.outcome = undefined;
  guest("ABC12345").session().then((session) => (outcome = session.text), ({ code }) => (outcome = code));
}"""


@pytest.fixture
def dripping(tab: Page) -> Page:
    tab.clock.install()
    tab.evaluate(DRIP)
    until(tab, "window.send !== undefined")
    return tab


def test_answer_that_comes_slowly(dripping: Page) -> None:
    """It is read for as long as something comes."""
    dripping.evaluate("""send('{"text":"')""")
    for _ in range(10):
        dripping.clock.run_for(15_000)
        dripping.evaluate("send('ü')")
    dripping.evaluate("""send('"}'); finish()""")
    until(dripping, "outcome !== undefined")
    assert dripping.evaluate("outcome") == "ü" * 10


def test_answer_that_stops_coming(dripping: Page) -> None:
    dripping.evaluate("""send('{"text":"')""")
    dripping.clock.run_for(15_000)
    assert dripping.evaluate("outcome") is None
    dripping.clock.run_for(6_000)
    until(dripping, "outcome !== undefined")
    assert dripping.evaluate("outcome") == "unreachable"
