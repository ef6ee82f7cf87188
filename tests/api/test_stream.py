"""api/stream: events as they come, for hosts that lose their connection at the worst moment."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from dev.events import Event, events_of
from lib.jsontext import JsonText
from lib.web import sse
from tests.soak.clients import Host, ask
from tests.support.deployments import Api, Pair, Parley, refusal, running_parley
from tests.support.tools import PATIENCE_SECONDS, wait_until

LATER = 10 * PATIENCE_SECONDS


@pytest.fixture
def pair(parley: Parley) -> Pair:
    return Pair(parley)


@contextmanager
def listening(pair: Pair, headers: dict[str, str] | None = None, query: str = "") -> Iterator[Iterator[Event]]:
    """Give the events of a stream from its `open` on, which is checked."""
    with pair.parley.http.stream("GET", f"{pair.url}/stream{query}", headers=pair.host | (headers or {})) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store"
        found = events_of(answer.iter_bytes())
        opened = next(found)
        assert opened.name == "open"
        assert opened.data.keys() == {"code", "expiresAt"}
        yield found


def left(pair: Pair) -> int:
    """Return how many waiting calls have noticed that their client left."""
    return sum('"clientGone": true' in line for line in pair.parley.lines)


def test_events(api: Api) -> None:
    """They are pushed: none waits for the next check, which would find it too."""
    pair = Pair(api)
    with listening(pair) as found:
        pair.post('{"a":\n\r 1.10}', "q1")
        request = next(found)
        assert (request.name, request.data["id"]) == ("request", "q1")
        assert '"payload":{"a":   1.10}' in request.text
        assert list(request.data) == ["id", "payload", "createdAt"]
        assert pair.unanswered().json()["requests"][0]["cursor"] == request.id
        pair.answer("q1")
        pair.post("2", "q2")
        assert next(found).data["id"] == "q2"
        renewed = pair.parley.http.patch(pair.url, headers=pair.host).json()
        event = next(found)
        assert (event.name, event.data) == ("renewed", {"expiresAt": renewed["expiresAt"]})
        pair.parley.http.delete(pair.url, headers=pair.host)
        event = next(found)
        assert (event.name, event.data) == ("ended", {"reason": "ended"})
        assert list(found) == []


def test_continues(pair: Pair) -> None:
    """After a cursor come the later ones, without one all that are open; an answered one never comes again."""
    for number in range(4):
        pair.post(str(number), f"q{number}")
    pair.answer("q2")
    with listening(pair) as found:
        requests = [next(found) for _ in range(3)]
    assert [request.data["id"] for request in requests] == ["q0", "q1", "q3"]
    with listening(pair, {"Last-Event-ID": requests[0].id}) as found:
        assert [next(found).data["id"] for _ in range(2)] == ["q1", "q3"]
    with listening(pair, query=f"?after={requests[1].id}") as found:
        assert next(found).data["id"] == "q3"
    with listening(pair, {"Last-Event-ID": requests[1].id}, f"?after={requests[0].id}") as found:
        assert next(found).data["id"] == "q3"


def test_token_in_query(pair: Pair) -> None:
    url = f"{pair.url}/stream"
    with pair.parley.http.stream("GET", f"{url}?token={pair.session['token']}") as answer:
        assert next(events_of(answer.iter_bytes())).name == "open"
    assert refusal(pair.parley.http.get(url)) == (401, "host_token_required")
    assert refusal(pair.parley.http.get(f"{url}?token=x")) == (403, "host_token_wrong")
    wait_until(
        lambda: any('"route": "/api/sessions/{code}/stream", "status": 200' in line for line in pair.parley.lines)
    )
    assert pair.session["token"] not in "".join(pair.parley.lines)


def test_newer_stream_takes_over(pair: Pair) -> None:
    with listening(pair) as older, listening(pair) as newer:
        ended = next(older)
        assert (ended.name, ended.data) == ("ended", {"reason": "replaced"})
        pair.post(request_id="q")
        assert next(newer).data["id"] == "q"
        for path in ("/stream", "/stream?host=x", "/requests?wait=1", "/requests?host=x", "/requests?host=x&wait=1"):
            assert pair.parley.http.head(f"{pair.url}{path}", headers=pair.host).status_code == 200
        pair.post(request_id="r")
        assert next(newer).data["id"] == "r"


def test_opening_that_is_held_up(api: Api) -> None:
    """Its client connects again in the meantime, and keeps the stream that it then has."""
    pair, faults = Pair(api), api.store.faults
    with socket.create_connection((urlsplit(api.url).hostname, urlsplit(api.url).port)) as first:
        faults.hold()
        first.sendall(f"GET {pair.url}/stream?token={pair.session['token']} HTTP/1.1\r\n\r\n".encode())
        assert faults.held.wait(PATIENCE_SECONDS)
    with listening(pair) as found:
        faults.released.set()
        wait_until(lambda: left(pair) == 1)
        pair.post(request_id="q")
        assert next(found).data["id"] == "q"


def test_session_expires(api: Api) -> None:
    """The client is told at once, and not at the next check."""
    pair = Pair(api)
    api.store.db.pexpire(f"session:{pair.code}", 3000)
    with listening(pair) as found:
        assert next(found).data == {"reason": "expired"}


def test_stream_ends_in_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_SECONDS", "1")
    with listening(Pair(api)) as found:
        event = next(found)
        assert (event.name, event.data) == ("reconnect", {})
        assert list(found) == []


def test_refused_before_it_begins(pair: Pair) -> None:
    url = f"{pair.url}/stream"
    assert refusal(pair.parley.http.get(f"{url}?after=x", headers=pair.host)) == (400, "invalid_request")
    pair.parley.http.delete(pair.url, headers=pair.host)
    assert refusal(pair.parley.http.get(url, headers=pair.host)) == (410, "session_ended")
    pair.parley.store.clear()
    assert refusal(pair.parley.http.get(url, headers=pair.host)) == (404, "session_not_found")
    pair.parley.store.faults.fail("quota")
    assert refusal(pair.parley.http.get(url, headers=pair.host)) == (503, "store_quota_exceeded")


def test_client_that_leaves_is_noticed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams and waits alike end with their client: at once, and not when they next write."""
    monkeypatch.setattr(sse, "KEEP_ALIVE_SECONDS", LATER)
    pair = Pair(api)
    with listening(pair):
        assert left(pair) == 0
    wait_until(lambda: left(pair) == 1)
    pair.post(request_id="q")
    for number, path in enumerate(("/responses/q?wait=50", "/requests?wait=50&after=999999999999999-0")):
        with pytest.raises(httpx.ReadTimeout):
            api.http.get(f"{pair.url}{path}", headers=pair.host, timeout=0.5)
        wait_until(lambda expected=number + 2: left(pair) == expected)  # type: ignore[misc]
    assert "defect" not in "".join(api.lines)


