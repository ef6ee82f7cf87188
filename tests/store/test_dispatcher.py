"""lib/wait/dispatcher.py, lib/wait/waiter.py: a waiting call is woken, whatever becomes of the subscription."""

import socket
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import islice

import pytest

from dev.events import events_of
from lib import exchange, kv
from lib.jsontext import JsonText
from lib.kv import Store as Way
from lib.problems import Busy, SessionNotFound, StoreUnavailable
from lib.session import messages, sessions
from lib.session.access import Access
from lib.store.subscription import Subscription
from lib.wait import capacity, check, dispatcher, host_stream, long_poll, tool_list
from lib.wait.dispatcher import Dispatcher
from lib.wait.notifications import Notification, RequestAnswered, SessionEnded, SessionRenewed
from lib.wait.tool_list import Event
from lib.wait.waiter import Waiter, Wakeup, Watched, expiry
from lib.web import sse
from lib.web.connection import ClientGone, require_client
from tests.support.stores import Store
from tests.support.tools import wait_until

CODE = "ABC12345"
ADDRESS = "192.0.2.1"

type Sockets = tuple[socket.socket, socket.socket]


@pytest.fixture
def client() -> Iterator[Sockets]:
    """Give the function's end of a connection, and its client's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def ear(kv_store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dispatcher]:
    """Give this process's dispatcher, a new one, which is gone soon after its last call."""
    monkeypatch.setattr(dispatcher, "_TICK_SECONDS", 0.05)
    monkeypatch.setattr(dispatcher, "_LINGER_SECONDS", 0.2)
    # A machine may pause for longer than five seconds, which is not what most of these tests are about.
    monkeypatch.setattr(dispatcher, "_FROZEN_SECONDS", 600)
    dispatcher._dispatchers.clear()
    made = dispatcher.current()
    yield made
    kv_store.faults.heal()
    wait_until(lambda: made._selector is None)
    wait_until(lambda: subscribers(kv_store, made) == 0)


def subscribers(store: Store, ear: Dispatcher) -> int:
    return int(store.db.publish(ear._channel, "nothing"))


@contextmanager
def wait_for(ear: Dispatcher, client: Sockets, code: str = CODE, way: Way | None = None) -> Iterator[Waiter]:
    def wants(event: Notification) -> bool:
        return not isinstance(event, SessionRenewed)

    waiter = Waiter(way or Way(), code, client[0], wants)
    with ear.waiting(waiter):
        yield waiter


def soon() -> float:
    return time.monotonic() + 30


def test_what_is_wanted(kv_store: Store, ear: Dispatcher, client: Sockets) -> None:
    with wait_for(ear, client) as waiter:
        assert ear.channel == ""
        ear.subscribe(waiter.store)
        assert ear.channel == ear._channel
        for text in ("ABC12345 renewed 2026-11-24T10:23:26.166Z 1", "XYZ12345 ended", "nonsense", "ABC12345 ended"):
            assert kv_store.db.publish(ear._channel, text) == 1
        assert waiter.wait(soon()) == SessionEnded(CODE)
        assert waiter.wait(time.monotonic() + 0.1) is Wakeup.TIME


def test_strange_messages(kv_store: Store, ear: Dispatcher, client: Sockets) -> None:
    """Whatever stands on the channel, the next message is heard."""
    with wait_for(ear, client) as waiter:
        ear.subscribe(waiter.store)
        for text in (
            "",
            " ",
            "\x00",
            "ä" * 10_000,
            "ABC12345 what\ndata: x",
            "a,b,c",
            f"x,{ear._channel},y",
            "echo",
        ):
            kv_store.db.publish(ear._channel, text)
        kv_store.db.publish(ear._channel, "ABC12345 response q")
        found = waiter.wait(soon())
        assert found == RequestAnswered(CODE, "q")
        assert ear.channel


