"""lib/kv.py: every way in which the store can fail, told apart, and gone as soon as the store is back."""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from dev.local.server import Server
from lib import kv
from lib.problems import Problem, StoreNotConfigured, StoreQuotaExceeded, StoreUnauthorized, StoreUnavailable
from lib.session import codes, sessions
from lib.store import health
from lib.transport import Transport
from tests.support.deployments import Parley, refusal, running_parley
from tests.support.faults import BODIES
from tests.support.stores import Store
from tests.support.tools import wait_until

ANSWERS = [
    ("quota", StoreQuotaExceeded),
    ("full", StoreQuotaExceeded),
    ("daily quota", StoreQuotaExceeded),
    ("unauthorized", StoreUnauthorized),
    ("wrong password", StoreUnauthorized),
    ("read-only token", StoreUnauthorized),
    ("busy", StoreUnavailable),
    ("quoting", StoreUnavailable),
    *((body, StoreUnavailable) for body in BODIES),
]


@pytest.mark.parametrize(("fault", "problem"), ANSWERS)
def test_fault(kv_store: Store, fault: str, problem: type[Problem]) -> None:
    kv_store.faults.fail(fault)
    with pytest.raises(problem) as raised:
        sessions.create(kv.Store(), "192.0.2.1", "192.0.2.1")
    told = f"{raised.value.detail} {raised.value.headers} {getattr(raised.value, 'cause', '')}"
    assert kv_store.token not in told
    assert kv_store.url not in told
    assert "secret" not in told
    kv_store.faults.heal()
    sessions.create(kv.Store(), "192.0.2.1", "192.0.2.1")


@pytest.mark.parametrize("fault", ["html", "empty", "lost"])
def test_one_failure_is_made_good(kv_store: Store, fault: str) -> None:
    way = kv.Store()
    kv_store.faults.fail(fault, times=1)
    session = sessions.create(way, "192.0.2.1", "192.0.2.1")
    assert way.calls == 2
    # Where the first try had been carried out, it is the same session that the second one found.
    assert kv_store.names("session:*") == [f"session:{session.code}"]
    assert kv_store.db.get(f"{kv_store.prefix}rate:sessions:192.0.2.1") == "1"


@pytest.mark.parametrize("fault", ["quota", "unauthorized"])
def test_a_refusal_is_not_tried_again(kv_store: Store, fault: str) -> None:
    way = kv.Store()
    kv_store.faults.fail(fault)
    with pytest.raises(Problem):
        sessions.create(way, "192.0.2.1", "192.0.2.1")
    assert way.calls == 1


def test_taken_code_is_drawn_again(kv_store: Store) -> None:
    drawn = iter(["AAAA0000", "AAAA0000", "AAAA0000", "BBBB0000"])
    way = kv.Store()
    first = sessions.create(way, "192.0.2.1", "192.0.2.1", lambda: next(drawn))
    second = sessions.create(way, "192.0.2.1", "192.0.2.1", lambda: next(drawn))
    assert [first.code, second.code] == ["AAAA0000", "BBBB0000"]
    assert way.calls == 4
    assert kv_store.names("session:*") == ["session:AAAA0000", "session:BBBB0000"]
    # A code that was taken does not count against the caller.
    assert kv_store.db.get(f"{kv_store.prefix}rate:sessions:192.0.2.1") == "2"


def test_draws_end(kv_store: Store) -> None:
    sessions.create(kv.Store(), "192.0.2.1", "192.0.2.1", lambda: "AAAA0000")
    with pytest.raises(StoreUnavailable):
        sessions.create(kv.Store(), "192.0.2.1", "192.0.2.1", lambda: "AAAA0000")