@pytest.mark.long
def test_dropped_streams_leave_nothing(parley: Parley) -> None:
    """A hundred streams are opened and dropped: no thread and no socket is left but the instance's own."""
    parley.restart("stream")
    pair = Pair(parley)
    process = Path(f"/proc/{parley.platform.function('stream').pid}")
    if not process.exists():
        pytest.skip("threads and sockets are counted in /proc, which only Linux has")

    def threads() -> int:
        return len(list((process / "task").iterdir()))

    def sockets() -> int:
        found = 0
        for descriptor in (process / "fd").iterdir():
            try:
                found += str(descriptor.readlink()).startswith("socket:")
            except FileNotFoundError:
                continue
        return found

    def opened_once_more() -> int:
        with listening(pair):
            pass
        return sockets()

    opened_once_more()
    wait_until(lambda: threads() == 2)  # the server's, and the dispatcher's, which stays for a while
    before = sockets()
    for _ in range(5):
        with ExitStack() as streams:
            for _ in range(20):
                streams.enter_context(parley.http.stream("GET", f"{pair.url}/stream", headers=pair.host))
            assert sockets() <= before + 20 + 10  # the clients', and the connections to the store
    wait_until(lambda: threads() == 2)
    # A pooled connection that is not used for five seconds is closed when the next call is made.
    time.sleep(6)
    wait_until(lambda: opened_once_more() <= before + 1)


@pytest.mark.parametrize("resume", [True, False])
def test_host_is_cut_off_at_every_step(pair: Pair, resume: bool) -> None:
    """The connection breaks after each event of a conversation; nothing is lost, and nothing answered comes again."""
    seen: list[str] = []
    answered: set[str] = set()
    cursor = ""
    for step in range(6):
        pair.post(str(step), f"q{step}")
        with listening(pair, {"Last-Event-ID": cursor} if resume and cursor else {}) as found:
            event = next(found)
            while event.data["id"] != f"q{step}":
                assert event.data["id"] not in answered
                event = next(found)
            cursor = event.id
            seen.append(event.data["id"])
        if step % 2:  # answered only after the connection has broken, or by the next one
            assert pair.answer(f"q{step}").status_code == 201
            answered.add(f"q{step}")
    assert seen == [f"q{step}" for step in range(6)]
    with listening(pair) as found:
        left = [next(found).data["id"] for _ in range(3)]
    assert left == ["q0", "q2", "q4"]


