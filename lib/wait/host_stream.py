"""The host's stream: requests as they come, as server-sent events."""

import socket
import time
from collections.abc import Generator, Iterator
from itertools import chain

from lib import settings
from lib.jsontext import compose
from lib.problems import Problem, Replaced, SessionEnded, SessionNotFound, StoreProblem
from lib.session import messages
from lib.session.access import Access
from lib.session.messages import Backlog, Request
from lib.wait import capacity, dispatcher, notifications
from lib.wait.notifications import Message
from lib.wait.waiter import Waiter, Wakeup, Watched
from lib.web import sse

_KEEP_ALIVE_SECONDS = 15
_AFTER_EXPIRY_SECONDS = 0.01
# The events. `ended` says one of these reasons.
EVENTS = ("open", "request", "withdrawn", "renewed", "reconnect", "ended")
_OPEN, _REQUEST, _WITHDRAWN, _RENEWED, _RECONNECT, _ENDED = EVENTS
REASONS: dict[type[Problem], str] = {SessionEnded: "ended", SessionNotFound: "expired", Replaced: "replaced"}


def run(access: Access, host: str, predecessor: str, cursor: str, client: socket.socket) -> Generator[bytes]:
    """Yield the events of a session from a cursor on, until it ends, another host takes over, or the time is up.

    `host` is `NAME/ATTEMPT`, `predecessor` as in `messages.take_over`. Before the first event it raises Busy,
    SessionNotFound, SessionEnded, HostTokenWrong, RateLimited or a StoreProblem. If the store fails later, the stream
    just ends, which tells its client to connect again. Raises ClientGone.
    """
    until = time.monotonic() + settings.stream_seconds()
    stream = _Stream(access, host, cursor, client)
    with capacity.take(), stream.waiter:
        try:
            for event in chain(stream.open(predecessor), stream.follow(until)):
                yield event
                if time.monotonic() >= until:  # a client that reads slowly gets no more time either
                    break
            yield sse.encode(_RECONNECT, "{}", stream.cursor)
        except (SessionNotFound, SessionEnded, Replaced) as problem:
            if not stream.opened and not isinstance(problem, Replaced):
                raise
            yield sse.encode(_ENDED, compose(reason=REASONS[type(problem)]), stream.cursor)
        except StoreProblem:
            if not stream.opened:
                raise


class _Stream:
    """What a stream's client has been told: requests up to the cursor, and when the session expires."""

    def __init__(self, access: Access, host: str, cursor: str, client: socket.socket) -> None:
        self.cursor = cursor
        self.waiter = Waiter(dispatcher.current(), access.store, access.code, client, self._wants)
        self._access = access
        self._host = host
        self._expires_at = ""
        self._expires = 0.0

    @property
    def opened(self) -> bool:
        """Tell whether the client has been told anything."""
        return bool(self._expires_at)

    def open(self, predecessor: str) -> Iterator[bytes]:
        """Make the host the session's, as long as its client is there.

        Openings may reach the store in another order than clients asked in. A client that names its host numbers its
        attempts. For one that does not, an opening that was held up must not end the stream that the client has opened
        since: it replaces only a host that it knows of.
        """
        self.waiter.subscribe()
        while True:
            try:
                backlog = messages.take_over(self._access, self.cursor, self._host, self.waiter.channel, predecessor)
                break
            except messages.HostConflict as conflict:
                self.waiter.require_client()
                predecessor = conflict.newest
        self._expires_at = backlog.session.expires_at
        yield sse.encode(_OPEN, compose(code=self._access.code, expiresAt=self._expires_at), self.cursor)
        yield from self._told(backlog)

    def follow(self, until: float) -> Iterator[bytes]:
        """Yield what happens. Raises the problem that says that the session is over, or the host another."""
        keep_alive = time.monotonic() + _KEEP_ALIVE_SECONDS
        while time.monotonic() < until:
            self.waiter.watched = Watched("host", self._host, self.cursor, self._expires_at)
            event = self.waiter.wait(min(until, keep_alive, self._expires))
            if time.monotonic() >= keep_alive:
                keep_alive = time.monotonic() + _KEEP_ALIVE_SECONDS
                yield sse.KEEP_ALIVE
            if isinstance(event, Message):
                yield from self._heard(event)
            elif event is Wakeup.LOOK or time.monotonic() >= self._expires:
                yield from self._looked()

    def _wants(self, message: Message) -> bool:
        return message.kind != notifications.RESPONSE and message.words != (self._host,)

    def _heard(self, message: Message) -> Iterator[bytes]:
        """Yield what a message says; if it does not follow on what the client knows, or says too little, look."""
        if message.kind == notifications.RENEWED:
            expires_at, milliseconds = message.words
            if expires_at > self._expires_at:
                yield from self._renewed(expires_at, int(milliseconds))
            return
        if message.kind == notifications.WITHDRAWN:
            yield sse.encode(_WITHDRAWN, compose(id=message.words[0]), self.cursor)
            return
        if message.kind == notifications.REQUEST:
            if _place(message.words[0]) <= _place(self.cursor):
                return
            request = messages.request_in(message)
            if request and message.words[1] == self.cursor:
                yield self._request(request)
                return
        yield from self._looked()

    def _looked(self) -> Iterator[bytes]:
        yield from self._told(messages.unanswered(self._access, self.cursor, self._host, self.waiter.channel))

    def _told(self, backlog: Backlog) -> Iterator[bytes]:
        yield from self._renewed(backlog.session.expires_at, backlog.ttl_ms)
        for request in backlog.requests:
            yield self._request(request)

    def _request(self, request: Request) -> bytes:
        self.cursor = request.cursor
        return sse.encode(_REQUEST, compose(**request.public()), self.cursor)

    def _renewed(self, expires_at: str, milliseconds: int) -> Iterator[bytes]:
        self._expires = time.monotonic() + milliseconds / 1000 + _AFTER_EXPIRY_SECONDS
        if expires_at != self._expires_at:
            self._expires_at = expires_at
            yield sse.encode(_RENEWED, compose(expiresAt=expires_at), self.cursor)


def _place(cursor: str) -> tuple[int, ...]:
    return tuple(int(part) for part in cursor.split("-"))