def test_threads_share_one_client(kv_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty threads at once, a tenth of the answers lost after the command: no session is lost, none is shared."""
    monkeypatch.setattr(kv, "_ATTEMPTS", 6)  # since one call may meet all the losses
    failures = [True, *[False] * 9] * 20
    made: list[sessions.Session] = []
    clients = set()

    def work(number: int) -> None:
        way = kv.Store()
        if failures[number]:
            kv_store.faults.fail("lost", times=1)
        made.append(sessions.create(way, f"192.0.2.{number}", f"192.0.2.{number}"))
        clients.add(id(kv._connection().client))

    threads = [threading.Thread(target=work, args=[number]) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(clients) == 1
    assert len({session.code for session in made}) == len(made) == 50
    assert len(kv_store.names("session:*")) == 50
    assert all(codes.parse(session.code) for session in made)


def test_a_script_is_sent_once(kv_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """After that its digest is enough; a store that has forgotten it gets it again."""
    client, scripts = kv._connection()
    sent: list[object] = []
    execute = client.execute

    def spy(command: list[object]) -> object:
        sent.append(command[0])
        return execute(command)

    monkeypatch.setattr(client, "execute", spy)
    for known in ("", "forgotten"):
        script = f"return '{secrets.token_hex(8)}'"
        digest = hashlib.sha1(script.encode()).hexdigest()
        if known:
            scripts.add(digest)
        assert len({str(kv.Store().evaluate(script, digest, [], [])) for _ in range(3)}) == 1
    assert sent == ["EVAL", "EVALSHA", "EVALSHA", "EVALSHA", "EVAL", "EVALSHA", "EVALSHA"]


def test_ten_calls_at_a_time(kv_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait, so that the calls that wait have their descriptors, and not for ever."""
    inside: list[object] = []
    go = threading.Event()

    def execute(command: object) -> None:
        inside.append(command)
        go.wait(20)

    monkeypatch.setattr(kv._connection().client, "execute", execute)
    monkeypatch.setattr(kv, "_SLOT_SECONDS", 0.1)
    networks = [f"192.0.2.{number % 4}" for number in range(40)]
    threads = [threading.Thread(target=suppressed, args=[kv.Store(network).ping]) for network in networks]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(inside) == 10)
    with pytest.raises(StoreUnavailable) as raised:
        kv.Store("192.0.2.9").ping()
    assert raised.value.cause == "all connections are in use"
    go.set()
    for thread in threads:
        thread.join()
    kv.Store().ping()


def suppressed(call: Callable[[], None]) -> None:
    with suppress(StoreUnavailable):
        call()


def test_share_of_one_network(kv_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many calls one network makes, its neighbour's call does not wait for them."""
    held: list[object] = []
    go = threading.Event()
    execute = kv._connection().client.execute

    def hold(command: list[Any]) -> object:
        if command[0] == "PING":
            return execute(command)
        held.append(command)
        go.wait(60)
        return None

    monkeypatch.setattr(kv._connection().client, "execute", hold)
    calls = [partial(kv.Store("192.0.2.1").evaluate, "return 1", "digest", [], []) for _ in range(30)]
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(held) == 4)
    kv.Store("192.0.2.2").ping()
    assert len(held) == 4
    go.set()
    for thread in threads:
        thread.join()
    assert len(held) == 30
    assert not kv._slots._of_network


def test_the_vendors_client_sends_with_ours(kv_store: Store) -> None:
    """It sits where this version of the SDK keeps its own, which has no limits."""
    sessions.create(kv.Store(), "192.0.2.1", "192.0.2.1")
    assert isinstance(kv._connection().client._http._client, Transport)
    assert kv._connection().client._http._retries == 0


def test_script_that_the_store_has_forgotten(kv_store: Store) -> None:
    """After SCRIPT FLUSH, or a failover, it is sent again, however the error is worded."""
    sessions.create(kv.Store(), "192.0.2.1", "192.0.2.1")
    kv_store.db.execute(["SCRIPT", "FLUSH"])
    sessions.create(kv.Store(), "192.0.2.1", "192.0.2.1")
    kv_store.faults.fail("forgotten script", times=1)
    sessions.create(kv.Store(), "192.0.2.1", "192.0.2.1")
    kv_store.faults.fail("forgotten script")
    with pytest.raises(StoreUnavailable):
        sessions.create(kv.Store(), "192.0.2.1", "192.0.2.1")