def test_one_subscription_for_all(kv_store: Store, ear: Dispatcher) -> None:
    """However many wait, the instance subscribes once, and its descriptors are those of the clients."""
    ways = [Way() for _ in range(20)]
    with ExitStack() as waiting_now:
        pairs = [socket.socketpair() for _ in ways]
        for pair in pairs:
            waiting_now.enter_context(pair[0])
            waiting_now.enter_context(pair[1])
        waiters = [
            waiting_now.enter_context(wait_for(ear, pair, f"CODE{number:04}", way))
            for number, (pair, way) in enumerate(zip(pairs, ways, strict=True))
        ]
        threads = [threading.Thread(target=ear.subscribe, args=[waiter.store]) for waiter in waiters]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(way.calls for way in ways) == 1
        assert subscribers(kv_store, ear) == 1
        for number, waiter in enumerate(waiters):
            kv_store.db.publish(ear._channel, f"CODE{number:04} ended")
            assert waiter.wait(soon()) == SessionEnded(f"CODE{number:04}")


def test_the_subscription_stays_for_the_next_call(
    kv_store: Store, ear: Dispatcher, client: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "_LINGER_SECONDS", 2)
    way = Way()
    for _ in range(3):
        with wait_for(ear, client, way=way) as waiter:
            ear.subscribe(waiter.store)
            assert ear.channel
        left = ear._ran_at
        wait_until(lambda before=left: ear._ran_at > before)  # type: ignore[misc]
    assert way.calls == 1


@pytest.mark.parametrize("unread", [b"", b"x"])
def test_client_goes(kv_store: Store, ear: Dispatcher, client: Sockets, unread: bytes) -> None:
    """Its system closes the connection, or resets it if there is something that it has not read."""
    with wait_for(ear, client) as waiter:
        ear.subscribe(waiter.store)
        require_client(client[0])
        client[0].sendall(unread)
        client[1].close()
        with pytest.raises(ClientGone):
            waiter.wait(soon())
        with pytest.raises(ClientGone):
            require_client(client[0])


def test_client_talks(kv_store: Store, ear: Dispatcher, client: Sockets) -> None:
    """What a client sends while it waits is of no interest, and keeps nobody busy."""
    with wait_for(ear, client) as waiter:
        client[1].sendall(b"GET / HTTP/1.1\r\n")
        require_client(client[0])
        started = time.process_time()
        assert waiter.wait(time.monotonic() + 0.5) is Wakeup.TIME
        assert time.process_time() - started < 0.4


