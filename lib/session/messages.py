"""Requests and responses. Each function runs one script, in one call to the store."""

import hashlib
from typing import Any, NamedTuple

from lib import settings
from lib.jsontext import JsonText, compose
from lib.problems import StoreUnavailable
from lib.session import budgets, sessions
from lib.session.access import Access
from lib.session.budgets import Spending
from lib.store import keys
from lib.store.script import Script, unreadable

PENDING = 100
# The requests of one network that may wait for an answer: a guest must not shut the others out.
PENDING_SHARE = PENDING // 2
# What one read of requests moves at most, unless a single request is larger.
PAGE_BYTES = 256 * 1024
START = "0-0"

_POST = Script("post_request")
_READ_RESPONSE = Script("read_response")
_READ_REQUESTS = Script("read_requests")
_TAKE_OVER = Script("take_over")
_ANSWER = Script("answer_request")
_WITHDRAW = Script("withdraw_request")
_CANCEL = Script("cancel_call")
_REPORT = Script("report_progress")


class HostConflict(Exception):
    """A host could not take the session over: `newest` has it, and not the host that it wants to replace."""

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
        """Return the members of a request in the API, without its cursor."""
        return {"id": self.id, "payload": self.payload, "createdAt": self.created_at}


class Response(NamedTuple):
    """The state of a request. `answer` is None until the host has answered it.

    Until then `ttl_ms` is the time that its session has to live, and `listening_ms` how long a host is known to listen,
    unless it leaves: 0 if no host does.
    """

    id: str
    answer: JsonText | None = None
    kind: str = ""
    answered_at: str = ""
    ttl_ms: int = 0
    listening_ms: int = 0

    def public(self) -> JsonText:
        """Return the response as the API has it."""
        if self.answer is None:
            return compose(id=self.id, status="pending")
        return compose(id=self.id, status="answered", **{self.kind: self.answer}, answeredAt=self.answered_at)


class Backlog(NamedTuple):
    """A page of a session's unanswered requests, in their order. `more` says whether others follow."""

    session: sessions.Session
    requests: list[Request]
    more: bool
    ttl_ms: int


def post(access: Access, request_id: str, payload: JsonText, channel: str = "", call: str = "") -> Response:
    """Post a guest's request. Posting the same id and payload again returns the response of the first request.

    The response is published to the channel. `call` is a name by which `cancel` withdraws the request. Raises
    IdConflict, RateLimited, TooManyPending, SessionFull, SessionNotFound, SessionEnded, HostTokenWrong.
    """
    reply = access.run(
        _POST,
        request_id,
        payload,
        hashlib.sha256(payload).hexdigest(),
        channel,
        access.network,
        settings.requests_a_minute(),
        PENDING,
        PENDING_SHARE,
        settings.session_bytes(),
        settings.bytes_sent(),
        settings.bytes_read(),
        settings.message_ttl(),
        call,
        spends=[
            Spending(keys.rate("requests", f"{access.code}:{access.network}")),
            budgets.sent(access.network, len(payload)),
            budgets.read(access.network)._replace(amount=0),  # only if the request is answered already
        ],
        may_repeat=True,
    )
    return _response(request_id, reply)


def read(access: Access, request_id: str, channel: str = "") -> Response:
    """Read what became of a request. Its response is published to the channel.

    Raises RequestNotFound, RateLimited, SessionNotFound, SessionEnded, HostTokenWrong.
    """
    limits = (settings.bytes_read(), settings.message_ttl())
    reply = access.run(_READ_RESPONSE, request_id, channel, *limits, spends=[budgets.read(access.network)])
    return _response(request_id, reply)


def unanswered(access: Access, cursor: str, host: str = "", channel: str = "") -> Backlog:
    """Read a page of the requests after a cursor that are not answered yet.

    A host that has taken the session over names itself, and what follows is published to its channel. Raises Replaced
    if it is no longer the session's host, SessionNotFound, SessionEnded, HostTokenWrong, RateLimited.
    """
    return _backlog(_read_page(access, _READ_REQUESTS, cursor, host, channel))


