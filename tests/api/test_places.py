"""Places for calls that wait: whoever gets none is told at once, and it costs the store nothing."""

import threading

import httpx
import pytest

from tests.support.deployments import Pair, Parley, refusal, running_parley
from tests.support.tools import wait_until


def test_busy(parley: Parley) -> None:
    with running_parley(parley.store, MAX_WAITS="1") as small:
        pair = Pair(small)
        pair.post(request_id="q")
        waiting = threading.Thread(target=lambda: pair.read("q", "?wait=20"))
        waiting.start()
        wait_until(lambda: held(small, pair) == "guest")
        small.store.faults.heal()
        answer = small.http.get(f"{pair.url}/responses/q?wait=5")
        assert refusal(answer) == (503, "busy")
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["server-timing"].endswith('"0 calls"')
        assert small.log(answer)["level"] == "error"
        assert small.store.faults.calls == 0
        assert pair.read("q").status_code == 202, "plain calls get through"
        pair.answer("q")
        waiting.join()
        assert pair.read("q", "?wait=5").status_code == 200, "and the place is free again"


def test_guests_of_one_address(parley: Parley) -> None:
    """They get a quarter; the host has places left, whatever it waits for."""
    with running_parley(parley.store, MAX_WAITS="4") as small:
        pair = Pair(small)
        pair.post(request_id="q")
        waiting = threading.Thread(target=lambda: pair.read("q", "?wait=20"))
        waiting.start()
        wait_until(lambda: held(small, pair) == "guest")
        assert refusal(pair.read("q", "?wait=5")) == (503, "busy")
        assert small.http.get(f"{pair.url}/responses/q?wait=1", headers=pair.host).status_code == 202
        pair.answer("q")
        waiting.join()


def held(parley: Parley, pair: Pair) -> str:
    """Return who listens, as the store has it."""
    listeners = parley.store.db.hget(f"{parley.store.prefix}res:{pair.code}", "~listeners") or ""
    return " ".join(line.split(" ")[1] for line in listeners.splitlines())


def test_streams_take_places(parley: Parley) -> None:
    with running_parley(parley.store, MAX_WAITS="1") as small:
        pair, other = Pair(small), Pair(small)
        url = f"{small.url}{pair.url}/stream"
        with httpx.stream("GET", url, headers=pair.host, timeout=20) as answer:
            assert answer.status_code == 200
            assert refusal(small.http.get(f"{other.url}/stream", headers=other.host)) == (503, "busy")
            assert small.http.head(f"{other.url}/stream", headers=other.host).status_code == 200
            assert other.unanswered("?wait=1").status_code == 200, "another function is another instance"


@pytest.mark.parametrize("wait", ["?wait=5", ""])
def test_unknown_code_is_no_work(parley: Parley, wait: str) -> None:
    """A wait for a code that no session has costs what a plain read costs."""
    with running_parley(parley.store) as fresh:
        fresh.store.faults.heal()
        assert refusal(fresh.http.get(f"/api/sessions/00000000/responses/q{wait}")) == (404, "session_not_found")
        assert refusal(fresh.http.post(f"/api/sessions/00000000/requests{wait}", json={"payload": 1})) == (
            404,
            "session_not_found",
        )
        assert fresh.store.faults.calls == 2
