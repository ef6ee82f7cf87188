"""api/progress: the host reports how far it is, and whoever waits for the request hears of it."""

import json
import threading
from typing import Any

import httpx
import pytest

from dev.events import Event, events_of
from tests.support.agents import VERSIONS, Agent
from tests.support.deployments import Pair, Parley, refusal
from tests.support.toolhosts import Held, Tool, ToolHost
from tests.support.tools import PATIENCE_SECONDS, wait_until

EVENTS = {"Accept": "text/event-stream"}


@pytest.fixture
def pair(parley: Parley) -> Pair:
    return Pair(parley)


def report(pair: Pair, text: str) -> httpx.Response:
    headers = pair.host | {"Content-Type": "application/json"}
    return pair.parley.http.post(f"{pair.url}/progress", content=text.encode(), headers=headers)


def parts_of(answer: httpx.Response) -> list[Event]:
    return list(events_of(answer.iter_bytes(), ("event", "data")))


class Call:
    """A tool call of an agent, under way in a thread: `messages` has what its stream brings, as it comes."""

    def __init__(self, agent: Agent, name: str, arguments: Any = None, token: object = "t") -> None:
        self.messages: list[Any] = []
        meta = {} if token is None else {"progressToken": token}
        body = agent.message("tools/call", {"name": name, "arguments": arguments or {}, "_meta": meta})
        self._thread = threading.Thread(target=self._read, args=[agent.url, body, agent.headers_of(body)])
        self._thread.start()

    def _read(self, url: str, body: Any, headers: dict[str, str]) -> None:
        with httpx.stream("POST", url, json=body, headers=headers, timeout=PATIENCE_SECONDS) as answer:
            if answer.headers["content-type"] == "text/event-stream":
                self.messages += (event.data for event in events_of(answer.iter_bytes(), ("event", "data")))
            else:
                self.messages.append(json.loads(answer.read()))

    def end(self) -> list[Any]:
        """Wait for the answer. Returns all messages."""
        self._thread.join(PATIENCE_SECONDS)
        return self.messages


@pytest.mark.parametrize("version", VERSIONS)
def test_progress_of_a_tool_call(parley: Parley, version: str) -> None:
    """The first report opens the stream, within the first five seconds; numbers and texts are the host's."""
    held = Held()
    with ToolHost(parley.url, {"a": held.tool}) as host:
        for agent, name, arguments in (
            (Agent(host.mcp_url, version), "a", {}),
            (Agent(f"{parley.url}/mcp", version), "call_tool", {"code": host.code, "name": "a"}),
        ):
            before = len(host.asked)
            call = Call(agent, name, arguments, token=7)
            wait_until(lambda before=before: len(host.asked) > before)  # type: ignore[misc]
            request_id = host.asked[-1]["id"]
            assert host.report(request_id, 0, total=10, message="rows").status_code == 204
            wait_until(lambda call=call: call.messages)  # type: ignore[misc]
            for progress in (3, 3, 2.5, 4):
                assert host.report(request_id, progress, total=10).status_code == 204
            held.go.set()
            *reports, answer = call.end()
            assert answer["result"]["content"][0]["text"] == "1"
            assert {message["method"] for message in reports} == {"notifications/progress"}
            params = [message["params"] for message in reports]
            assert params[:2] == [
                {"progressToken": 7, "progress": 0, "total": 10, "message": "rows"},
                {"progressToken": 7, "progress": 3, "total": 10},
            ]
            numbers = [given["progress"] for given in params]
            assert numbers == sorted(set(numbers)), "strictly increasing, also if the host's numbers are not"
            assert numbers[-1] == 4


def test_client_that_wants_no_progress(parley: Parley) -> None:
    """It gets plain JSON, as without any."""
    held = Held()
    with ToolHost(parley.url, {"a": held.tool}) as host:
        for agent, token in ((Agent(host.mcp_url), None), (Agent(host.mcp_url, Accept="application/json"), "t")):
            before = len(host.asked)
            call = Call(agent, "a", token=token)
            wait_until(lambda before=before: len(host.asked) > before)  # type: ignore[misc]
            assert host.report(host.asked[-1]["id"], 1).status_code == 204
            held.go.set()
            assert [message.keys() for message in call.end()] == [{"jsonrpc", "id", "result"}]


def test_guest_that_waits(pair: Pair) -> None:
    """It gets events: reports as they come, and then the document of a plain answer. One call to the store a report."""
    answers: list[list[Event]] = []
    for path, send in (
        ("/requests?wait=20", lambda url: httpx.stream("POST", url, json={"id": "q", "payload": 1}, headers=EVENTS)),
        ("/responses/q?wait=20", lambda url: httpx.stream("GET", url, headers=EVENTS)),
    ):
        begun = threading.Event()

        def wait(path: str = path, send: Any = send, begun: threading.Event = begun) -> None:
            with send(f"{pair.parley.http.base_url}{pair.url}{path}".replace("//api", "/api")) as answer:
                assert answer.status_code == 200
                begun.set()
                answers.append(parts_of(answer))

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert begun.wait(PATIENCE_SECONDS)
        wait_until(lambda: "guest" in pair.listeners())
        before = pair.parley.store.faults.calls
        told = report(pair, '{"id":"q","progress":1.50,"total":3,"message":"\\u2028 <é> \\ud800"}')
        assert told.status_code == 204
        assert pair.parley.store.faults.calls - before == 1
        if path.startswith("/responses"):
            pair.answer("q", "2")
        else:
            pair.withdraw("q")
        waiting.join(PATIENCE_SECONDS)
        pair.post(request_id="q")
    withdrawn, answered = answers
    expected = '{"progress":1.50,"total":3,"message":"\\u2028 <é> \\ud800"}'
    for events in answers:
        assert (events[0].name, events[0].text) == ("progress", expected)
    assert [event.name for event in withdrawn] == ["progress", "problem"]
    assert withdrawn[-1].data["code"] == "request_not_found"
    assert [event.name for event in answered] == ["progress", "response"]
    assert answered[-1].data == pair.read("q").json()