def test_check(kv_store: Store, ear: Dispatcher, client: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is lost costs time, and nothing else: the check finds it, again and again."""
    monkeypatch.setattr(dispatcher, "_CHECK_SECONDS", 0.1)
    way = Way()
    with wait_for(ear, client, way=way) as waiter:
        ear.subscribe(waiter.store)
        assert waiter.wait(time.monotonic() + 0.5) is Wakeup.TIME, "before the first look there is nothing to check"
        assert way.calls == 1
        waiter.watched = Watched("guest", "q")  # of a session that is not there
        assert [waiter.wait(soon()) for _ in range(3)] == [Wakeup.LOOK] * 3
        assert ear.channel
    assert way.calls >= 4, "the call that has waited longest counts the check as its own"


def test_checks_take_many_calls_at_once(kv_store: Store, ear: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_CALLS_A_SCRIPT", 3)
    with ExitStack() as waiting_now:
        waiters = []
        for _ in range(7):
            pair = socket.socketpair()
            waiting_now.enter_context(pair[0])
            waiting_now.enter_context(pair[1])
            waiters.append(waiting_now.enter_context(wait_for(ear, pair)))
            waiters[-1].watched = Watched("guest", "q")
        ear.subscribe(waiters[0].store)
        with closing(Subscription(ear._channel)) as beside:
            kv_store.faults.heal()
            ear._check_at = 0.0
            assert [waiter.wait(soon()) for waiter in waiters] == [Wakeup.LOOK] * 7
            assert kv_store.faults.calls == 3
            kv_store.db.publish(ear._channel, "last")
            published: list[str] = []
            while "last" not in published:
                assert beside.wait(30)
                published += beside.read()
            assert len(published) == 2, "a round has one echo: the next part's would take the place of each other"


def test_check_beside_a_network_that_uses_its_share(kv_store: Store, ear: Dispatcher, client: Sockets) -> None:
    """The calls that wait are of all networks, so the check waits for none of them, and is still counted."""
    way = Way(ADDRESS)
    with ExitStack() as held, wait_for(ear, client, way=way) as waiter:
        ear.subscribe(waiter.store)
        for _ in range(4):
            assert held.enter_context(kv._slots.take(ADDRESS, 1))
        waiter.watched = Watched("guest", "q")
        ear._check_at = 0.0
        assert waiter.wait(soon()) is Wakeup.LOOK
        assert way.calls >= 2, "the subscription, and the check"


@pytest.mark.parametrize("fault", ["html", "quota", "unauthorized", "lost", "empty"])
def test_subscription_cannot_be_had_at_first(kv_store: Store, ear: Dispatcher, client: Sockets, fault: str) -> None:
    """It is asked for again, and then the call is told whether it has missed anything."""
    kv_store.faults.fail(fault, times=1)
    with wait_for(ear, client) as waiter:
        ear.subscribe(waiter.store)
        assert ear.channel == ""
        waiter.watched = Watched("guest", "q")
        assert waiter.wait(soon()) is Wakeup.LOOK
        assert ear.channel == ear._channel


def test_subscription_cannot_be_had_at_all(
    kv_store: Store, ear: Dispatcher, client: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempts slow down, and calls do not wait for one another's."""
    monkeypatch.setattr(dispatcher, "_RETRY_SECONDS", (0.05, 0.1, 0.2, 30))
    kv_store.faults.fail("html")
    way = Way()
    with wait_for(ear, client, way=way) as waiter:
        ear.subscribe(waiter.store)
        for _ in range(100):
            ear.subscribe(waiter.store)
        assert waiter.wait(time.monotonic() + 1.5) is Wakeup.TIME
    assert way.calls == 4
    kv_store.faults.heal()


def test_failures_are_forgotten(
    kv_store: Store, ear: Dispatcher, client: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a subscription stands, the next failure is the first one again."""
    monkeypatch.setattr(dispatcher, "_RETRY_SECONDS", (0.05, 30))
    kv_store.faults.fail("html", times=1)
    with wait_for(ear, client) as waiter:
        ear.subscribe(waiter.store)
        wait_until(lambda: bool(ear.channel))
        before = ear._subscription
        assert before
        kv_store.faults.fail("html", times=1)
        before._socket.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: ear._subscription not in (before, None))


def test_subscription_that_comes_too_late(kv_store: Store, ear: Dispatcher) -> None:
    """Nobody waits any more: it is given up."""
    ear.subscribe(Way())
    assert not ear.channel
    wait_until(lambda: subscribers(kv_store, ear) == 0)


def test_subscription_that_hangs(kv_store: Store, ear: Dispatcher, client: Sockets) -> None:
    kv_store.faults.fail("hang", times=1)
    started = time.monotonic()
    with wait_for(ear, client) as waiter:
        ear.subscribe(waiter.store)
        assert 2 < time.monotonic() - started < 5
        assert ear.channel == ""


def test_subscription_drops(kv_store: Store, ear: Dispatcher, client: Sockets) -> None:
    """It is renewed at once, and then the call is told whether it has missed anything."""
    with wait_for(ear, client) as waiter:
        ear.subscribe(waiter.store)
        waiter.watched = Watched("guest", "q")
        for _ in range(2):
            wait_until(lambda: bool(ear.channel))
            assert ear._subscription
            ear._subscription._socket.shutdown(socket.SHUT_RDWR)
            assert waiter.wait(soon()) is Wakeup.LOOK
        wait_until(lambda: subscribers(kv_store, ear) == 1)


def test_deaf_subscription(kv_store: Store, ear: Dispatcher, client: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that stands but brings nothing is found out by the check's echo, and replaced."""
    monkeypatch.setattr(dispatcher, "_ECHO_SECONDS", 0.3)
    with wait_for(ear, client) as waiter:
        ear.subscribe(waiter.store)
        deaf = ear._subscription
        assert deaf
        monkeypatch.setattr(deaf, "read", list)
        waiter.watched = Watched("guest", "q")
        ear._check_at = 0.0
        wait_until(lambda: ear._subscription not in (deaf, None))
        assert waiter.wait(soon()) is Wakeup.LOOK
        kv_store.db.publish(ear._channel, "ABC12345 ended")
        while (event := waiter.wait(soon())) is Wakeup.LOOK:
            pass
        assert event == SessionEnded(CODE)


def test_subscription_that_hears(
    kv_store: Store, ear: Dispatcher, client: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that brings the check's echo stays."""
    monkeypatch.setattr(dispatcher, "_ECHO_SECONDS", 1)
    with wait_for(ear, client) as waiter:
        ear.subscribe(waiter.store)
        before = ear._subscription
        waiter.watched = Watched("guest", "q")
        ear._check_at = 0.0
        assert waiter.wait(soon()) is Wakeup.LOOK
        assert waiter.wait(time.monotonic() + 1.5) is Wakeup.TIME
        assert ear._subscription is before


def test_frozen_process(kv_store: Store, ear: Dispatcher, client: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a gap in time the connection is not trusted, and what it still brings is not heard."""
    with wait_for(ear, client) as waiter:
        ear.subscribe(waiter.store)
        before = ear._subscription
        clocks = exchange.clocks
        offset = 0.0
        monkeypatch.setattr(dispatcher, "clocks", lambda: (clocks()[0], clocks()[1] + offset))
        waiter.watched = Watched("guest", "q")
        kv_store.db.publish(ear._channel, "ABC12345 response before")
        assert waiter.wait(soon()) == RequestAnswered(CODE, "before")
        offset = 3600.0  # one clock stood still
        kv_store.db.publish(ear._channel, "ABC12345 response late")
        assert waiter.wait(soon()) is Wakeup.LOOK
        assert ear._subscription is not before
        wait_until(lambda: subscribers(kv_store, ear) == 1)


def test_silent_end_is_noticed(kv_store: Store, ear: Dispatcher, client: Sockets) -> None:
    """The system asks after a while whether the other end of the subscription is still there."""
    with wait_for(ear, client) as waiter:
        ear.subscribe(waiter.store)
        assert ear._subscription
        connection = ear._subscription._socket
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
        assert connection.getblocking() is False, "the thread that reads it waits for nothing else"


def test_channel_of_a_preview(kv_store: Store) -> None:
    """The name of its branch stands in it as it is in the store, percent-encoded."""
    channel = f"{kv_store.prefix}preview:a%2Fb:bell:x"
    with closing(Subscription(channel)) as subscription:
        kv_store.db.publish(channel, "ABC12345 ended")
        assert subscription.wait(5)
        assert subscription.read() == ["ABC12345 ended"]


def test_message_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has come of a message waits for the rest."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("KV_REST_API_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("KV_REST_API_TOKEN", "token")
        connections: list[socket.socket] = []

        def accept() -> None:
            connections.append(server.accept()[0])
            connections[0].sendall(b"HTTP/1.1 200 OK\r\n\r\ndata: subscribe,a,1\n\ndata: mess")

        accepting = threading.Thread(target=accept)
        accepting.start()
        with closing(Subscription("a")) as subscription:
            accepting.join()
            with connections[0] as connection:
                for piece, expected in ((b"age,a,ABC1", []), (b"2345 ended\n", ["ABC12345 ended"])):
                    connection.sendall(piece)
                    assert subscription.wait(5)
                    assert subscription.read() == expected


def test_address_of_nothing(kv_store: Store, client: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("http://127.0.0.1:1", "http://127.0.0.1:99999", "http://[", "https://host.invalid"):
        monkeypatch.setenv("KV_REST_API_URL", url)
        ear = dispatcher.current()
        with wait_for(ear, client) as waiter:
            ear.subscribe(waiter.store)
            assert ear.channel == ""


def host_access(way: Way | None = None) -> Access:
    session = sessions.create(way or Way(), ADDRESS, ADDRESS)
    return Access(way or Way(), session.code, ADDRESS, session.created_at)


def answered(access: Access, client: Sockets, seconds: int) -> messages.Response:
    """Wait for the response to `q`, as a guest that reads it does."""
    with long_poll.response(access, "q", client[0], seconds) as wait:
        return wait.until_answered(messages.read(access, "q", wait.channel))


def test_idle_stream_costs_little(
    kv_store: Store, ear: Dispatcher, client: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two minutes at a hundredth of their length: one subscription, one opening, and a check every half minute."""
    for module, name in (
        (dispatcher, "_CHECK_SECONDS"),
        (dispatcher, "_TICK_SECONDS"),
        (sse, "KEEP_ALIVE_SECONDS"),
    ):
        monkeypatch.setattr(module, name, vars(module)[name] / 100)
    monkeypatch.setattr("lib.settings.stream_seconds", lambda: 1.2)
    access = host_access()
    kv_store.faults.heal()
    sent = list(host_stream.run(access, "a/1", "*", messages.START, client[0]))
    assert sent[0].startswith(b"id: 0-0\nevent: open\n")
    assert sent[-1] == b"id: 0-0\nevent: reconnect\ndata: {}\n\n"
    assert set(sent[1:-1]) == {b":\n\n"}
    assert 1 <= len(sent[1:-1]) <= 8  # a slow machine sends fewer
    assert 3 <= kv_store.faults.calls <= 6


def test_idle_watches_cost_little(
    kv_store: Store, ear: Dispatcher, client: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three hundred clients that listen for changed tools: after the opening, three calls each half minute for all.

    A minute at a hundredth of its length. None of them ends before its time, and none sends what did not happen.
    """
    monkeypatch.setenv("MAX_WAITS", "9600")
    for module, name in (
        (dispatcher, "_CHECK_SECONDS"),
        (dispatcher, "_TICK_SECONDS"),
        (sse, "KEEP_ALIVE_SECONDS"),
    ):
        monkeypatch.setattr(module, name, vars(module)[name] / 100)
    access = host_access()
    with ExitStack() as open_now:
        pairs = [socket.socketpair() for _ in range(300)]
        watches = []
        for ours, theirs in pairs:
            open_now.enter_context(ours)
            open_now.enter_context(theirs)
            watches.append(open_now.enter_context(closing(tool_list.watch(access, ours))))
        assert [next(watches[0]), next(watches[0])] == [Event.WATCHING, Event.QUIET]  # the first one subscribes
        assert {next(watch) for watch in watches[1:]} == {Event.WATCHING}
        followed = [threading.Thread(target=partial(follow, watch, 0.6)) for watch in watches]
        kv_store.faults.heal()
        for thread in followed:
            thread.start()
        for thread in followed:
            thread.join()
        assert kv_store.faults.calls <= 9, "a check more where the machine is slow"


def follow(watch: Generator[Event], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert next(watch) is Event.QUIET


def test_requests_come_without_a_look(kv_store: Store, ear: Dispatcher, client: Sockets) -> None:
    """Also in a process in which the host has listened before, and hears of its own newer attempt."""
    access = host_access()
    guest = Access(Way(), access.code, ADDRESS)
    ours, theirs = socket.socketpair()
    with (
        ours,
        theirs,
        closing(host_stream.run(access, "a/1", "*", messages.START, ours)) as older,
        closing(host_stream.run(access, "a/2", "*", messages.START, client[0])) as newer,
    ):
        next(older)
        kv_store.faults.heal()
        next(newer)
        for name in ("q1", "q2"):
            messages.post(guest, name, JsonText(b"1"))
            assert f'"id":"{name}"'.encode() in next(newer)
        assert kv_store.faults.calls == 3, "the opening, and the posts"


def test_first_wait_in_a_process(kv_store: Store, ear: Dispatcher, client: Sockets) -> None:
    """It is heard of as every later one."""
    access = host_access()
    guest = Access(Way(), access.code, ADDRESS)
    messages.post(guest, "q", JsonText(b"1"))
    found: list[messages.Response] = []

    def wait() -> None:
        found.append(answered(guest, client, 20))

    waiting_now = threading.Thread(target=wait)
    waiting_now.start()
    wait_until(lambda: bool(kv_store.db.hget(f"{kv_store.prefix}res:{access.code}", "~listeners")))
    messages.answer(access, "q", "", "result", JsonText(b"2"))
    waiting_now.join()
    assert found[0].answer == b"2"


def test_first_wait_beside_another(kv_store: Store, ear: Dispatcher, client: Sockets) -> None:
    """Another call subscribes while this one looks without a channel: it looks once more, with the channel."""
    access = host_access()
    messages.post(access, "q", JsonText(b"1"))
    with long_poll.response(access, "q", client[0], 20) as wait:
        response = messages.read(access, "q", wait.channel)
        assert wait.channel == ""
        ear.subscribe(Way())
        wait.follow(response)
        assert wait.response.answer is None
        assert ear._channel in str(kv_store.db.hget(f"{kv_store.prefix}res:{access.code}", "~listeners"))
        messages.answer(access, "q", "", "result", JsonText(b"2"))
        assert wait.until_answered(response).answer == b"2"


def test_messages_that_come_late_or_twice(kv_store: Store, ear: Dispatcher, client: Sockets) -> None:
    """A client is told each request once, in order, and nothing that is over."""
    access = host_access()
    running = host_stream.run(access, "a/1", "*", messages.START, client[0])
    next(running)
    when = "2020-01-01T00:00:00.000Z"
    first, second = f"request 1-9 0-0 {when} q9 1 1", f"request 1-10 1-9 {when} q10 1 1"
    for told in (first, first, second, first, f"renewed {when} 1"):
        kv_store.db.publish(ear._channel, f"{access.code} {told}")
    sessions.end(access)
    told_of = [(event.id, event.name) for event in events_of(running)]
    assert told_of == [("1-9", "request"), ("1-10", "request"), ("1-10", "ended")]


@contextmanager
def unheard(store: Store, code: str) -> Iterator[None]:
    """Lose the messages that are sent meanwhile."""
    name = f"{store.prefix}res:{code}"
    wait_until(lambda: bool(store.db.hget(name, "~listeners")))
    listeners = store.db.hget(name, "~listeners") or ""
    store.db.hdel(name, "~listeners")
    yield
    store.db.hset(name, "~listeners", listeners)


@pytest.mark.parametrize("way", ["stream", "wait"])
def test_lost_request_is_found_by_the_next(kv_store: Store, ear: Dispatcher, client: Sockets, way: str) -> None:
    access = host_access()
    guest = Access(Way(), access.code, ADDRESS)
    found: list[str] = []

    def listen() -> None:
        if way == "stream":
            told = events_of(host_stream.run(access, "a/1", "*", messages.START, client[0]))
            found.extend(event.data["id"] for event in islice(told, 1, 3))
        else:
            backlog = long_poll.requests(access, "a/1", messages.START, client[0], 20)
            found.extend(request.id for request in backlog.requests)

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    with unheard(kv_store, access.code):
        messages.post(guest, "q1", JsonText(b"1"))
    messages.post(guest, "q2", JsonText(b"1"))
    listening.join(10)
    assert found == ["q1", "q2"]


def test_slow_reader_gets_no_more_time(
    kv_store: Store, ear: Dispatcher, client: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream with a long backlog for a client that takes each event slowly is over in its time."""
    monkeypatch.setattr("lib.settings.stream_seconds", lambda: 0.5)
    access = host_access()
    for number in range(50):
        messages.post(Access(Way(), access.code, ADDRESS), f"q{number}", JsonText(b"1"))
    events = []
    started = time.monotonic()
    for event in host_stream.run(access, "a/1", "*", messages.START, client[0]):
        events.append(event)
        time.sleep(0.1)
    assert time.monotonic() - started < 2
    assert 3 < len(events) < 15
    assert b"event: reconnect" in events[-1]


@pytest.mark.parametrize("fault", ["html", "quota", "unauthorized"])
def test_store_fails_under_a_stream(kv_store: Store, ear: Dispatcher, client: Sockets, fault: str) -> None:
    """A look that fails ends the stream without `ended`: its client connects again, and nothing is lost."""
    access = host_access()
    running = host_stream.run(access, "a/1", "*", messages.START, client[0])
    next(running)
    kv_store.faults.fail_after(1, fault)
    messages.post(Access(Way(), access.code, ADDRESS), "q", JsonText(b'"' + b"x" * 9000 + b'"'))
    assert list(running) == []
    kv_store.faults.heal()
    assert [request.id for request in messages.unanswered(access, messages.START).requests] == ["q"]


def test_check_fails_under_a_stream(
    kv_store: Store, ear: Dispatcher, client: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams stay open while the store is out of reach: what comes afterwards is pushed as before."""
    monkeypatch.setattr(dispatcher, "_ECHO_SECONDS", 0.1)
    access = host_access()
    running = host_stream.run(access, "a/1", "*", messages.START, client[0])
    next(running)
    pushed: list[bytes] = []
    reading = threading.Thread(target=lambda: pushed.append(next(running)))
    reading.start()
    kv_store.faults.fail("html")
    ear._check_at = 0.0
    wait_until(lambda: kv_store.faults.calls > 6)
    kv_store.faults.heal()
    messages.post(Access(Way(), access.code, ADDRESS), "q", JsonText(b"1"))
    reading.join(10)
    assert b'"id":"q"' in pushed[0]
    running.close()


def test_store_fails_under_a_wait(kv_store: Store, ear: Dispatcher, client: Sockets) -> None:
    """A request that was taken is told to be pending; a wait that has found nothing out fails with the store."""
    access = Access(Way(), host_access().code, ADDRESS)

    def post() -> messages.Response:
        with long_poll.response(access, "q", client[0], 1) as wait:
            return wait.until_answered(messages.post(access, "q", JsonText(b"1"), wait.channel))

    kv_store.faults.fail_after(1, "html")
    assert post().answer is None
    with pytest.raises(StoreUnavailable):
        post()
    kv_store.faults.heal()


@pytest.mark.parametrize("lack", ["selectors.DefaultSelector", "threading.Thread.start"])
def test_nothing_to_wait_with(
    kv_store: Store, ear: Dispatcher, client: Sockets, monkeypatch: pytest.MonkeyPatch, lack: str
) -> None:
    """A process without descriptors or threads is busy, and holds nothing afterwards."""
    access = Access(Way(), CODE, ADDRESS)

    def fail(*_: object) -> None:
        raise RuntimeError if lack.startswith("threading") else OSError

    with monkeypatch.context() as patch:
        patch.setattr(lack, fail)
        with pytest.raises(Busy):
            answered(access, client, 5)
        with pytest.raises(Busy):
            next(host_stream.run(access, "a/1", "*", messages.START, client[0]))
    assert (capacity._taken, ear._waiters) == (0, {})
    with wait_for(ear, client) as waiter:
        ear.subscribe(waiter.store)
        assert ear.channel


def test_unknown_code_subscribes_to_nothing(kv_store: Store, ear: Dispatcher, client: Sockets) -> None:
    access = Access(Way(), CODE, ADDRESS)
    kv_store.faults.heal()
    with pytest.raises(Exception, match="Check the code"):
        answered(access, client, 5)
    assert kv_store.faults.calls == 1
    assert not ear.channel


def test_expiry() -> None:
    """A little after the instant, at which the store would still show the session."""
    assert expiry(1500, 100.0) == pytest.approx(101.51)


def test_wait_until_the_session_expires(
    kv_store: Store, ear: Dispatcher, client: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is refused as soon as the session is gone, with a single look at the expiry."""
    monkeypatch.setenv("SESSION_TTL_SECONDS", "5")
    access = host_access()
    messages.post(access, "q", JsonText(b"1"))
    kv_store.faults.heal()
    with pytest.raises(SessionNotFound):
        answered(access, client, 55)
    assert kv_store.faults.calls == 4, "a look, the subscription, a look with its channel, and the last one"
