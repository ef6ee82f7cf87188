"""lib/kv.py: every way in which the store can fail, told apart, and gone as soon as the store is back."""

import threading
import time

import httpx
import pytest

from dev.local.server import Server
from lib import codes, kv, sessions
from lib.problems import Problem, StoreNotConfigured, StoreQuotaExceeded, StoreUnauthorized, StoreUnavailable
from tests.support.deployments import Parley, refusal, running_parley
from tests.support.faults import BODIES
from tests.support.stores import Store

ANSWERS = [
    ("quota", StoreQuotaExceeded),
    ("daily quota", StoreQuotaExceeded),
    ("unauthorized", StoreUnauthorized),
    ("wrong password", StoreUnauthorized),
    ("read-only token", StoreUnauthorized),
    ("busy", StoreUnavailable),
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


def test_threads_share_one_client(kv_store: Store) -> None:
    """Fifty threads at once, a tenth of the answers lost after the command: no session is lost, none is shared."""
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


def test_every_wait_is_bounded(kv_store: Store) -> None:
    """The SDK sets no limit; ours sits on its client, at the place where this version keeps it."""
    sessions.create(kv.Store(), "192.0.2.1", "192.0.2.1")
    assert kv._connection().client._http._client.timeout == httpx.Timeout(5, connect=3)
    assert kv._connection().client._http._retries == 0


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
