"""public/relay.js: the progress of a tool call, as a host reports it and a guest receives it."""

import json
from typing import Any

import pytest
from playwright.sync_api import Page, Route

from tests.browser.conftest import Beside, Window, until
from tests.browser.test_guest import calling
from tests.browser.test_tools import call
from tests.support.deployments import Parley
from tests.support.tools import wait_until

# A page whose tool reports its progress as the arguments say.
WORKS = """async () => {
  const { host } = await import("/relay.js");
  window.session = await host({ tools: [{
    name: "work",
    execute: async ({ reports, throws }, { progress }) => {
      window.kept = progress;
      for (const report of reports) progress(...report.map((part) => (part === "NaN" ? NaN : part)));
      if (throws) throw new Error("no way");
      return "done";
    },
  }] });
  return session.code;
}"""
DONE = {"content": [{"type": "text", "text": "done"}]}


class Work:
    """Calls of the tool, while the browser goes on."""

    def __init__(self, tab: Page, site: Parley, beside: Beside) -> None:
        self._tab, self._site, self._beside = tab, site, beside
        self._code = tab.evaluate(WORKS)

    def call(self, arguments: dict[str, Any], request_id: str = "q1") -> Any:
        called = self._beside(call, self._site, self._code, "work", arguments, request_id)
        wait_until(lambda: bool(self._tab.evaluate("1")) and called.done())
        return called.result()["result"]


@pytest.fixture
def work(tab: Page, site: Parley, beside: Beside) -> Work:
    return Work(tab, site, beside)


def reports(tab: Page, *fates: str) -> list[Any]:
    """Take the reports that the tab sends, in place of the relay, the last fate again and again. Returns them."""
    taken: list[Any] = []

    def take(route: Route) -> None:
        fate = fates[min(len(taken), len(fates) - 1)] if fates else "taken"
        taken.append(route.request.post_data_json)
        if fate == "cut":
            route.abort()
        else:
            route.fulfill(status=204 if fate == "taken" else 500)

    tab.route("**/progress", take)
    return taken


def test_reports(tab: Page, work: Work) -> None:
    sent = reports(tab)
    given = [[3, 10, "rows"]]
    assert work.call({"reports": given}) == DONE
    assert sent == [{"id": "q1", "progress": 3, "total": 10, "message": "rows"}]


def test_many_reports(tab: Page, work: Work) -> None:
    """The first is sent, the last is sent, and the answer follows."""
    sent = reports(tab)
    assert work.call({"reports": [[number] for number in range(100)]}) == DONE
    assert sent == [{"id": "q1", "progress": 0}, {"id": "q1", "progress": 99}]
    tab.evaluate("kept(100)")
    assert work.call({"reports": [[1]]}, "q2") == DONE
    assert sent[2:] == [{"id": "q2", "progress": 1}], "after its answer a call reports nothing"


def test_reports_that_say_too_much(tab: Page, work: Work) -> None:
    sent = reports(tab)
    given = [["NaN"], [1, "NaN", "x" * 2000], ["NaN", 1]]
    assert work.call({"reports": given}) == DONE
    assert sent == [{"id": "q1", "progress": 1, "message": "x" * 1000}]


@pytest.mark.parametrize("fate", ["cut", "failed"])
def test_reports_that_fail(window: Window, tab: Page, work: Work, fate: str) -> None:
    """The tool does not notice."""
    sent = reports(tab, fate)
    assert work.call({"reports": [[1], [2]]}) == DONE
    assert len(sent) == 2
    failed = work.call({"reports": [[1]], "throws": True}, "q2")
    assert failed == {"content": [{"type": "text", "text": "no way"}], "isError": True}
    window.forgive_the_network()


def events(*sent: tuple[str, Any]) -> str:
    return "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in sent)


