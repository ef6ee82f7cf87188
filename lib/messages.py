"""Requests and responses. Each function is one script, run in one call to the store."""

import hashlib
from typing import Any, NamedTuple

from lib import keys, sessions, settings
from lib.jsontext import JsonText, compose
from lib.kv import Store
from lib.script import Script, unreadable

SESSION_BYTES = 4 * 1024 * 1024
PENDING = 100
START = "0-0"

_POST = Script("post_request")
_READ_RESPONSE = Script("read_response")
_READ_REQUESTS = Script("read_requests")
_OPEN_STREAM = Script("open_stream")
_ANSWER = Script("answer_request")


class Replaced(Exception):
    """A newer stream of the session has taken over."""


class StreamConflict(Exception):
    """A stream could not open: `newest`, and not the stream that it wants to replace, is the session's."""

    def __init__(self, newest: str) -> None:
        super().__init__(newest)
        self.newest = newest


class Request(NamedTuple):
    """A request that waits for its answer. `cursor` is its place in the session's order."""

    id: str
    payload: JsonText
    created_at: str
    cursor: str

    def public(self) -> dict[str, object]:
        """Return what the API tells the host of it; the cursor is told beside it."""
        return {"id": self.id, "payload": self.payload, "createdAt": self.created_at}


class Response(NamedTuple):
    """What became of a request. `answer` is None until it is answered; `ttl_ms` is what its session has left then."""

    id: str
    answer: JsonText | None = None
    kind: str = ""
    answered_at: str = ""
    ttl_ms: int = 0

    def public(self) -> JsonText:
        """Return what the API tells of it."""
        if self.answer is None:
            return compose(id=self.id, status="pending")
        return compose(id=self.id, status="answered", **{self.kind: self.answer}, answeredAt=self.answered_at)


class Backlog(NamedTuple):
    """The requests of a session that are not answered yet, in their order."""

    session: sessions.Session
    requests: list[Request]
    ttl_ms: int


def post(store: Store, code: str, address: str, request_id: str, payload: JsonText) -> Response:
    """Take a guest's request. A second one with the same id and payload is the same request: its response is returned.

    Raises IdConflict, RateLimited, TooManyPending, SessionFull, SessionNotFound, SessionEnded.
    """
    counters = [keys.rate("requests", f"{code}:{address}"), keys.rate("misses", address)]
    arguments: list[str | int] = [
        request_id,
        payload,
        hashlib.sha256(payload.encode()).hexdigest(),
        keys.bell(code),
        settings.requests_a_minute(),
        settings.misses_a_minute(),
        PENDING,
        SESSION_BYTES,
    ]
    return _response(request_id, _POST.run(store, keys.of_session(code) + counters, arguments))


def read(store: Store, code: str, guest: str | None, request_id: str) -> Response:
    """Read what became of a request. `guest` is the caller's address, None if the caller has proved to know the code.

    Raises RequestNotFound, RateLimited, SessionNotFound, SessionEnded.
    """
    limit = 0 if guest is None else settings.misses_a_minute()
    keys_ = [keys.session(code), keys.responses(code), keys.rate("misses", guest or "host")]
    return _response(request_id, _READ_RESPONSE.run(store, keys_, [request_id, limit]))


def unanswered(store: Store, code: str, cursor: str, stream: str = "") -> Backlog:
    """Read the requests after a cursor that are not answered yet; a stream that asks gives its name.

    Raises SessionNotFound, SessionEnded, and Replaced for a stream that is not the session's any more.
    """
    return _backlog(_READ_REQUESTS.run(store, keys.of_session(code), [cursor, stream]))


def open_stream(store: Store, code: str, cursor: str, stream: str, predecessor: str) -> Backlog:
    """Make a stream the session's, in place of `predecessor` (`""` for none), and read as `unanswered` does.

    Raises SessionNotFound, SessionEnded, StreamConflict if the session has another stream than the predecessor, and
    Replaced if this stream opened before and has been replaced since.
    """
    arguments = [cursor, stream, predecessor, keys.bell(code)]
    return _backlog(_OPEN_STREAM.run(store, keys.of_session(code), arguments))


def answer(store: Store, code: str, request_id: str, kind: str, text: JsonText) -> bool:
    """Take the host's answer, a `result` or an `error`. Returns False if the same answer was there already.

    Raises AlreadyAnswered, RequestNotFound, SessionFull, SessionNotFound, SessionEnded.
    """
    reply = _ANSWER.run(store, keys.of_session(code), [request_id, kind, text, keys.bell(code), SESSION_BYTES])
    if reply not in (["answered"], ["repeated"]):
        raise unreadable(reply)
    return reply == ["answered"]


def _response(request_id: str, reply: list[Any]) -> Response:
    match reply:
        case ["pending", int(milliseconds)]:
            return Response(request_id, ttl_ms=milliseconds)
        case ["answered", str(at), str(kind), str(text)]:
            return Response(request_id, JsonText(text), kind, at)
    raise unreadable(reply)


def _backlog(reply: list[Any]) -> Backlog:
    match reply:
        case ["found", str(), int(milliseconds), list(entries)]:
            return Backlog(sessions.from_reply(reply), [_request(entry) for entry in entries], milliseconds)
        case ["conflict", str(newest)]:
            raise StreamConflict(newest)
        case ["replaced"]:
            raise Replaced
    raise unreadable(reply)


def _request(entry: list[Any]) -> Request:
    match entry:
        case [str(request_id), str(payload), str(created), str(cursor)]:
            return Request(request_id, JsonText(payload), created, cursor)
    raise unreadable(entry)
