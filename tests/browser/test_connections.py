"""public/relay.js: which of several connections is the host's, and what a host does while the relay has no place."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Request, Route

from tests.browser.conftest import HOST, Window, ask, hurry_until, refuse, start, states, until
from tests.support.deployments import Parley
from tests.support.tools import wait_until


class Connections(list[tuple[str, str, int]]):
    """The streams and polls that a tab has opened: what each was, its host's name, and the number of the attempt."""

    def __init__(self, tab: Page) -> None:
        super().__init__()
        tab.on("request", self._requested)

    def _requested(self, request: Request) -> None:
        url = urlsplit(request.url)
        kind = url.path.rpartition("/")[2]
        if request.method == "GET" and kind in ("stream", "requests"):
            query = parse_qs(url.query)
            self.append((kind, query["host"][0], int(query["attempt"][0])))


def test_connections_are_numbered(window: Window, tab: Page) -> None:
    """Streams and polls of a host count as one series, so that the relay can tell which of them is the latest."""
    connections = Connections(tab)
    start(tab)
    tab.evaluate("dispatchEvent(new Event('online'))")
    until(tab, "told.at(-1)[1].state === 'connected'")
    tab.route("**/stream?*", lambda route: route.abort())
    tab.evaluate("dispatchEvent(new Event('online'))")
    until(tab, "session.state === 'polling'")
    wait_until(lambda: bool(tab.evaluate("1")) and ("requests", connections[0][1], 6) in connections)
    kinds, names, attempts = zip(*connections, strict=True)
    assert kinds[:6] == ("stream", "stream", "stream", "stream", "requests", "requests")
    assert re.fullmatch("[0-9A-Za-z]{16}", names[0])
    assert set(names) == {names[0]}
    assert attempts[:6] == (1, 2, 3, 4, 5, 6)
    window.forgive_the_network()


def test_each_host_has_a_name(tab: Page) -> None:
    connections = Connections(tab)
    start(tab)
    start(tab)
    tab.reload()
    start(tab)
    assert [attempt for _, _, attempt in connections] == [1, 1, 1]
    assert len({name for _, name, _ in connections}) == 3


@pytest.mark.parametrize("polls", [False, True])
def test_refused_as_replaced(window: Window, tab: Page, polls: bool) -> None:
    """Another host has come later. This one does not fight for the session."""
    if polls:
        tab.route("**/stream?*", lambda route: route.abort())
    code = start(tab)
    calls: list[str] = []

    def replace(route: Route) -> None:
        if route.request.method == "GET":
            calls.append(route.request.url)
            refuse(route, 409, "replaced")
        else:
            route.continue_()

    tab.route("**/requests?*" if polls else "**/stream?*", replace)
    tab.evaluate("dispatchEvent(new Event('online'))")
    until(tab, "session.state === 'ended'")
    assert tab.evaluate("session.reason") == "replaced"
    assert tab.evaluate("told.at(-1)") == ["ended", {"reason": "replaced"}]
    made = len(calls)
    tab.evaluate("dispatchEvent(new Event('online'))")
    tab.wait_for_timeout(100)
    assert len(calls) == made
    tab.unroute_all()
    assert start(tab) != code
    window.forgive_the_network()


@pytest.mark.parametrize(
    "retry_after",
    ["3600", "9999999999", "Fri, 01 Jan 2100 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "-5", "soon"],
)
def test_proxy_that_asks_for_patience(window: Window, tab: Page, retry_after: str) -> None:
    """It is believed for a minute at most."""
    tab.clock.install()
    tab.route("**/stream?*", lambda route: refuse(route, 503, "store_unavailable", retry_after))
    tab.evaluate(HOST, {})
    until(tab, "session.state === 'disconnected'")
    assert tab.evaluate("session.problem.retryAfter ?? 0") <= 60
    tab.unroute_all()
    tab.clock.run_for(61_000)
    until(tab, "session.state !== 'disconnected'")
    window.forgive_the_network()


@pytest.mark.long
@pytest.mark.parametrize("streams", [False, True])
def test_busy_relay(window: Window, tab: Page, site: Parley, streams: bool) -> None:
    """Plain reads bring the requests, more and more seldom, until there is a place for the stream."""
    polls: list[str] = []

    def be_busy(route: Route) -> None:
        if route.request.method == "GET" and "wait=0&" not in route.request.url:
            refuse(route, 503, "busy", retry_after=1)
        else:
            polls.append(route.request.url)
            route.continue_()

    tab.clock.install()
    tab.route("**/stream?*", be_busy if streams else lambda route: route.abort())
    tab.route("**/requests?*", be_busy)
    code = str(tab.evaluate(HOST, {}))
    until(tab, "session.state === 'disconnected'")
    assert tab.evaluate("session.problem.code") == ("busy" if streams else "unreachable")
    for number in range(3):
        posted = site.http.post(f"/api/sessions/{code}/requests", json={"id": f"q{number}", "payload": number})
        posted.raise_for_status()
        hurry_until(tab, f"ran.length > {number}")
    assert set(states(tab)[1:]) <= {"polling"}, "it does not tell of each refusal"
    reads = len(polls)
    for _ in range(60):
        tab.clock.run_for(1000)
        tab.wait_for_timeout(20)
    assert len(polls) - reads <= 12
    while len(polls) < reads + 3:  # on a slow machine a read takes its time, whatever the page's clock says
        tab.clock.run_for(1000)
    tab.unroute_all()
    if not streams:
        tab.clock.run_for(300_000)
        assert ask(site, code, "wakes the poll", "q3")["result"] == {"echo": "wakes the poll"}
    hurry_until(tab, "session.state === 'connected'")
    assert ask(site, code, "streamed", "q4")["result"] == {"echo": "streamed"}
    window.forgive_the_network()


@pytest.mark.long
def test_seven_tabs(window: Window, site: Parley) -> None:
    """Over HTTP/1.1 a browser has six connections for all tabs: from the fourth on they poll, and all are served."""
    tabs = [window.open(f"{site.url}/problems.html") for _ in range(7)]
    codes = [start(tab) for tab in tabs]
    assert len(set(codes)) == 7
    assert [ask(site, code, 1)["result"] for code in codes] == [{"echo": 1}] * 7
    assert [tab.evaluate("session.state") for tab in tabs] == ["connected"] * 3 + ["polling"] * 4
    tabs.pop(0).close()
    wait_until(lambda: sum(tab.evaluate("session.state === 'connected'") for tab in tabs) == 3)


@pytest.mark.parametrize(
    ("url", "protocol", "places"),
    [
        ("http://relay.example/", "", 3),
        ("https://relay.example/", "http/1.1", 3),
        ("https://relay.example/", "h2", 5),
        ("https://relay.example/", "", 5),  # as the browser says of another origin that does not allow it to say more
    ],
)
def test_places_of_a_browser(tab: Page, url: str, protocol: str, places: int) -> None:
    taken = tab.evaluate(
        """async ([url, nextHopProtocol]) => {
          performance.getEntriesByType = () => [{ name: `${url}relay.js`, nextHopProtocol }];
          const { takePlace } = await import("/relay/places.js");
          const taken = [];
          for (let count = 0; count < 5; count++) taken.push(await takePlace(url));
          return taken.filter(Boolean).length;
        }""",
        [url, protocol],
    )
    assert taken == places
