"""One host at a time: the one that came last gets the requests, and the other one is told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from dev.events import Event, events_of
from tests.support.deployments import Pair, Parley, refusal
from tests.support.tools import wait_until


@pytest.fixture
def pair(parley: Parley) -> Pair:
    return Pair(parley)


@contextmanager
def stream(pair: Pair, query: str = "") -> Iterator[Iterator[Event]]:
    """Give the events of a stream, from its `open` on."""
    with pair.parley.http.stream("GET", f"{pair.url}/stream{query}", headers=pair.host) as answer:
        found = events_of(answer.iter_bytes())
        assert next(found).name == "open"
        yield found


class Poll:
    """A read that waits, in a thread of its own."""

    def __init__(self, pair: Pair, query: str) -> None:
        self._pair = pair
        self._query = f"?wait=50{query}"
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        wait_until(lambda: bool(pair.parley.http.get(pair.url).json()["listening"]))

    def _read(self) -> None:
        self._answer = self._pair.unanswered(self._query)

    def answer(self) -> httpx.Response:
        self._thread.join()
        return self._answer


REPLACED = (409, "replaced")


def test_stream_replaces_stream(pair: Pair) -> None:
    with stream(pair, "?host=a&attempt=1") as older, stream(pair, "?host=b&attempt=1") as newer:
        assert next(older).data == {"reason": "replaced"}
        pair.post(request_id="q")
        assert next(newer).data["id"] == "q"


def test_stream_replaces_poll(pair: Pair) -> None:
    poll = Poll(pair, "")
    with stream(pair) as newer:
        assert refusal(poll.answer()) == REPLACED
        pair.post(request_id="q")
        assert next(newer).data["id"] == "q"


def test_poll_replaces_stream(pair: Pair) -> None:
    with stream(pair) as older:
        poll = Poll(pair, "")
        assert next(older).data == {"reason": "replaced"}
        pair.post(request_id="q")
        assert [request["id"] for request in poll.answer().json()["requests"]] == ["q"]


def test_poll_replaces_poll(pair: Pair) -> None:
    older = Poll(pair, "&host=a&attempt=1")
    newer = Poll(pair, "&host=b&attempt=1")
    assert refusal(older.answer()) == REPLACED
    pair.post(request_id="q")
    assert newer.answer().json()["requests"][0]["id"] == "q"
    assert refusal(pair.unanswered("?host=a&attempt=2")) == REPLACED, "it goes on with the one that came last"


def test_read_that_names_its_host_takes_over(pair: Pair) -> None:
    with stream(pair, "?host=a") as older:
        pair.post(request_id="q")
        assert next(older).data["id"] == "q"
        assert pair.unanswered().status_code == 200, "a plain read takes nothing over"
        assert pair.unanswered("?host=b").json()["requests"][0]["id"] == "q"
        assert next(older).data == {"reason": "replaced"}


def test_older_attempt_never_wins(pair: Pair) -> None:
    """An opening that its client gave up on long ago arrives late, and ends at once, whatever opens it."""
    with stream(pair, "?host=a&attempt=2") as current:
        with pair.parley.http.stream("GET", f"{pair.url}/stream?host=a&attempt=1", headers=pair.host) as late:
            (event,) = events_of(late.iter_bytes())
            assert (event.name, event.data) == ("ended", {"reason": "replaced"})
        assert refusal(pair.unanswered("?host=a&attempt=1")) == REPLACED
        pair.post(request_id="q")
        assert next(current).data["id"] == "q"


def test_attempt_that_is_not_numbered(pair: Pair) -> None:
    """It counts as attempt 0."""
    assert pair.unanswered("?host=a").status_code == 200
    assert pair.unanswered("?host=a&attempt=0").status_code == 200
    assert pair.unanswered("?host=a&attempt=1").status_code == 200
    assert refusal(pair.unanswered("?host=a")) == REPLACED


def test_newer_attempt_replaces_its_own(pair: Pair) -> None:
    with stream(pair, "?host=a&attempt=1") as older, stream(pair, "?host=a&attempt=2"):
        assert next(older).data == {"reason": "replaced"}


def test_listening(pair: Pair) -> None:
    """A stream counts, a waiting read, a host that polls, and no guest that waits."""

    def listening() -> bool:
        return bool(pair.parley.http.get(pair.url).json()["listening"])

    assert pair.post(request_id="q", query="?wait=1").status_code == 202
    assert pair.unanswered("?after=9-9").status_code == 200
    assert listening() is False
    with stream(pair):
        assert listening() is True
        assert pair.parley.http.patch(pair.url, headers=pair.host).json()["listening"] is True
    wait_until(lambda: not listening())
    assert pair.unanswered("?host=polls&attempt=1").status_code == 200
    assert listening() is True


@pytest.mark.parametrize("query", ["?host=", "?host=a/b", "?host=%C3%A4", "?host=" + "a" * 65, "?host=a&attempt=x"])
def test_names_that_are_none(pair: Pair, query: str) -> None:
    for path in ("/stream", "/requests"):
        answer = pair.parley.http.get(f"{pair.url}{path}{query}", headers=pair.host)
        assert refusal(answer) == (400, "invalid_request")
