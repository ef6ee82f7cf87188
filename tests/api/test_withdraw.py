"""DELETE …/requests/{id}: a guest withdraws, and it is as if it had never asked."""

import threading

import httpx
import pytest

from tests.api.test_stream import listening
from tests.support.deployments import Pair, Parley, refusal
from tests.support.tools import wait_until


@pytest.fixture
def pair(parley: Parley) -> Pair:
    return Pair(parley)


def test_withdrawn(pair: Pair) -> None:
    pair.post("1", "q")
    pair.post("1", "r")
    for _ in range(2):
        answer = pair.withdraw("q")
        assert (answer.status_code, answer.content) == (204, b"")
    assert [request["id"] for request in pair.unanswered().json()["requests"]] == ["r"]
    assert refusal(pair.read("q")) == (404, "request_not_found")
    assert refusal(pair.answer("q")) == (404, "request_not_found")


def test_id_is_free_again(pair: Pair) -> None:
    pair.post("1", "q")
    pair.withdraw("q")
    assert pair.post("2", "q").status_code == 202
    (request,) = pair.unanswered().json()["requests"]
    assert (request["id"], request["payload"]) == ("q", 2)
    assert pair.answer("q", "3").status_code == 201
    assert pair.read("q").json()["result"] == 3


def test_answered(pair: Pair) -> None:
    pair.post("1", "q")
    pair.answer("q", "2")
    assert refusal(pair.withdraw("q")) == (409, "already_answered")
    assert pair.read("q").json()["result"] == 2


def test_host_is_told(pair: Pair) -> None:
    with listening(pair) as found:
        pair.post("1", "q")
        asked = next(found)
        pair.withdraw("q")
        withdrawn = next(found)
        assert (withdrawn.name, withdrawn.text, withdrawn.id) == ("withdrawn", '{"id":"q"}', asked.id)
        pair.withdraw("q")
        pair.withdraw("never")
        pair.post("2", "q")
        again = next(found)
        assert (again.name, again.data["payload"]) == ("request", 2)


def test_host_that_connects_later_never_hears_of_it(pair: Pair) -> None:
    pair.post("1", "q")
    pair.withdraw("q")
    pair.post("2", "r")
    with listening(pair) as found:
        assert next(found).data["id"] == "r"


def test_guest_that_waits_is_told(pair: Pair) -> None:
    answers: list[httpx.Response] = []
    waiting = [
        threading.Thread(target=lambda: answers.append(pair.post("1", "q", "?wait=50"))),
        threading.Thread(target=lambda: answers.append(pair.read("q", "?wait=50"))),
    ]
    pair.post("1", "q")
    for thread in waiting:
        thread.start()
    wait_until(lambda: pair.listeners() == ["guest", "guest"])  # one of each function
    pair.withdraw("q")
    for thread in waiting:
        thread.join()
    assert [refusal(answer) for answer in answers] == [(404, "request_not_found")] * 2


def test_room_is_given_back(pair: Pair) -> None:
    """A request that is withdrawn counts neither among the pending ones nor among the session's bytes."""
    for number in range(60):
        pair.post("1", f"q{number}")
        pair.withdraw(f"q{number}")
    store = pair.parley.store
    held = store.db.hget(f"{store.prefix}res:{pair.code}", "~bytes")
    assert held == "0"
    assert store.db.xlen(f"{store.prefix}req:{pair.code}") == 0


def test_what_cannot_be_withdrawn(pair: Pair) -> None:
    http = pair.parley.http
    assert refusal(http.delete("/api/sessions/0000000Z/requests/q")) == (404, "session_not_found")
    assert refusal(http.delete("/api/sessions/nothing/requests/q")) == (400, "invalid_code")
    assert refusal(http.delete(f"{pair.url}/requests/a%20b")) == (400, "invalid_request")
    for method in ("GET", "POST", "PATCH"):
        answer = http.request(method, f"{pair.url}/requests/q")
        assert refusal(answer) == (405, "method_not_allowed")
        assert answer.headers["allow"] == "DELETE, OPTIONS"
    assert refusal(http.delete(f"{pair.url}/requests")) == (405, "method_not_allowed")
    http.delete(pair.url, headers=pair.host)
    assert refusal(pair.withdraw("q")) == (410, "session_ended")


def test_own_path_and_ids_that_are_no_file_names(pair: Pair) -> None:
    for request_id in ("q", "..", "."):
        pair.post("1", request_id)
        assert pair.parley.http.delete(f"/api/requests?code={pair.code}&id={request_id}").status_code == 204
    assert pair.unanswered().json()["requests"] == []


def test_cost(pair: Pair) -> None:
    pair.post("1", "q")
    pair.withdraw("r")
    for _ in range(2):
        before = pair.parley.store.faults.calls
        answer = pair.withdraw("q")
        assert pair.parley.store.faults.calls - before == 1
        assert answer.headers["server-timing"].endswith('"1 calls"')
