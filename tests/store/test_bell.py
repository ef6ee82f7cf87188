"""lib/bell.py: a waiting call wakes in time, whatever becomes of its subscription."""

import socket
import time
from collections.abc import Iterator

import pytest

from lib import bell, keys, messages, sessions, stream, waiting
from lib.bell import ClientGone, Waiter, Wakeup
from lib.jsontext import JsonText
from lib.kv import Store as Way
from lib.problems import StoreUnavailable
from tests.support.stores import Store
from tests.support.tools import wait_until

CODE = "ABC12345"


@pytest.fixture
def client() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give the function's end of a connection, and its client's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def ring(store: Store, word: str) -> int:
    return int(store.db.publish(keys.bell(CODE), word))


def waiting_call(client: socket.socket, seconds: float = 20, keepalive: float = float("inf")) -> Waiter:
    return Waiter(Way(), CODE, client, seconds, lambda word: word.startswith("request"), keepalive)


def test_first_check_comes_when_the_bell_is_heard(kv_store: Store, client: tuple[socket.socket, socket.socket]) -> None:
    with waiting_call(client[0]) as waiter:
        wakeups = iter(waiter)
        assert next(wakeups) is Wakeup.CHECK
        assert ring(kv_store, "request") == 1
        started = time.monotonic()
        assert next(wakeups) is Wakeup.CHECK
        assert time.monotonic() - started < 5
    wait_until(lambda: ring(kv_store, "x") == 0)


def test_words_that_do_not_matter(kv_store: Store, client: tuple[socket.socket, socket.socket]) -> None:
    with waiting_call(client[0], seconds=1) as waiter:
        wakeups = iter(waiter)
        next(wakeups)
        for word in ("response q", "renewed", "a,request,b"):
            ring(kv_store, word)
        assert list(wakeups) == []


def test_many_rings_at_once(kv_store: Store, client: tuple[socket.socket, socket.socket]) -> None:
    with waiting_call(client[0], seconds=1) as waiter:
        wakeups = iter(waiter)
        next(wakeups)
        for _ in range(100):
            ring(kv_store, "request")
        assert next(wakeups) is Wakeup.CHECK
        assert len(list(wakeups)) < 100


def test_keepalive(kv_store: Store, client: tuple[socket.socket, socket.socket]) -> None:
    with waiting_call(client[0], seconds=0.5, keepalive=0.1) as waiter:
        found = list(waiter)
    assert found[0] is Wakeup.CHECK
    assert found[1:] == [Wakeup.KEEPALIVE] * len(found[1:])
    assert 2 <= len(found) - 1 <= 5


