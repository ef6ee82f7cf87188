"""Tabs of a real Chromium, on a deployment of the local platform."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests.support.deployments import Parley, running_parley
from tests.support.stores import running_store
from tests.support.tools import need

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_CUT_OFF = "Failed to load resource"  # what the browser says of a network that a test has cut

type Beside = Callable[..., Future[Any]]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    program = next(filter(shutil.which, _CHROMIUM), _CHROMIUM[0])
    path = need(program, "apt-get install chromium, or install Chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--disable-quic", "--disable-sync"])
        yield browser
        browser.close()


@contextmanager
def running_site(**variables: str) -> Iterator[Parley]:
    """Run a deployment with a store of its own, and with room for every test's sessions."""
    with (
        running_store(None) as store,
        running_parley(store, RATE_LIMIT_SESSIONS="10000", RATE_LIMIT_REQUESTS="10000", **variables) as parley,
    ):
        yield parley


@pytest.fixture(scope="package")
def any_site() -> Iterator[Parley]:
    with running_site() as parley:
        yield parley


@pytest.fixture
def site(any_site: Parley) -> Iterator[Parley]:
    yield any_site
    any_site.store.faults.heal()


class Window:
    """A browser's window, whose tabs may show what it has opened, and call nobody else."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.origins: set[str] = set()
        self._heard_of: list[str] = []
        self._forgiving = False
        context.on("console", self._heard)
        context.on("weberror", lambda error: self._heard_of.append(str(error.error)))
        context.on("request", self._requested)

    def open(self, url: str) -> Page:
        """Open an address in a new tab; its origin is then one that pages may call."""
        self.origins.add(str(httpx.URL(url).join("/")).rstrip("/"))
        tab = self.context.new_page()
        tab.goto(url)
        return tab

    def forgive_the_network(self) -> None:
        """Take no notice of complaints about requests, which the test lets fail."""
        self._forgiving = True

    @property
    def complaints(self) -> list[str]:
        """Return what the tabs complained of."""
        return [text for text in self._heard_of if not (self._forgiving and text.startswith(_CUT_OFF))]

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._heard_of.append(message.text)

    def _requested(self, request: Request) -> None:
        if not request.url.startswith(tuple(f"{origin}/" for origin in self.origins)):
            self._heard_of.append(f"a request left the origin: {request.url}")


@pytest.fixture
def window(chromium: Browser) -> Iterator[Window]:
    with chromium.new_context() as context:
        context.set_default_timeout(15_000)
        made = Window(context)
        yield made
        made.context.close()
    assert made.complaints == []


def ask(site: Parley, code: str, payload: Any, request_id: str = "q1") -> dict[str, Any]:
    """Ask as a guest, and wait for the response."""
    body = {"id": request_id, "payload": payload}
    with httpx.Client(base_url=site.url, timeout=60) as http:
        answer = http.post(f"/api/sessions/{code}/requests?wait=30", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
def beside() -> Iterator[Beside]:
    """Give what runs a function beside the test."""
    with ThreadPoolExecutor(8) as threads:
        yield threads.submit