ANSWERED = {"id": "q1", "status": "answered", "result": 42, "answeredAt": "2026-11-28T08:00:00.000Z"}
PENDING = {"id": "q1", "status": "pending"}
PROBLEM = {"status": 410, "code": "session_ended", "detail": "The host has ended the session.", "title": "Ended"}
ASK = """(async () => {
  const seen = [];
  const onProgress = (report) => { seen.push(report); if (report.message === "throw") throw new Error("mine"); };
  const outcome = await guest.request(1, { id: "q1", onProgress }).catch(({ code, status }) => [code, status]);
  return { seen, outcome };
})()"""


@pytest.mark.parametrize(
    ("bodies", "seen", "outcome"),
    [
        ([events(("progress", {"progress": 3, "total": 10, "message": "rows"}), ("response", ANSWERED))], [3], 42),
        ([events(("progress", {"progress": 1}), ("response", PENDING)), events(("response", ANSWERED))], [1], 42),
        (
            [events(("progress", {"progress": 1})), events(("progress", {"progress": 2}), ("response", ANSWERED))],
            [1, 2],
            42,
        ),
        ([events(("progress", {"progress": 1}), ("problem", PROBLEM))], [1], ["session_ended", 410]),
        ([json.dumps(ANSWERED)], [], 42),
    ],
    ids=["answered", "pending", "cut", "problem", "plain"],
)
def test_guest(tab: Page, bodies: list[str], seen: list[int], outcome: Any) -> None:
    """It reads a stream of events to its last one, and takes a plain answer as well."""
    accepted: list[str | None] = []

    def answer(route: Route) -> None:
        body = bodies[len(accepted)]
        accepted.append(route.request.headers.get("accept"))
        route.fulfill(body=body, content_type="application/json" if body.startswith("{") else "text/event-stream")

    tab.route("**/api/**", answer)
    found = calling(tab, "ABC12345", ASK)
    assert [report["progress"] for report in found["seen"]] == seen
    assert found["outcome"] == outcome
    assert accepted == ["text/event-stream"] * len(bodies)


def test_guest_that_does_not_ask_for_progress(tab: Page) -> None:
    accepted: list[str | None] = []

    def answer(route: Route) -> None:
        accepted.append(route.request.headers.get("accept"))
        route.fulfill(json=ANSWERED)

    tab.route("**/api/**", answer)
    assert calling(tab, "ABC12345", "guest.request(1, { id: 'q1' })") == 42
    assert accepted == ["*/*"]


def test_listener_that_throws(tab: Page) -> None:
    """The page hears of its error, and the request goes on."""
    body = events(
        ("progress", {"progress": 1, "message": "throw"}), ("progress", {"progress": 2}), ("response", ANSWERED)
    )
    tab.route("**/api/**", lambda route: route.fulfill(body=body, content_type="text/event-stream"))
    tab.evaluate(
        """addEventListener("unhandledrejection", (event) => {
          window.unhandled = event.reason.message;
          event.preventDefault();
        })"""
    )
    found = calling(tab, "ABC12345", ASK)
    assert (len(found["seen"]), found["outcome"]) == (2, 42)
    until(tab, "window.unhandled === 'mine'")


def test_from_a_tool_to_its_guest(window: Window, tab: Page) -> None:
    """Through the relay: the last report comes before the answer."""
    code = tab.evaluate(WORKS)
    guest = window.open(tab.url)
    found = calling(
        guest,
        code,
        """(async () => {
          const seen = [];
          const onProgress = (report) => seen.push(report);
          const reports = [[1, 10, "first"], [2, 10], [3, 10, "last"]];
          const result = await guest.callTool("work", { reports }, { onProgress });
          return { seen, text: result.content[0].text };
        })()""",
    )
    assert found["text"] == "done"
    assert found["seen"][0] == {"progress": 1, "total": 10, "message": "first"}
    assert found["seen"][-1] == {"progress": 3, "total": 10, "message": "last"}


def test_guest_that_is_refused(window: Window, tab: Page) -> None:
    """Before the stream begins, with the problem's status."""
    refused = calling(tab, "ABC12345", "guest.request(1, { onProgress() {} })")
    assert (refused["code"], refused["status"]) == ("session_not_found", 404)
    window.forgive_the_network()
