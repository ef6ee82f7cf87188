"""api/stream: events as they come, for hosts that lose their connection at the worst moment."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from dev.events import Event, events_of
from lib.web import sse
from tests.soak.clients import Host, ask
from tests.support.deployments import Pair, Parley, refusal, running_parley
from tests.support.tools import wait_until


@pytest.fixture
def pair(parley: Parley) -> Pair:
    return Pair(parley)


@contextmanager
def listening(pair: Pair, headers: dict[str, str] | None = None, query: str = "") -> Iterator[Iterator[Event]]:
    """Give the events of a stream from its `open` on, which is checked."""
    url = f"{pair.parley.url}{pair.url}/stream{query}"
    with httpx.stream("GET", url, headers=pair.host | (headers or {}), timeout=20) as answer:
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


def test_events(pair: Pair) -> None:
    """They are pushed: none waits for the next check, which would find it too."""
    started = time.monotonic()
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
    assert time.monotonic() - started < 15


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
        assert pair.parley.http.head(f"{pair.url}/stream", headers=pair.host).status_code == 200
        pair.post(request_id="r")
        assert next(newer).data["id"] == "r"


def test_opening_that_is_held_up(pair: Pair) -> None:
    """Its client connects again in the meantime, and keeps the stream that it then has."""
    with running_parley(pair.parley.store) as fresh:
        pair.parley = fresh
        fresh.store.faults.fail("slow", times=2)  # the subscription, and the look that opens
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{fresh.url}{pair.url}/stream", headers=pair.host, timeout=1.5)
        with listening(pair) as found:
            wait_until(lambda: sum("/stream" in line and "clientGone" in line for line in fresh.lines) == 1)
            pair.post(request_id="q")
            assert next(found).data["id"] == "q"


def test_session_expires(pair: Pair) -> None:
    pair.parley.store.db.pexpire(f"{pair.parley.store.prefix}session:{pair.code}", 1000)
    started = time.monotonic()
    with listening(pair) as found:
        assert next(found).data == {"reason": "expired"}
    assert time.monotonic() - started < 15, "at once, and not at the next check"


def test_stream_ends_in_time(pair: Pair) -> None:
    with running_parley(pair.parley.store, STREAM_SECONDS="1") as short:
        pair.parley = short
        with listening(pair) as found:
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


def test_client_that_leaves_is_noticed(pair: Pair) -> None:
    """Streams and waits alike end within a second of their client."""
    with listening(pair):
        assert left(pair) == 0
    wait_until(lambda: left(pair) == 1, 2)
    pair.post(request_id="q")
    for number, path in enumerate(("/responses/q?wait=50", "/requests?wait=50&after=999999999999999-0")):
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"{pair.parley.url}{pair.url}{path}", headers=pair.host, timeout=0.5)
        wait_until(lambda expected=number + 2: left(pair) == expected, 2)  # type: ignore[misc]
    assert "defect" not in "".join(pair.parley.lines)


def test_dropped_streams_leave_nothing(pair: Pair) -> None:
    """Two hundred streams are opened and dropped: no thread and no socket is left but the instance's own."""
    process = Path(f"/proc/{pair.parley.platform.function('stream').pid}")
    if not process.exists():
        pytest.skip("threads and sockets are counted in /proc, which only Linux has")

    def held() -> tuple[int, int]:
        sockets = 0
        for descriptor in (process / "fd").iterdir():
            try:
                sockets += str(descriptor.readlink()).startswith("socket:")
            except FileNotFoundError:
                continue
        return len(list((process / "task").iterdir())), sockets

    with listening(pair):
        pass
    wait_until(lambda: held()[0] == 2)  # the server's, and the listener's, which stays for a while
    before = held()
    for _ in range(10):
        with ExitStack() as streams:
            for _ in range(20):
                url = f"{pair.parley.url}{pair.url}/stream"
                streams.enter_context(httpx.stream("GET", url, headers=pair.host, timeout=20))
            assert held()[1] <= before[1] + 20 + 10  # the clients', and the connections to the store
    wait_until(lambda: held()[0] == before[0])
    time.sleep(5.5)  # a pooled connection that is not used closes after five seconds, when the next one is
    with listening(pair):
        pass
    wait_until(lambda: held()[1] <= before[1] + 1)


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


@pytest.mark.parametrize("victim", ["stream", "requests", "responses"])
def test_function_is_killed_at_every_step(parley: Parley, victim: str) -> None:
    """A function's process dies again and again while guests ask and a host answers."""
    with running_parley(parley.store) as mortal:
        session = mortal.create()
        host = Host(mortal.url, session)
        assert host.connected.wait(10)
        done = threading.Event()

        def kill() -> None:
            while not done.wait(0.8):
                os.kill(mortal.platform.function(victim).pid, signal.SIGKILL)

        killing = threading.Thread(target=kill)
        killing.start()
        try:
            with httpx.Client(base_url=mortal.url, timeout=30) as http:
                for number in range(12):
                    assert ask(http, session["code"], f"q{number}", number) == {"echo": number}
                    time.sleep(0.1)
        finally:
            done.set()
            killing.join()
        assert mortal.http.delete(f"/api/sessions/{session['code']}", headers=session["host"]).status_code == 204
        host.join()
        assert host.order == [f"q{number}" for number in range(12)]
        assert host.late == []


def test_forty_guests_and_their_hosts(parley: Parley) -> None:
    """A thousand requests, one store call in ten losing its answer: each is answered once, each guest gets its own."""
    wrong: list[str] = []
    with running_parley(parley.store, RATE_LIMIT_SESSIONS="1000") as busy:
        sessions = [busy.create() for _ in range(40)]
        hosts = [Host(busy.url, session) for session in sessions]
        for host in hosts:
            assert host.connected.wait(20)
        parley.store.faults.lose_every(10)

        def guest(number: int) -> None:
            code = sessions[number]["code"]
            with httpx.Client(base_url=busy.url, timeout=40) as http:
                results = [ask(http, code, f"q{turn}", [number, turn]) for turn in range(25)]
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
    expected = [f"q{turn}" for turn in range(25)]
    assert all(host.order == expected for host in hosts)
    assert [host.late for host in hosts if host.late] == []
    # An answer whose 201 was lost on its way is known when it comes again, and told with 200.
    assert all(host.answers <= 25 for host in hosts)


def test_cost(pair: Pair) -> None:
    """A round trip is two calls to the store, the request and its answer; checks of those that wait may come on top."""
    faults = pair.parley.store.faults
    with listening(pair) as found, ThreadPoolExecutor(1) as beside:
        before = 0
        for number in range(41):
            waiting = beside.submit(pair.post, str(number), f"q{number}", "?wait=20")
            request = next(found)
            assert request.data["payload"] == number
            pair.answer(request.data["id"], f'"{number}"')
            answer = waiting.result()
            assert (answer.status_code, answer.json()["result"]) == (200, str(number))
            before = before or faults.calls  # of the first one, which subscribes
        assert 2 * 40 <= faults.calls - before <= 2.2 * 40


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("{}", b"id: 1-0\nevent: x\ndata: {}\n\n"),
        ('{"a":\r\n1}', b'id: 1-0\nevent: x\ndata: {"a":  1}\n\n'),
        ('"\u2028ä"', 'id: 1-0\nevent: x\ndata: "\u2028ä"\n\n'.encode()),
    ],
)
def test_encode(data: str, expected: bytes) -> None:
    assert sse.encode("x", data, "1-0") == expected
