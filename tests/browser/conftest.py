"""Tabs of a real Chromium, on a deployment of the local platform."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Playwright,
    Route,
    expect,
    sync_playwright,
)

from tests.support.deployments import Parley
from tests.support.tools import need, wait_until

expect.set_options(timeout=20_000)  # for a machine that does other things as well

# What has windows, and what has none: the windows' own pages take two thirds of the processor's time.
WITH_WINDOWS = ("chromium", "chromium-browser", "google-chrome")
_CHROMIUM = ("chromium-headless-shell", *WITH_WINDOWS)
# Pages may call this machine alone: any other name is known to nobody, of which the browser complains.
_NO_OTHER_HOST = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
_OTHER_HOST = "ERR_NAME_NOT_RESOLVED"
_CUT_OFF = "Failed to load resource"  # what the browser says of a network that a test has cut

# A page that notes what its session tells, and answers by what the request says.
HOST = """async (options = {}) => {
  const { host } = await import("/relay.js");
  window.ran = JSON.parse(sessionStorage.getItem("ran") ?? "[]");
  window.told = [];
  window.release = () => {};
  const work = async ({ id, payload, interrupted }) => {
    ran.push(id);
    sessionStorage.setItem("ran", JSON.stringify(ran));
    if (payload?.hold) await new Promise((resolve) => (window.release = resolve));
    if (payload?.raise) throw new Error(payload.raise);
    if (payload?.throw) throw payload.throw;
    if (payload?.give === "odd") throw Object.assign(Object.create(null), { big: 1n });
    if (payload?.give === "huge") return "ü".repeat(2_100_000);
    if (payload?.give) return { large: "x".repeat(1_200_000), loop: Infinity, none: undefined, big: 1n }[payload.give];
    return { echo: payload };
  };
  if (options.resumes) options.onInterrupted = ({ id }) => `resumed ${id}`;
  window.session = await host({ ...options, onRequest: work });
  for (const type of ["state", "request", "answered", "withdrawn", "renewed", "ended"])
    session.addEventListener(type, ({ detail }) => told.push([type, detail]));
  return session.code;
}"""

type Beside = Callable[..., Future[Any]]


@pytest.fixture(scope="package")
def any_playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@contextmanager
def launched(playwright: Playwright, *arguments: str, programs: Sequence[str] = _CHROMIUM) -> Iterator[Browser]:
    """Run the first of these programs that is installed, with these command-line arguments, too."""
    program = next(filter(shutil.which, programs), programs[-1])
    browser = playwright.chromium.launch(
        executable_path=need(program, "apt-get install chromium, or install Chrome"),
        args=["--disable-quic", "--disable-sync", _NO_OTHER_HOST, *arguments],
        ignore_default_args=["--disable-back-forward-cache"],
    )
    yield browser
    browser.close()


@pytest.fixture(scope="package")
def chromium(any_playwright: Playwright) -> Iterator[Browser]:
    with launched(any_playwright) as browser:
        yield browser


class Window:
    """A browser's window, whose tabs may complain of nothing, and call nobody but this machine."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self._heard_of: list[str] = []
        self._forgiving = False
        context.on("console", self._heard)
        context.on("weberror", lambda error: self._heard_of.append(str(error.error)))

    def open(self, url: str) -> Page:
        """Open an address in a new tab."""
        tab = self.context.new_page()
        tab.goto(url)
        return tab

    def forgive_the_network(self) -> None:
        """Take no notice of complaints about requests, which the test lets fail."""
        self._forgiving = True

    @property
    def complaints(self) -> list[str]:
        """Return what the tabs complained of."""
        return [text for text in self._heard_of if not (self._forgiving and _is_of_the_network(text))]

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._heard_of.append(message.text)


def _is_of_the_network(complaint: str) -> bool:
    return complaint.startswith(_CUT_OFF) and _OTHER_HOST not in complaint


@contextmanager
def opened(browser: Browser) -> Iterator[Window]:
    """Give a window, whose tabs may complain of nothing."""
    with browser.new_context() as context:
        context.set_default_timeout(20_000)
        made = Window(context)
        yield made
        made.context.close()
    assert made.complaints == []


@pytest.fixture
def window(chromium: Browser) -> Iterator[Window]:
    with opened(chromium) as made:
        yield made


@pytest.fixture
def tab(window: Window, site: Parley) -> Page:
    """Give a page of the deployment on which nothing of ours runs yet."""
    return window.open(f"{site.url}/problems.html")


class Elsewhere(SimpleHTTPRequestHandler):
    """Another origin, which knows nothing of ours."""

    page = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def elsewhere() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


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


def start(tab: Page, **options: Any) -> str:
    """Let the page be a host, and return its code once it is connected."""
    code = str(tab.evaluate(HOST, options))
    until(tab, "session.state === 'connected' || session.state === 'polling'")
    return code


def until(tab: Page, condition: str) -> None:
    """Return as soon as a condition holds in the page."""
    wait_until(lambda: bool(tab.evaluate(condition)), 20)


def hurry_until(tab: Page, condition: str) -> None:
    """Let the page's clock, which is installed, run ahead until a condition holds in the page."""

    def holds() -> bool:
        tab.clock.run_for(500)
        return bool(tab.evaluate(condition))

    wait_until(holds, longest_pause=0.005)


def set_clock(tab: Page, seconds: float) -> None:
    """Set the page's clock, which is installed, back or forward. What goes on by itself, as performance.now(), stays.

    For a page it is the same as if the machine had slept for the seconds.
    """
    tab.clock.set_system_time(tab.evaluate("Date.now() / 1000") + seconds)


def states(tab: Page) -> list[str]:
    found: list[str] = tab.evaluate("told.filter(([type]) => type === 'state').map(([, { state }]) => state)")
    return found


def refuse(route: Route, status: int, code: str, retry_after: int | str = 0) -> None:
    """Answer a call with a problem, in place of the relay."""
    headers = {"Retry-After": f"{retry_after}"} if retry_after else {}
    problem = {"type": f"/problems.html#{code}", "title": code, "status": status, "detail": code, "code": code}
    route.fulfill(status=status, headers=headers, content_type="application/problem+json", body=json.dumps(problem))


def asking(tab: Page, code: str, payload: Any = 1, options: str = "{}") -> Any:
    """Ask from the page; return the result, or what the promise was rejected with."""
    return tab.evaluate(
        f"""async ([code, payload]) => {{
          const {{ guest }} = await import("/relay.js");
          try {{
            return {{ result: await guest(code).request(payload, {options}) }};
          }} catch (error) {{
            return {{ name: error.name, message: error.message, ...error }};
          }}
        }}""",
        [code, payload],
    )
