"""Calls that wait for what they ask for, up to a number of seconds. With zero seconds they are plain calls."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from lib.problems import Problem, RequestNotFound, StoreProblem
from lib.session import messages, sessions
from lib.session.access import Access
from lib.session.messages import Backlog, Response
from lib.wait import capacity, dispatcher
from lib.wait.dispatcher import Dispatcher
from lib.wait.notifications import (
    CallCancelled,
    HostChanged,
    HostLeft,
    Notification,
    ProgressReported,
    RequestAnswered,
    RequestPosted,
    RequestWithdrawn,
    SessionEnded,
)
from lib.wait.waiter import Waiter, Wakeup, Watched, expiry
from lib.web.connection import ClientGone

# For so many seconds the store may fail under a tool call, whose host may have answered already; and seconds after a
# look that has failed until the next one.
_STORE_RETURNS_SECONDS = 15
_RETRY_SECONDS = 2.0


class Cancelled(Exception):
    """The client has cancelled its tool call, and expects no response."""


class ResponseWait:
    """A guest's wait for the response to one request, of at most so many seconds.

    `channel` is what the call that posts the request, or reads its response, has to name to the store, so that the
    answer is published there; `""` if this instance has no subscription yet, or the call does not wait. `response` is
    what is known of the request. `is_call` is for a tool call, whose id no other request ever gets: a withdrawal is
    then final, `next` also returns that the host has left, and raises a problem of the store only when it has lasted
    for fifteen seconds. Until then the store is asked again every two seconds.
    """

    def __init__(
        self,
        access: Access,
        request_id: str,
        connection: socket.socket,
        seconds: int,
        dispatcher: Dispatcher,
        *,
        is_call: bool,
    ) -> None:
        self.waiter = Waiter(access.store, access.code, connection, self._wants)
        self.channel = dispatcher.channel if seconds else ""
        self.response = Response(request_id)
        self._is_call = is_call
        self._access = access
        self._id = request_id
        self._until = time.monotonic() + seconds
        self._seconds = seconds
        self._dispatcher = dispatcher
        self._look_at = 0.0
        self._failing_since: float | None = None

    @property
    def is_over(self) -> bool:
        """Return whether the request is answered, or the time over."""
        return self.response.answer is not None or time.monotonic() >= self._until

    def until_answered(self, response: Response) -> Response:
        """Return the response as soon as it is answered, or as it is when the time is over or the store fails.

        `response` is what the call that named the channel returned. Raises ClientGone, and the refusals of
        `messages.read`.
        """
        self.follow(response)
        with suppress(StoreProblem):
            while not self.is_over:
                self.next(self._seconds)
        return self.response

    def follow(self, response: Response) -> None:
        """Follow a request from the response on that the call returned which named the channel.

        Without a subscription that response was read first, because guessing codes must never open one. The instance
        then subscribes and looks again, because a notification may have been missed in between.
        """
        self.response = response
        if self.is_over:
            return
        self._note()
        if not self.channel:
            self._dispatcher.subscribe(self._access.store)
            with suppress(StoreProblem):  # the request is accepted, so the wait goes on without this look
                self._look_patiently()

    def next(self, seconds: float) -> ProgressReported | HostLeft | None:
        """Return the next report of progress, or that the host has left.

        None if there is none within the seconds, or the wait is over. Raises ClientGone, Cancelled, RequestNotFound if
        the request was withdrawn, the other refusals of `messages.read`, and a StoreProblem as above.
        A cancellation whose notification was lost is a withdrawal.
        """
        until = min(time.monotonic() + seconds, self._until)
        while self.response.answer is None and time.monotonic() < until:
            match self.waiter.wait(min(until, self._look_at)):
                case RequestAnswered(response=Response() as answered):
                    self.response = answered
                case CallCancelled():
                    raise Cancelled
                case RequestWithdrawn() if self._is_call:
                    raise RequestNotFound
                case ProgressReported() | HostLeft() as event:
                    return event
                case Wakeup.TIME if time.monotonic() < self._look_at:
                    pass
                case _:
                    self._look_patiently()
        return None

    def _wants(self, event: Notification) -> bool:
        match event:
            case RequestAnswered() | RequestWithdrawn() | ProgressReported():
                return event.id == self._id
            case CallCancelled():
                return self._is_call and event.id == self._id
            case HostLeft():
                return self._is_call
            case _:
                return isinstance(event, SessionEnded)

    def _look_patiently(self) -> None:
        """Ask the store; again after a pause if it fails. Raises its problem once it has failed for too long."""
        try:
            self._look()
            self._failing_since = None
        except StoreProblem:
            now = time.monotonic()
            if self._failing_since is None:
                self._failing_since = now
            if not self._is_call or now >= self._failing_since + _STORE_RETURNS_SECONDS:
                raise
            self._look_at = now + _RETRY_SECONDS

    def _look(self) -> None:
        self.channel = self._dispatcher.channel
        self.response = messages.read(self._access, self._id, self.channel)
        self._note()

    def _note(self) -> None:
        self._look_at = expiry(self.response.ttl_ms, time.monotonic())
        self.waiter.watched = Watched("guest", self._id)


@contextmanager
def response(
    access: Access, request_id: str, connection: socket.socket, seconds: int, *, is_call: bool = False
) -> Iterator[ResponseWait]:
    """Let a guest wait for a response: hold a place and receive notifications, unless the seconds are zero.

    Raises Busy.
    """
    current = dispatcher.current()
    wait = ResponseWait(access, request_id, connection, seconds, current, is_call=is_call)
    with ExitStack() as held:
        if seconds:
            held.enter_context(capacity.take(access.network))
            held.enter_context(current.waiting(wait.waiter))
        yield wait


def requests(access: Access, host: str, cursor: str, connection: socket.socket, seconds: int) -> Backlog:
    """Take the session over, and return the unanswered requests after a cursor as soon as there are any.

    Returns an empty backlog when the seconds are over. Raises what `messages.take_over` does, Busy, ClientGone.
    """
    if not seconds:
        return messages.take_over(access, cursor, host, "")

    def wants(event: Notification) -> bool:
        return isinstance(event, RequestPosted | SessionEnded) or (
            isinstance(event, HostChanged) and event.host != host
        )

    current = dispatcher.current()
    waiter = Waiter(access.store, access.code, connection, wants)
    until = time.monotonic() + seconds
    with capacity.take(access.network), current.waiting(waiter), leaving(access, host):
        current.subscribe(access.store)
        backlog = messages.take_over(access, cursor, host, current.channel)
        while not backlog.requests and time.monotonic() < until:
            waiter.watched = Watched("host", host, cursor, backlog.session.expires_at)
            expires = expiry(backlog.ttl_ms, time.monotonic())
            match waiter.wait(min(until, expires)):
                case RequestPosted(request=messages.Request() as request, previous=previous) if previous == cursor:
                    backlog = backlog._replace(requests=[request])
                case Wakeup.TIME if time.monotonic() < expires:
                    break
                case _:
                    backlog = messages.unanswered(access, cursor, host, current.channel)
    return backlog


@contextmanager
def leaving(access: Access, host: str) -> Iterator[None]:
    """Say that a host has left if its client hangs up while the block runs, or a stream is closed for that."""
    try:
        yield
    except (ClientGone, GeneratorExit):
        with suppress(Problem):
            sessions.leave(access, host)
        raise
