"""The host's stream: a session's requests as they come, as server-sent events."""

import socket
import time
from collections.abc import Generator, Iterator
from itertools import chain

from lib import settings
from lib.jsontext import compose
from lib.problems import Problem, RateLimited, Replaced, SessionEnded, SessionNotFound, StoreProblem
from lib.session import messages
from lib.session.access import Access
from lib.session.messages import Backlog, Request
from lib.wait import capacity, dispatcher
from lib.wait.long_poll import leaving
from lib.wait.notifications import (
    CallCancelled,
    HostChanged,
    HostLeft,
    Notification,
    ProgressReported,
    RequestAnswered,
    RequestPosted,
    RequestWithdrawn,
    SessionRenewed,
    ToolsChanged,
    ToolsRead,
)
from lib.wait.waiter import Waiter, Wakeup, Watched, expiry
from lib.web import sse
from lib.web.connection import require_client

# The names of the events, and the `reason` of `ended` for each problem that ends a stream.
EVENTS = ("open", "request", "withdrawn", "guest", "renewed", "reconnect", "ended")
_OPEN, _REQUEST, _WITHDRAWN, _GUEST, _RENEWED, _RECONNECT, _ENDED = EVENTS
REASONS: dict[type[Problem], str] = {SessionEnded: "ended", SessionNotFound: "expired", Replaced: "replaced"}


def run(access: Access, host: str, predecessor: str, cursor: str, connection: socket.socket) -> Generator[bytes]:
    """Yield the events of a session from a cursor on, until it ends, another host takes over, or the time is up.

    `host` is `NAME/ATTEMPT`, `predecessor` as in `messages.take_over`. Before the first event it raises Busy,
    SessionNotFound, SessionEnded, HostTokenWrong, RateLimited or a StoreProblem. If the store fails or a budget is used
    up later, the stream just ends, and its client connects again. Raises ClientGone.
    """
    until = time.monotonic() + settings.stream_seconds()
    stream = _Stream(access, host, cursor, connection)
    with capacity.take(access.network), stream.dispatcher.waiting(stream.waiter), leaving(access, host):
        try:
            for event in chain(stream.open(predecessor), stream.follow(until)):
                yield event
                if time.monotonic() >= until:  # a client that reads slowly gets no more time either
                    break
            yield sse.encode(_RECONNECT, compose(), stream.cursor)
        except (SessionNotFound, SessionEnded, Replaced) as problem:
            if not stream.opened and not isinstance(problem, Replaced):
                raise
            yield sse.encode(_ENDED, compose(reason=REASONS[type(problem)]), stream.cursor)
        except (StoreProblem, RateLimited):
            if not stream.opened:
                raise


class _Stream:
    """What a stream's client knows: the requests up to the cursor, and when the session expires."""

    def __init__(self, access: Access, host: str, cursor: str, connection: socket.socket) -> None:
        self.cursor = cursor
        self.dispatcher = dispatcher.current()
        self.waiter = Waiter(access.store, access.code, connection, self._wants)
        self._access = access
        self._host = host
        self._expires_at = ""
        self._expires = 0.0

    @property
    def opened(self) -> bool:
        """Return whether the client has got its first event."""
        return bool(self._expires_at)

    def open(self, predecessor: str) -> Iterator[bytes]:
        """Make the host the session's, as long as its client is connected.

        Openings may reach the store in another order than clients asked in. A client that names its host numbers its
        attempts. For one that does not, an opening that was held up must not end the stream that the client has opened
        since: it replaces only a host that it knows of.
        """
        self.dispatcher.subscribe(self._access.store)
        while True:
            try:
                backlog = messages.take_over(
                    self._access, self.cursor, self._host, self.dispatcher.channel, predecessor
                )
                break
            except messages.HostConflict as conflict:
                require_client(self.waiter.connection)
                predecessor = conflict.newest
        self._expires_at = backlog.session.expires_at
        yield sse.encode(_OPEN, compose(code=self._access.code, expiresAt=self._expires_at), self.cursor)
        yield from self._backlog(backlog)

    def follow(self, until: float) -> Iterator[bytes]:
        """Yield what happens. Raises SessionEnded, SessionNotFound, or Replaced when the stream is over."""
        keep_alive = time.monotonic() + sse.KEEP_ALIVE_SECONDS
        while time.monotonic() < until:
            self.waiter.watched = Watched("host", self._host, self.cursor, self._expires_at)
            event = self.waiter.wait(min(until, keep_alive, self._expires))
            if time.monotonic() >= keep_alive:
                keep_alive = time.monotonic() + sse.KEEP_ALIVE_SECONDS
                yield sse.KEEP_ALIVE
            if event is not Wakeup.TIME or time.monotonic() >= self._expires:
                yield from self._happened(event)

    def _wants(self, event: Notification) -> bool:
        if isinstance(event, HostChanged):
            return event.host != self._host
        for_guests = RequestAnswered | CallCancelled | ProgressReported | ToolsChanged | HostLeft
        return not isinstance(event, for_guests)

    def _happened(self, event: Notification | Wakeup) -> Iterator[bytes]:
        """Turn a notification into events.

        Read the backlog instead if a notification was missed (its previous cursor is not ours) or this one carries no
        payload, and to learn what has become of the session.
        """
        match event:
            case SessionRenewed():
                if event.expires_at > self._expires_at:
                    yield from self._renewed(event.expires_at, event.ttl_ms)
            case RequestWithdrawn():
                yield sse.encode(_WITHDRAWN, compose(id=event.id), self.cursor)
            case ToolsRead():
                yield sse.encode(_GUEST, compose(client=event.client), self.cursor)
            case RequestPosted() if _place(event.cursor) <= _place(self.cursor):
                pass  # the client has it already
            case RequestPosted(request=Request() as request) if event.previous == self.cursor:
                yield self._request(request)
            case _:
                yield from self._backlog(self._next_page())

    def _next_page(self) -> Backlog:
        return messages.unanswered(self._access, self.cursor, self._host, self.dispatcher.channel)

    def _backlog(self, backlog: Backlog) -> Iterator[bytes]:
        """Yield the requests of a page, and of the pages after it."""
        while True:
            yield from self._renewed(backlog.session.expires_at, backlog.ttl_ms)
            for request in backlog.requests:
                yield self._request(request)
            if not backlog.more:
                return
            backlog = self._next_page()

    def _request(self, request: Request) -> bytes:
        self.cursor = request.cursor
        return sse.encode(_REQUEST, compose(**request.public()), self.cursor)

    def _renewed(self, expires_at: str, ttl_ms: int) -> Iterator[bytes]:
        self._expires = expiry(ttl_ms, time.monotonic())
        if expires_at != self._expires_at:
            self._expires_at = expires_at
            yield sse.encode(_RENEWED, compose(expiresAt=expires_at), self.cursor)


def _place(cursor: str) -> tuple[int, ...]:
    """Return a cursor as numbers, which compare as the requests were posted."""
    return tuple(int(part) for part in cursor.split("-"))
