"""lib/bell.py: the moments to look, whatever becomes of the subscription."""

import socket
import time
from collections.abc import Iterator

import pytest

from lib import bell, keys, messages, sessions, stream, waiting
from lib.bell import ClientGone, Moment, Watch
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


def watch(client: socket.socket, seconds: float = 20, beat: float = float("inf")) -> Watch:
    return Watch(Way(), CODE, client, seconds, lambda word: word.startswith("request"), beat)


def test_first_look_comes_when_the_bell_is_heard(kv_store: Store, client: tuple[socket.socket, socket.socket]) -> None:
    with watch(client[0]) as watching:
        moments = iter(watching)
        assert next(moments) is Moment.LOOK
        assert ring(kv_store, "request") == 1
        started = time.monotonic()
        assert next(moments) is Moment.LOOK
        assert time.monotonic() - started < 5
    wait_until(lambda: ring(kv_store, "x") == 0)


def test_words_that_do_not_matter(kv_store: Store, client: tuple[socket.socket, socket.socket]) -> None:
    with watch(client[0], seconds=1) as watching:
        moments = iter(watching)
        next(moments)
        for word in ("response q", "renewed", "a,request,b"):
            ring(kv_store, word)
        assert list(moments) == []


def test_many_rings_at_once(kv_store: Store, client: tuple[socket.socket, socket.socket]) -> None:
    with watch(client[0], seconds=1) as watching:
        moments = iter(watching)
        next(moments)
        for _ in range(100):
            ring(kv_store, "request")
        assert next(moments) is Moment.LOOK
        assert len(list(moments)) < 100


def test_beat(kv_store: Store, client: tuple[socket.socket, socket.socket]) -> None:
    with watch(client[0], seconds=0.5, beat=0.1) as watching:
        found = list(watching)
    assert found[0] is Moment.LOOK
    assert found[1:] == [Moment.BEAT] * len(found[1:])
    assert 2 <= len(found) - 1 <= 5


def test_slow_look(
    kv_store: Store, client: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bell that is lost costs time, and nothing else."""
    monkeypatch.setattr(bell, "_LOOK_SECONDS", 0.2)
    with watch(client[0], seconds=0.7) as watching:
        found = list(watching)
    assert set(found) == {Moment.LOOK}
    assert 2 <= len(found) <= 5  # a loaded machine may be late


def test_end_of_the_session_is_a_moment(kv_store: Store, client: tuple[socket.socket, socket.socket]) -> None:
    with watch(client[0]) as watching:
        moments = iter(watching)
        next(moments)
        watching.expect_end(200)
        started = time.monotonic()
        assert next(moments) is Moment.LOOK
        assert 0.2 <= time.monotonic() - started < 5


def test_client_goes(kv_store: Store, client: tuple[socket.socket, socket.socket]) -> None:
    with watch(client[0]) as watching:
        moments = iter(watching)
        next(moments)
        client[1].close()
        with pytest.raises(ClientGone):
            next(moments)
    wait_until(lambda: ring(kv_store, "x") == 0)


def test_client_talks(kv_store: Store, client: tuple[socket.socket, socket.socket]) -> None:
    """What a client sends while it waits is of no interest, and keeps nobody busy."""
    with watch(client[0], seconds=0.5) as watching:
        moments = iter(watching)
        next(moments)
        client[1].sendall(b"GET / HTTP/1.1\r\n")
        started = time.process_time()
        assert list(moments) == []
        assert time.process_time() - started < 0.4


@pytest.mark.parametrize("fault", ["html", "quota", "unauthorized", "lost", "empty"])
def test_subscription_cannot_be_had_at_first(
    kv_store: Store, client: tuple[socket.socket, socket.socket], fault: str
) -> None:
    """It is asked for again, and looked past meanwhile."""
    kv_store.faults.fail(fault, times=1)
    with watch(client[0]) as watching:
        moments = iter(watching)
        assert [next(moments), next(moments)] == [Moment.LOOK] * 2
        assert ring(kv_store, "request") == 1
        assert next(moments) is Moment.LOOK


def test_subscription_cannot_be_had_at_all(
    kv_store: Store, client: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks go on at a pace that slows down."""
    monkeypatch.setattr(bell, "_AGAIN_SECONDS", (0.05, 0.1, 0.2, 0.4, 30))
    kv_store.faults.fail("html")
    way = Way()
    with Watch(way, CODE, client[0], 1.5, lambda _: True) as watching:
        assert list(watching) == [Moment.LOOK] * 5
    assert way.calls == 5


def test_subscription_drops(
    kv_store: Store, client: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is renewed before the next look, and one that drops at once does not make anyone spin."""
    monkeypatch.setattr(bell, "_AGAIN_SECONDS", (0.0, 0.1, 30))
    way = Way()
    with Watch(way, CODE, client[0], 1, lambda _: True) as watching:
        moments = iter(watching)
        for _ in range(2):
            assert next(moments) is Moment.LOOK
            assert watching._subscription
            watching._subscription._socket.shutdown(socket.SHUT_RDWR)
        assert next(moments) is Moment.LOOK
        looks = list(moments)
    assert len(looks) < 5
    assert way.calls <= 4


def test_subscription_that_hangs(kv_store: Store, client: tuple[socket.socket, socket.socket]) -> None:
    """It does not take longer than the wait that it is for."""
    kv_store.faults.fail("hang")
    started = time.monotonic()
    with watch(client[0], seconds=0.5) as watching:
        assert list(watching) == [Moment.LOOK]
    assert time.monotonic() - started < 2.5


def test_bell_that_never_stops(kv_store: Store, client: tuple[socket.socket, socket.socket]) -> None:
    """The time is over all the same."""
    with watch(client[0], seconds=0.3) as watching:
        for _ in watching:
            ring(kv_store, "request")


def test_address_of_nothing(
    kv_store: Store, client: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in ("http://127.0.0.1:1", "http://127.0.0.1:99999", "http://[", "https://host.invalid"):
        monkeypatch.setenv("KV_REST_API_URL", url)
        with watch(client[0], seconds=0.01) as watching:
            assert next(iter(watching)) is Moment.LOOK


def test_idle_stream_costs_little(
    kv_store: Store, client: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two minutes at a hundredth of their length: five looks, one subscription, and no call for a keep-alive."""
    monkeypatch.setattr(bell, "_LOOK_SECONDS", 0.3)
    monkeypatch.setattr(stream, "_KEEP_ALIVE_SECONDS", 0.15)
    monkeypatch.setattr("lib.settings.stream_seconds", lambda: 1.2)
    session = sessions.create(Way(), "192.0.2.1")
    kv_store.faults.heal()
    sent = list(stream.run(Way(), session.code, messages.START, client[0]))
    assert sent[0].startswith(b"id: 0-0\nevent: open\n")
    assert sent[-1] == b"id: 0-0\nevent: reconnect\ndata: {}\n\n"
    assert set(sent[1:-1]) == {b":\n\n"}
    assert 5 <= len(sent[1:-1]) <= 8  # every 0.15 s, no matter when it was looked
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
    monkeypatch.setattr(bell, "_LOOK_SECONDS", 0.1)
    session = sessions.create(Way(), "192.0.2.1")

    def post() -> messages.Response:
        return messages.post(Way(), session.code, "192.0.2.1", "q", JsonText("1"))

    kv_store.faults.fail_after(2, "html")
    assert waiting.for_response(Way(), session.code, "q", client[0], 5, post).answer is None
    with pytest.raises(StoreUnavailable):
        waiting.for_response(Way(), session.code, "q", client[0], 5, post)
