"""Requests and responses. Each function is one script, run in one call to the store."""

import hashlib
from datetime import UTC, datetime
from typing import Any, NamedTuple

from lib import keys, kv, sessions, settings
from lib.jsontext import JsonText, compose
from lib.kv import Store
from lib.problems import (
    AlreadyAnswered,
    IdConflict,
    Problem,
    RateLimited,
    RequestNotFound,
    SessionEnded,
    SessionFull,
    SessionNotFound,
    StoreUnavailable,
    TooManyPending,
)

SESSION_BYTES = 4 * 1024 * 1024
PENDING = 100
START = "0-0"

_POST = kv.script("post_request")
_READ_RESPONSE = kv.script("read_response")
_READ_REQUESTS = kv.script("read_requests")
_ANSWER = kv.script("answer_request")


class Replaced(Exception):
    """A newer stream of the session has taken over."""


class Overtaken(Exception):
    """A stream could not open: it did not know the `stream` that has the session."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.stream = stream


class Request(NamedTuple):
    """A request that waits for its answer. `cursor` is its place in the session's order."""

    id: str
    payload: JsonText
    created_at: str
    cursor: str


class Response(NamedTuple):
    """What became of a request. Until it is answered there is no `answer`; `ttl_ms` is what its session has left."""

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
    """Take a guest's request. One with the same id and payload is the same one: its response is returned.

    Raises IdConflict, RateLimited, TooManyPending, SessionFull, SessionNotFound, SessionEnded.
    """
    reply = store.run(
        _POST,
        [
            keys.session(code),
            keys.requests(code),
            keys.responses(code),
            keys.rate("requests", f"{code}:{address}"),
            keys.rate("misses", address),
        ],
        [
            request_id,
            payload,
            hashlib.sha256(payload.encode()).hexdigest(),
            keys.bell(code),
            settings.requests_a_minute(),
            settings.misses_a_minute(),
            PENDING,
            SESSION_BYTES,
        ],
    )
    return _response(request_id, reply)


def read(store: Store, code: str, guest: str | None, request_id: str) -> Response:
    """Read what became of a request. `guest` is the caller's address; None for one who has proved to know the code.

    Raises RequestNotFound, RateLimited, SessionNotFound, SessionEnded.
    """
    limit = 0 if guest is None else settings.misses_a_minute()
    keys_ = [keys.session(code), keys.responses(code), keys.rate("misses", guest or "host")]
    reply = store.run(_READ_RESPONSE, keys_, [request_id, limit])
    return _response(request_id, reply)


def unanswered(store: Store, code: str, cursor: str, stream: str = "", predecessor: str | None = None) -> Backlog:
    """Read the requests after a cursor that are not answered yet.

    A `stream` says which one it is; with its first look it takes the session over from its `predecessor`, `""` for
    none. Raises SessionNotFound, SessionEnded, Replaced for a stream that is not the session's any more, and Overtaken
    for one that names another predecessor than there is.
    """
    reply = store.run(
        _READ_REQUESTS,
        [keys.session(code), keys.requests(code), keys.responses(code)],
        [f"({cursor}", stream, "" if predecessor is None else "open", keys.bell(code), predecessor or ""],
    )
    match reply:
        case ["found", record, int(milliseconds), list(entries)]:
            session = sessions.from_reply(["found", record, milliseconds])
            return Backlog(session, [_request(entry) for entry in entries], milliseconds)
        case ["overtaken", str(newest)]:
            raise Overtaken(newest)
        case ["replaced"]:
            raise Replaced
    raise _refusal(reply)


def answer(store: Store, code: str, request_id: str, kind: str, text: JsonText) -> bool:
    """Take the host's answer, a `result` or an `error`. Returns False where the same answer was there already.

    Raises AlreadyAnswered, RequestNotFound, SessionFull, SessionNotFound, SessionEnded.
    """
    reply = store.run(
        _ANSWER,
        [keys.session(code), keys.requests(code), keys.responses(code)],
        [request_id, kind, text, keys.bell(code), SESSION_BYTES],
    )
    if reply[0] in ("answered", "again"):
        return bool(reply[0] == "answered")
    raise _refusal(reply)


def _response(request_id: str, reply: list[Any]) -> Response:
    match reply:
        case ["pending", int(milliseconds)]:
            return Response(request_id, ttl_ms=milliseconds)
        case ["answered", str(at), str(kind), str(text)]:
            return Response(request_id, JsonText(text), kind, _iso(at))
    raise _refusal(reply)


def _request(entry: Any) -> Request:
    match entry:
        case [str(cursor), ["id", str(request_id), "payload", str(payload)]]:
            # A stream's ids begin with the time at which the store took the entry.
            return Request(request_id, JsonText(payload), _iso(cursor.partition("-")[0]), cursor)
    raise StoreUnavailable("a request in the store is not readable")


def _refusal(reply: list[Any]) -> Problem:
    match reply:
        case ["limited", int(seconds)]:
            return RateLimited(seconds)
        case ["missing"]:
            return SessionNotFound()
        case ["ended"]:
            return SessionEnded()
        case ["unknown"]:
            return RequestNotFound()
        case ["conflict"]:
            return IdConflict()
        case ["taken"]:
            return AlreadyAnswered()
        case ["crowded"]:
            return TooManyPending(PENDING)
        case ["full"]:
            return SessionFull(SESSION_BYTES)
    return StoreUnavailable("a message in the store is not readable")


def _iso(milliseconds: str) -> str:
    try:
        moment = datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise StoreUnavailable("a time in the store is not readable") from None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
