"""public/relay.py: requests with the same id, which their cursors tell apart."""

import threading
from typing import Any

import pytest

from public.relay import cancelled, host
from tests.clients.scripted import Scripted
from tests.support.deployments import Parley
from tests.support.tools import wait_until


class Work:
    """An `on_request` that notes what it gets, and holds what the test wants."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.stopped: list[Any] = []
        self.released = threading.Event()

    def __call__(self, payload: Any) -> Any:
        over = cancelled()
        self.begun.append(payload)
        if payload == "hold":
            while not self.released.wait(0.01):
                if over.is_set() and payload not in self.stopped:
                    self.stopped.append(payload)
        return payload


@pytest.mark.parametrize("polls", [False, True])
def test_answer_names_the_request(polls: bool) -> None:
    with Scripted(polls=polls) as scripted, host(on_request=Work(), relay=scripted.url):
        scripted.post("q1", "1", "7-0")
        assert scripted.answer("q1") == {"id": "q1", "cursor": "7-0", "result": 1}


@pytest.mark.parametrize("polls", [False, True])
def test_known_id(polls: bool) -> None:
    """With a new cursor it is a new request; with a known one the relay has delivered a request again."""
    work = Work()
    with Scripted(polls=polls) as scripted, host(on_request=work, relay=scripted.url):
        for number, (payload, cursor) in enumerate((("1", "1-0"), ("2", "2-0"), ("5", "3-0"))):
            scripted.post("q1", payload, cursor)
            wait_until(lambda: len(scripted.answers) > number)  # noqa: B023 - it is called at once
        scripted.post("q1", "3", "2-0")
        scripted.post("q1", "4", "1-0")
        scripted.post("q2", "6", "4-0")
        scripted.answer("q2")
    assert work.begun == [1, 2, 5, 6]


@pytest.mark.parametrize("polls", [False, True])
def test_request_whose_predecessor_runs(polls: bool) -> None:
    """The predecessor is stopped, and its answer is not sent for the new one."""
    work = Work()
    with Scripted(polls=polls) as scripted, host(on_request=work, relay=scripted.url, workers=2):
        scripted.post("q1", '"hold"', "1-0")
        wait_until(lambda: work.begun == ["hold"])
        scripted.post("q1", '"new"', "2-0")
        assert scripted.answer("q1") == {"id": "q1", "cursor": "2-0", "result": "new"}
        wait_until(lambda: work.stopped == ["hold"])
        work.released.set()
        scripted.post("q2", '"last"', "3-0")
        scripted.answer("q2")
    assert [answer["result"] for answer in scripted.answers] == ["new", "last"]


def test_answer_to_a_request_that_was_withdrawn(site: Parley) -> None:
    """It does not reach the next request with its id, also if the host did not learn of the withdrawal in time."""
    work = Work()
    with host(on_request=work, relay=site.url) as session:
        url = f"/api/sessions/{session.code}/requests"
        site.http.post(url, json={"id": "q1", "payload": "hold"}).raise_for_status()
        wait_until(lambda: work.begun == ["hold"])
        site.http.delete(f"{url}/q1").raise_for_status()
        work.released.set()
        answer = site.http.post(f"{url}?wait=20", json={"id": "q1", "payload": "new"}).json()
        assert answer["result"] == "new"