def test_slow_check(
    kv_store: Store, client: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that is lost costs time, and nothing else: checks go on, every half minute, to the end."""
    monkeypatch.setattr(bell, "_CHECK_SECONDS", 0.2)
    with waiting_call(client[0], seconds=1.5) as waiter:
        found = list(waiter)
    assert set(found) == {Wakeup.CHECK}
    assert 4 <= len(found) <= 9  # a loaded machine may be late


def test_end_of_the_session_wakes(kv_store: Store, client: tuple[socket.socket, socket.socket]) -> None:
    with waiting_call(client[0]) as waiter:
        wakeups = iter(waiter)
        next(wakeups)
        waiter.wake_at_expiry(200)
        started = time.monotonic()
        assert next(wakeups) is Wakeup.CHECK
        assert 0.2 <= time.monotonic() - started < 5


def test_client_goes(kv_store: Store, client: tuple[socket.socket, socket.socket]) -> None:
    with waiting_call(client[0]) as waiter:
        wakeups = iter(waiter)
        next(wakeups)
        client[1].close()
        with pytest.raises(ClientGone):
            next(wakeups)
    wait_until(lambda: ring(kv_store, "x") == 0)


def test_client_talks(kv_store: Store, client: tuple[socket.socket, socket.socket]) -> None:
    """What a client sends while it waits is of no interest, and keeps nobody busy."""
    with waiting_call(client[0], seconds=0.5) as waiter:
        wakeups = iter(waiter)
        next(wakeups)
        client[1].sendall(b"GET / HTTP/1.1\r\n")
        started = time.process_time()
        assert list(wakeups) == []
        assert time.process_time() - started < 0.4


@pytest.mark.parametrize("fault", ["html", "quota", "unauthorized", "lost", "empty"])
def test_subscription_cannot_be_had_at_first(
    kv_store: Store, client: tuple[socket.socket, socket.socket], fault: str
) -> None:
    """It is asked for again, and checks go on meanwhile."""
    kv_store.faults.fail(fault, times=1)
    with waiting_call(client[0]) as waiter:
        wakeups = iter(waiter)
        assert [next(wakeups), next(wakeups)] == [Wakeup.CHECK] * 2
        assert ring(kv_store, "request") == 1
        assert next(wakeups) is Wakeup.CHECK


def test_subscription_cannot_be_had_at_all(
    kv_store: Store, client: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checks go on at a pace that slows down."""
    monkeypatch.setattr(bell, "_RETRY_SECONDS", (0.05, 0.1, 0.2, 0.4, 30))
    kv_store.faults.fail("html")
    way = Way()
    with Waiter(way, CODE, client[0], 1.5, lambda _: True) as waiter:
        assert list(waiter) == [Wakeup.CHECK] * 5
    assert way.calls == 5


def test_subscription_drops(
    kv_store: Store, client: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is renewed before the next check, and one that drops at once does not make anyone spin."""
    monkeypatch.setattr(bell, "_RETRY_SECONDS", (0.0, 0.1, 30))
    way = Way()
    with Waiter(way, CODE, client[0], 1, lambda _: True) as waiter:
        wakeups = iter(waiter)
        for _ in range(2):
            assert next(wakeups) is Wakeup.CHECK
            assert waiter._subscription
            waiter._subscription._socket.shutdown(socket.SHUT_RDWR)
        assert next(wakeups) is Wakeup.CHECK
        checks = list(wakeups)
    assert len(checks) < 5
    assert way.calls <= 4


def test_subscription_that_hangs(kv_store: Store, client: tuple[socket.socket, socket.socket]) -> None:
    """It does not take longer than the wait that it is for."""
    kv_store.faults.fail("hang")
    started = time.monotonic()
    with waiting_call(client[0], seconds=0.5) as waiter:
        assert list(waiter) == [Wakeup.CHECK]
    assert time.monotonic() - started < 2.5


def test_bell_that_never_stops(kv_store: Store, client: tuple[socket.socket, socket.socket]) -> None:
    """The call is woken again and again, and ends in time all the same."""
    started = time.monotonic()
    wakeups = 0
    with waiting_call(client[0], seconds=0.3) as waiter:
        for _ in waiter:
            wakeups += 1
            ring(kv_store, "request")
            assert time.monotonic() - started < 5
    assert wakeups > 2


def test_address_of_nothing(
    kv_store: Store, client: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in ("http://127.0.0.1:1", "http://127.0.0.1:99999", "http://[", "https://host.invalid"):
        monkeypatch.setenv("KV_REST_API_URL", url)
        with waiting_call(client[0], seconds=0.01) as waiter:
            assert next(iter(waiter)) is Wakeup.CHECK


def test_idle_stream_costs_little(
    kv_store: Store, client: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two minutes at a hundredth of their length: five checks, one subscription, and no call for a keep-alive."""
    monkeypatch.setattr(bell, "_CHECK_SECONDS", 0.3)
    monkeypatch.setattr(stream, "_KEEP_ALIVE_SECONDS", 0.15)
    monkeypatch.setattr("lib.settings.stream_seconds", lambda: 1.2)
    session = sessions.create(Way(), "192.0.2.1")
    kv_store.faults.heal()
    sent = list(stream.run(Way(), session.code, messages.START, client[0]))
    assert sent[0].startswith(b"id: 0-0\nevent: open\n")
    assert sent[-1] == b"id: 0-0\nevent: reconnect\ndata: {}\n\n"
    assert set(sent[1:-1]) == {b":\n\n"}
    assert 5 <= len(sent[1:-1]) <= 8  # every 0.15 s, no matter when the store was checked
    assert kv_store.faults.calls <= 10


@pytest.mark.parametrize("fault", ["html", "quota", "unauthorized"])
def test_store_fails_under_a_stream(kv_store: Store, client: tuple[socket.socket, socket.socket], fault: str) -> None:
    """The stream ends without `ended`, which tells its client to connect again; what was posted is still there."""
    session = sessions.create(Way(), "192.0.2.1")
    running = stream.run(Way(), session.code, messages.START, client[0])
    next(running)
    kv_store.faults.fail_after(1, fault)
    messages.post(Way(), session.code, "192.0.2.1", "q", JsonText("1"))
    assert list(running) == []
    kv_store.faults.heal()
    assert [request.id for request in messages.unanswered(Way(), session.code, messages.START).requests] == ["q"]


def test_store_fails_under_a_wait(
    kv_store: Store, client: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that was taken is told to be pending; a wait that has found nothing out fails with the store."""
    monkeypatch.setattr(bell, "_CHECK_SECONDS", 0.1)
    session = sessions.create(Way(), "192.0.2.1")

    def post() -> messages.Response:
        return messages.post(Way(), session.code, "192.0.2.1", "q", JsonText("1"))

    kv_store.faults.fail_after(2, "html")
    assert waiting.for_response(Way(), session.code, "q", client[0], 5, post).answer is None
    with pytest.raises(StoreUnavailable):
        waiting.for_response(Way(), session.code, "q", client[0], 5, post)