def test_guest_that_does_not_wait_for_long(pair: Pair) -> None:
    """The last event says what is known; a refusal before the first is a plain document."""
    for wait in ("", "?wait=1"):
        answer = pair.parley.http.post(f"{pair.url}/requests{wait}", json={"id": "q", "payload": 1}, headers=EVENTS)
        assert answer.headers["location"].endswith("/q")
        (event,) = parts_of(answer)
        assert (event.name, event.data) == ("response", {"id": "q", "status": "pending"})
    assert refusal(pair.parley.http.get(f"{pair.url}/responses/other", headers=EVENTS)) == (404, "request_not_found")
    assert refusal(pair.parley.http.get("/api/sessions/0000000Z/responses/q?wait=9", headers=EVENTS)) == (
        404,
        "session_not_found",
    )


def test_requests_that_do_not_wait(pair: Pair) -> None:
    pair.post(request_id="q")
    assert report(pair, '{"id":"q","progress":1}').status_code == 204
    pair.answer("q")
    for request_id in ("q", "other"):
        assert refusal(report(pair, f'{{"id":"{request_id}","progress":1}}')) == (404, "request_not_found")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("{}", "id must be"),
        ('{"id":"q"}', "progress must be a finite number"),
        *(
            (f'{{"id":"q","{field}":{wrong}}}', f"{field} must be a finite number of at most 40 characters.")
            for field in ("progress", 'progress":1,"total')
            for wrong in ('"1"', "null", "true", "1e999", "-1e999", "1" * 5000, "[1]")
            if field == "progress"
        ),
        ('{"id":"q","progress":1,"total":1e999}', "total must be a finite number"),
        ('{"id":"q","progress":1,"message":1}', "message must be a string of at most 1000 characters."),
        (f'{{"id":"q","progress":1,"message":"{"x" * 1001}"}}', "message must be a string of at most 1000"),
        ('{"id":"q","progress":1,"done":1}', '"done" is not a field here.'),
    ],
)
def test_what_is_wrong_is_named(pair: Pair, body: str, told: str) -> None:
    pair.post(request_id="q")
    answer = report(pair, body)
    assert refusal(answer) == (400, "invalid_request")
    assert told in answer.json()["detail"]


def test_longest_messages(pair: Pair) -> None:
    """A thousand characters, however they are written, fit into a notification."""
    for character in ("😀", "\\ud83d\\ude00", "\\u0000", "é"):
        pair.post(request_id="q")
        heard: list[Any] = []
        waiting = threading.Thread(
            target=lambda heard=heard: heard.extend(
                parts_of(pair.parley.http.get(f"{pair.url}/responses/q?wait=20", headers=EVENTS))
            )
        )
        waiting.start()
        wait_until(lambda: "guest" in pair.listeners())
        assert report(pair, f'{{"id":"q","progress":1,"message":"{character * 1000}"}}').status_code == 204
        pair.answer("q", "2")
        waiting.join(PATIENCE_SECONDS)
        assert heard[0].data["message"] == json.loads(f'"{character}"') * 1000
        pair.parley.store.db.hdel(f"{pair.parley.store.prefix}res:{pair.code}", "q", "~listeners")


def test_only_the_host_reports(pair: Pair) -> None:
    pair.post(request_id="q")
    body = {"id": "q", "progress": 1}
    assert refusal(pair.parley.http.post(f"{pair.url}/progress", json=body))[0] == 401
    other = Pair(pair.parley)
    assert refusal(pair.parley.http.post(f"{pair.url}/progress", json=body, headers=other.host))[0] == 403


def test_progress_counts_as_sent(pair: Pair) -> None:
    pair.post(request_id="q")
    counter = f"{pair.parley.store.prefix}rate:bytes:127.0.0.1"
    before = int(pair.parley.store.db.get(counter) or 0)
    report(pair, '{"id":"q","progress":1}')
    assert int(pair.parley.store.db.get(counter) or 0) - before == len('{"progress":1}')


def test_tool_that_reports_before_it_is_asked_for(parley: Parley) -> None:
    """A report that comes after the answer is refused, and the answer stands."""
    with ToolHost(parley.url, {"a": Tool(lambda _: 1)}) as host:
        assert Agent(host.mcp_url).call("a")["content"][0]["text"] == "1"
        assert refusal(host.report(host.asked[0]["id"], 1)) == (404, "request_not_found")