def take_over(access: Access, cursor: str, host: str, channel: str, predecessor: str = "*") -> Backlog:
    """Make a host, `NAME/ATTEMPT`, the session's, and read as `unanswered` does.

    It may replace only its `predecessor` (`""` for none), or any host if that is `*`. Raises HostConflict if the
    session has another host, Replaced if this host has made a newer attempt or another host came after it, and what
    `unanswered` does.
    """
    return _backlog(_read_page(access, _TAKE_OVER, cursor, host, channel, predecessor))


def answer(access: Access, request_id: str, cursor: str, kind: str, text: JsonText) -> bool:
    """Take the host's answer, a `result` or an `error`. Returns False if the same answer was there already.

    With a cursor it is for the request at that cursor only. Raises AlreadyAnswered, RequestNotFound, SessionFull,
    SessionNotFound, SessionEnded, HostTokenWrong, RateLimited.
    """
    reply = access.run(
        _ANSWER,
        request_id,
        cursor,
        kind,
        text,
        settings.session_bytes(),
        settings.bytes_sent(),
        settings.message_ttl(),
        spends=[budgets.sent(access.network, len(text))],
        may_repeat=True,
    )
    if reply not in (["answered"], ["repeated"]):
        raise unreadable(reply)
    return reply == ["answered"]


def withdraw(access: Access, request_id: str) -> None:
    """Withdraw a request that is not answered: its id is then as if it had never been. Nothing changes a second time.

    Raises AlreadyAnswered, SessionNotFound, SessionEnded, HostTokenWrong, RateLimited.
    """
    reply = access.run(_WITHDRAW, request_id)
    if reply != ["withdrawn"]:
        raise unreadable(reply)


def cancel(access: Access, call: str) -> None:
    """Withdraw the request that was posted under the name of a call, if it still waits for an answer.

    Raises SessionNotFound, SessionEnded, HostTokenWrong, RateLimited.
    """
    reply = access.run(_CANCEL, call)
    if reply != ["withdrawn"]:
        raise unreadable(reply)


def report(access: Access, request_id: str, progress: JsonText) -> None:
    """Pass the host's report of progress on to those who wait for the request; nothing of it is kept.

    Raises RequestNotFound if the request does not wait for an answer, SessionNotFound, SessionEnded, HostTokenWrong,
    RateLimited.
    """
    spends = [budgets.sent(access.network, len(progress))]
    reply = access.run(_REPORT, request_id, progress, settings.bytes_sent(), spends=spends)
    if reply != ["reported"]:
        raise unreadable(reply)


def _read_page(access: Access, script: Script, *arguments: str) -> list[Any]:
    limits = (PAGE_BYTES, settings.bytes_read(), settings.message_ttl())
    return access.run(script, *arguments, *limits, spends=[budgets.read(access.network)])


def _response(request_id: str, reply: list[Any]) -> Response:
    match reply:
        case ["pending", int(milliseconds), int(listening)]:
            return Response(request_id, ttl_ms=milliseconds, listening_ms=listening)
        case ["answered", str(at), str(kind), str(text)]:
            return Response(request_id, JsonText(text.encode()), kind, at)
    raise unreadable(reply)


def _backlog(reply: list[Any]) -> Backlog:
    match reply:
        case ["found", str(), int(milliseconds), list(entries), int(more)]:
            session = sessions.from_reply(reply[:3])
            return Backlog(session, [_request(entry) for entry in entries], bool(more), milliseconds)
        case ["conflict", str(newest)]:
            raise HostConflict(newest)
    raise unreadable(reply)


def _request(entry: object) -> Request:
    match entry:
        case [str(request_id), str(payload), str(created), str(cursor)]:
            return Request(request_id, JsonText(payload.encode()), created, cursor)
    raise StoreUnavailable("an entry of a script's reply is not a request")