def test_new_credentials_are_taken_up(kv_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    kv.Store().ping()
    monkeypatch.setenv("KV_REST_API_TOKEN", "another")
    with pytest.raises(StoreUnauthorized):
        kv.Store().ping()
    monkeypatch.setenv("KV_REST_API_TOKEN", kv_store.token)
    kv.Store().ping()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://[", "http://a b", "https://", "http://127.0.0.1:99999", "http://host.invalid"]
)
def test_address_of_nothing(kv_store: Store, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("KV_REST_API_URL", url)
    with pytest.raises(StoreUnavailable):
        kv.Store().ping()


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, "KV_REST_API_URL"),
        ({"KV_REST_API_URL": "https://x"}, "KV_REST_API_TOKEN"),
        ({"KV_REST_API_TOKEN": "x"}, "KV_REST_API_URL"),
        ({"UPSTASH_REDIS_REST_URL": "https://x"}, "UPSTASH_REDIS_REST_TOKEN"),
        ({"UPSTASH_REDIS_REST_URL": "redis://x", "UPSTASH_REDIS_REST_TOKEN": "x"}, "UPSTASH_REDIS_REST_URL"),
        ({"KV_REST_API_URL": "https://x", "KV_REST_API_TOKEN": "a\nb"}, "KV_REST_API_TOKEN"),
        ({"KV_REST_API_URL": "https://x\u200b", "KV_REST_API_TOKEN": "x"}, "KV_REST_API_URL"),
        ({"KV_REST_API_URL": "https://x\ufeff", "KV_REST_API_TOKEN": "x"}, "KV_REST_API_URL"),
    ],
)
def test_not_configured(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str) -> None:
    for name in ("KV_REST_API_URL", "KV_REST_API_TOKEN", "UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreNotConfigured) as raised:
        kv.Store().ping()
    assert named in raised.value.detail


@pytest.fixture
def probed(kv_store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Give a store whose health is not remembered."""
    monkeypatch.setattr(health, "_REMEMBERED_SECONDS", -1.0)
    assert health.latency(kv.Store(), deep=True) > 0
    return kv_store


@pytest.mark.parametrize(("place", "value"), [(1, None), (2, -1), (2, 61), (3, "x"), (4, "soon"), (5, 1)])
def test_store_that_does_not_keep_what_it_is_given(
    probed: Store, monkeypatch: pytest.MonkeyPatch, place: int, value: object
) -> None:
    evaluate = kv.Store.evaluate

    def changed(*given: Any) -> object:
        reply: Any = evaluate(*given)
        reply[place] = value
        return reply

    monkeypatch.setattr(kv.Store, "evaluate", changed)
    with pytest.raises(StoreUnavailable) as raised:
        health.latency(kv.Store(), deep=True)
    assert raised.value.cause == "the store does not keep what it is given"


def test_store_that_brings_no_messages(probed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_HEARD_WITHIN_SECONDS", 0.1)
    probed.faults.deliver(list)
    with pytest.raises(StoreUnavailable) as raised:
        health.latency(kv.Store(), deep=True)
    assert raised.value.cause == "a message was not heard"


@pytest.mark.long
def test_deployment_outlives_its_store(parley: Parley) -> None:
    """A caller sees the problem, in time, and nothing of what is behind it; the next call works."""
    session = parley.create()
    url = f"/api/sessions/{session['code']}"
    for fault, code in (
        ("html", "store_unavailable"),
        ("quota", "store_quota_exceeded"),
        ("unauthorized", "store_unauthorized"),
        ("hang", "store_unavailable"),
    ):
        parley.store.faults.fail(fault)
        started = time.monotonic()
        answer = parley.http.get(url)
        assert time.monotonic() - started < 12
        assert refusal(answer) == (503, code)
        assert (answer.headers.get("retry-after") is not None) == (code == "store_unavailable")
        assert parley.log(answer)["problem"] == code
        shown = answer.text + str(answer.headers) + "".join(parley.lines)
        for secret in (parley.store.token, parley.store.url, session["token"], session["code"], "Traceback"):
            assert secret not in shown
        parley.store.faults.heal()
        assert parley.http.get(url).status_code == 200


def test_store_down_and_up_again(parley: Parley) -> None:
    with Server(parley.store.faults) as server:
        port = server.port
    gone = Store(
        f"http://127.0.0.1:{port}", parley.store.token, parley.store.prefix, parley.store.faults, parley.store.db
    )
    with running_parley(gone) as cut_off:
        assert refusal(cut_off.http.post("/api/sessions")) == (503, "store_unavailable")
        with Server(parley.store.faults, port):
            assert cut_off.http.post("/api/sessions").status_code == 201
