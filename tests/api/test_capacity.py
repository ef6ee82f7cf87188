"""Places for calls that wait: whoever gets none is told at once, and it costs the store nothing."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.support.deployments import Api, Pair, Parley, refusal, running_parley
from tests.support.tools import PATIENCE_SECONDS, wait_until

BUSY = (503, "busy")


@contextmanager
def guests_waiting(pair: Pair, number: int) -> Iterator[None]:
    """Let so many guests wait for the response to `q` while the block runs; then it is answered."""
    faults = pair.parley.store.faults
    waiting = [threading.Thread(target=pair.read, args=["q", "?wait=50"]) for _ in range(number)]
    # The first one reads, subscribes, and reads again.
    for thread, cost in zip(waiting, [3, *[1] * (number - 1)], strict=True):
        expected = faults.calls + cost
        thread.start()
        wait_until(lambda expected=expected: faults.calls == expected)  # type: ignore[misc]
    yield
    assert pair.answer("q").status_code == 201
    for thread in waiting:
        thread.join()


def test_busy(parley: Parley) -> None:
    with running_parley(parley.store, MAX_WAITS="1") as small:
        pair = Pair(small)
        pair.post(request_id="q")
        with guests_waiting(pair, 1):
            small.store.faults.heal()
            answer = small.http.get(f"{pair.url}/responses/q?wait=5")
            assert refusal(answer) == BUSY
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["server-timing"].endswith('"0 calls"')
            assert small.log(answer)["level"] == "error"
            assert small.store.faults.calls == 0
            assert pair.read("q").status_code == 202, "plain calls get through"
        assert pair.read("q", "?wait=5").status_code == 200, "and the place is free again"


def test_share_of_one_network(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets a quarter, as guest and as host, whatever token it shows; a neighbour has places left."""
    monkeypatch.setenv("MAX_WAITS", "12")
    pair = Pair(api)
    pair.post(request_id="q")
    with guests_waiting(pair, 3):
        assert refusal(pair.read("q", "?wait=5")) == BUSY
        assert refusal(api.http.get(f"{pair.url}/responses/q?wait=1", headers=pair.host)) == BUSY
        assert refusal(pair.unanswered("?wait=1")) == BUSY
        assert refusal(api.http.get(f"{pair.url}/stream", headers=pair.host)) == BUSY
        with api.caller("127.0.0.2") as neighbour:
            assert neighbour.get(f"{pair.url}/responses/q?wait=1").status_code == 202


def test_streams_take_places(parley: Parley) -> None:
    with running_parley(parley.store, MAX_WAITS="1") as small:
        pair, other = Pair(small), Pair(small)
        with httpx.stream(
            "GET", f"{small.url}{pair.url}/stream", headers=pair.host, timeout=PATIENCE_SECONDS
        ) as answer:
            assert answer.status_code == 200
            assert refusal(small.http.get(f"{other.url}/stream", headers=other.host)) == BUSY
            assert small.http.head(f"{other.url}/stream", headers=other.host).status_code == 200
            assert other.unanswered("?wait=1").status_code == 200, "another function is another instance"


@pytest.mark.parametrize("wait", ["?wait=5", ""])
def test_unknown_code_is_no_work(api: Api, wait: str) -> None:
    """A wait for a code that no session has costs what a plain read costs."""
    url = "/api/sessions/00000000"
    assert refusal(api.http.get(f"{url}/responses/q{wait}")) == (404, "session_not_found")
    assert refusal(api.http.post(f"{url}/requests{wait}", json={"payload": 1})) == (404, "session_not_found")
    assert api.store.faults.calls == 2
