"""public/relay.js: which session a page goes on with."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Error, Page, Playwright, Route

from tests.browser.conftest import (
    HOST,
    WITH_WINDOWS,
    Beside,
    Window,
    ask,
    launched,
    opened,
    start,
    until,
)
from tests.browser.test_tools import names, offer
from tests.support.deployments import Parley
from tests.support.tools import long, wait_until

FRAME = "<iframe src='{}/shop/frame'></iframe>"


def opened_shop(window: Window, site: Parley) -> Page:
    """Return a page of a site of several, which are served by the test."""

    def serve(route: Route) -> None:
        frames = FRAME.format(site.url) * 2 if route.request.url.endswith("/frames") else ""
        route.fulfill(body=f"<!doctype html><html lang='en'><title>Shop</title>{frames}", content_type="text/html")

    window.context.route("**/shop/*", serve)
    return window.open(f"{site.url}/shop/")


@pytest.fixture
def shop(window: Window, site: Parley) -> Page:
    return opened_shop(window, site)


@pytest.fixture
def keeping_shop(any_playwright: Playwright, site: Parley) -> Iterator[Page]:
    """Give the same in a browser that keeps the page that it leaves, which one without windows does not."""
    with launched(any_playwright, programs=WITH_WINDOWS) as browser, opened(browser) as window:
        yield opened_shop(window, site)


def test_page_that_changes_its_path(shop: Page, site: Parley, beside: Beside) -> None:
    code = start(shop)
    asked = beside(ask, site, code, {"hold": True})
    until(shop, "ran.length === 1")
    shop.evaluate("history.pushState(null, '', '/shop/cart?sort=price#top')")
    shop.reload()
    assert start(shop) == code
    assert asked.result()["error"]["code"] == "interrupted"
    assert ask(site, code, "next", "q2")["result"] == {"echo": "next"}


def test_another_page_of_the_tab(shop: Page, site: Parley) -> None:
    codes = [start(shop), start(shop)]
    shop.goto(f"{site.url}/shop/cart")
    assert [start(shop), start(shop)] == codes
    assert ask(site, codes[0], 1)["result"] == {"echo": 1}


def test_back_to_a_page_that_the_browser_kept(keeping_shop: Page, site: Parley, beside: Beside) -> None:
    """It goes on where the other page was: nothing is run twice, and the other page is not in its way."""
    code = start(keeping_shop)
    assert ask(site, code, 1, "first")["result"] == {"echo": 1}
    keeping_shop.evaluate("window.shown = 0; addEventListener('pageshow', ({ persisted }) => (shown += persisted))")
    keeping_shop.goto(f"{site.url}/shop/cart")
    assert start(keeping_shop) == code
    held = beside(ask, site, code, {"hold": True}, "second")
    until(keeping_shop, "ran.length === 2")
    keeping_shop.evaluate("history.back()")
    wait_until(lambda: is_shown(keeping_shop))
    assert held.result()["error"]["code"] == "interrupted"
    assert ask(site, code, 3, "third")["result"] == {"echo": 3}
    assert keeping_shop.evaluate("ran") == ["first", "third"]
    assert keeping_shop.evaluate("session.state") == "connected"


def test_back_to_a_page_with_tools(keeping_shop: Page, site: Parley) -> None:
    """Each page of the tab offers its own tools."""
    code = offer(keeping_shop, "first")
    keeping_shop.evaluate("window.shown = 0; addEventListener('pageshow', ({ persisted }) => (shown += persisted))")
    keeping_shop.goto(f"{site.url}/shop/cart")
    assert offer(keeping_shop, "second") == code
    assert names(site, code) == ["second"]
    keeping_shop.evaluate("history.back()")
    wait_until(lambda: is_shown(keeping_shop) and names(site, code) == ["first"])


def is_shown(shop: Page) -> bool:
    """Tell whether the browser shows the page that it kept."""
    try:
        return bool(shop.evaluate("window.shown === 1"))
    except Error:
        return False  # the pages change at this very moment


def test_frames(shop: Page, site: Parley) -> None:
    """Each has a session, and finds it again, even if they open theirs in another order."""

    def codes(*order: int) -> dict[int, str]:
        frames = [shop.main_frame, *shop.main_frame.child_frames]
        return {number: str(frames[number].evaluate(HOST, {})) for number in order}

    shop.goto(f"{site.url}/shop/frames")
    opened = codes(0, 1, 2)
    assert len(set(opened.values())) == 3
    for number, code in opened.items():
        assert ask(site, code, number)["result"] == {"echo": number}
    shop.reload()
    assert codes(2, 0, 1) == opened


def test_frame_in_a_page_of_another_site(window: Window, shop: Page, site: Parley) -> None:
    """The browser may refuse it storage."""
    top = window.open(f"{site.url.replace('127.0.0.1', 'localhost')}/shop/frames")
    codes = [
        frame.evaluate(
            """async () => {
              const { host } = await import("/relay.js");
              window.session = await host({ onRequest: ({ payload }) => payload });
              return session.code;
            }"""
        )
        for frame in top.main_frame.child_frames
    ]
    assert len(set(codes)) == 2
    for number, code in enumerate(codes):
        assert ask(site, code, number)["result"] == number


def test_window_that_a_script_opens(window: Window, shop: Page, site: Parley) -> None:
    """It gets a copy of sessionStorage, and leaves the session to its opener."""
    code = start(shop)
    with shop.expect_popup() as opened:
        shop.evaluate("void window.open('/shop/cart')")
    popup = opened.value
    popup.wait_for_load_state()
    assert popup.evaluate("sessionStorage.length") > 0
    own = start(popup)
    assert own != code
    assert ask(site, code, 1)["result"] == {"echo": 1}
    popup.reload()
    assert start(popup) == own
    popup.goto(f"{site.url}/shop/")
    assert start(popup) == own
    assert shop.evaluate("session.state") == "connected"
    assert len(window.context.pages) == 2


@pytest.mark.parametrize("pages", [["cart"], long(["help", "cart"])])
@pytest.mark.parametrize("opener", ["kept", "cut"])
def test_window_that_a_script_opens_empty(shop: Page, site: Parley, pages: list[str], opener: str) -> None:
    """It is led to a page that is a host, and leaves the session to its opener, too."""
    code = start(shop)
    with shop.expect_popup() as opened:
        shop.evaluate("window.popup = open(''); 0")
    popup = opened.value
    if opener == "cut":
        shop.evaluate("popup.opener = null; 0")
    for page in pages:
        shop.evaluate("(page) => { popup.location = page }", f"{site.url}/shop/{page}")
        popup.wait_for_url(f"**/shop/{page}")
    assert popup.evaluate("sessionStorage.length") > 0
    own = start(popup)
    assert own != code
    assert ask(site, code, 1)["result"] == {"echo": 1}
    popup.reload()
    assert start(popup) == own
    assert shop.evaluate("session.state") == "connected"


def test_browser_without_locks(window: Window, shop: Page) -> None:
    """As for a page without https: a window that a script opens is known by how it began."""
    window.context.add_init_script("delete Navigator.prototype.locks")
    shop.reload()
    code = start(shop)
    with shop.expect_popup() as opened:
        shop.evaluate("void window.open('/shop/cart')")
    popup = opened.value
    popup.wait_for_load_state()
    assert popup.evaluate("[sessionStorage.length > 0, navigator.locks]") == [True, None]
    assert start(popup) != code
    shop.reload()
    assert start(shop) == code


def test_tab_of_its_own(window: Window, shop: Page, site: Parley) -> None:
    code = start(shop)
    assert start(window.open(shop.url)) != code
    wait_until(lambda: shop.evaluate("session.state") == "connected")