@pytest.mark.long
@pytest.mark.parametrize("victim", ["stream", "requests", "responses"])
def test_function_is_killed_at_every_step(parley: Parley, victim: str) -> None:
    """A function's process dies at each step of a conversation, again and again."""
    with running_parley(parley.store) as mortal, ThreadPoolExecutor(1) as beside:
        session = mortal.create()
        host = Host(mortal.url, session)
        assert host.connected.wait(PATIENCE_SECONDS)
        steps: dict[str, Callable[[str, Future[Any]], object]] = {
            "as it is posted": lambda _, asked: asked.running(),
            "when the host has it": lambda name, _: wait_until(lambda: host.seen[name] > 0),
            "when it is answered": lambda _, asked: asked.result(),
        }
        expected = [f"{step} {turn}" for turn in range(2) for step in steps]
        names = [step.replace(" ", "-") for step in expected]
        killed = set()
        for name, step in zip(names, [*steps.values()] * 2, strict=True):
            running = mortal.platform.function(victim)
            asked = beside.submit(ask, mortal.http, session["code"], name, name)
            step(name, asked)
            os.kill(running.pid, signal.SIGKILL)
            wait_until(lambda running=running: not running.running)  # type: ignore[misc]
            killed.add(running.pid)
            assert asked.result() == {"echo": name}
        assert len(killed) == len(names)
        assert mortal.http.delete(f"/api/sessions/{session['code']}", headers=session["host"]).status_code == 204
        host.join()
        assert host.order == names
        assert host.late == []


@pytest.mark.long
def test_forty_guests_and_their_hosts(parley: Parley) -> None:
    """One store call in ten loses its answer: each request is answered once, each guest gets its own answers."""
    turns = 8
    wrong: list[str] = []
    with running_parley(parley.store, RATE_LIMIT_SESSIONS="1000") as busy:
        sessions = [busy.create() for _ in range(40)]
        hosts = [Host(busy.url, session) for session in sessions]
        for host in hosts:
            assert host.connected.wait(PATIENCE_SECONDS)
        parley.store.faults.lose_every(10)

        def guest(number: int) -> None:
            code = sessions[number]["code"]
            results = [ask(busy.http, code, f"q{turn}", [number, turn]) for turn in range(turns)]
            wrong.extend(str(result) for turn, result in enumerate(results) if result != {"echo": [number, turn]})

        guests = [threading.Thread(target=guest, args=[number]) for number in range(40)]
        for thread in guests:
            thread.start()
        for thread in guests:
            thread.join()
        parley.store.faults.heal()
        for session in sessions:
            busy.http.delete(f"/api/sessions/{session['code']}", headers=session["host"])
        for host in hosts:
            host.join()
    assert wrong == []
    expected = [f"q{turn}" for turn in range(turns)]
    assert all(host.order == expected for host in hosts)
    assert [host.late for host in hosts if host.late] == []
    # An answer whose 201 was lost on its way is known when it comes again, and told with 200.
    assert all(host.answers <= turns for host in hosts)


def test_cost(api: Api) -> None:
    """A round trip is two calls to the store, the request and its answer."""
    pair, faults = Pair(api), api.store.faults
    with listening(pair) as found, ThreadPoolExecutor(1) as beside:
        before = 0
        for number in range(21):
            waiting = beside.submit(pair.post, str(number), f"q{number}", "?wait=50")
            request = next(found)
            assert request.data["payload"] == number
            pair.answer(request.data["id"], f'"{number}"')
            answer = waiting.result()
            assert (answer.status_code, answer.json()["result"]) == (200, str(number))
            before = before or faults.calls  # of the first one, which subscribes
        assert faults.calls - before == 2 * 20


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("{}", b"id: 1-0\nevent: x\ndata: {}\n\n"),
        ('{"a":\r\n1}', b'id: 1-0\nevent: x\ndata: {"a":  1}\n\n'),
        ('"\u2028\u2029\x85ä"', 'id: 1-0\nevent: x\ndata: "\\u2028\\u2029\\u0085ä"\n\n'.encode()),
    ],
)
def test_encode(data: str, expected: bytes) -> None:
    assert sse.encode("x", JsonText(data.encode()), "1-0") == expected
