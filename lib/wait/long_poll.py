"""Calls that wait for what they ask for, up to a number of seconds. With zero seconds they are plain calls."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from lib.problems import StoreProblem
from lib.session import messages
from lib.session.access import Access
from lib.session.messages import Backlog, Response
from lib.wait import capacity, dispatcher
from lib.wait.dispatcher import Dispatcher
from lib.wait.notifications import (
    HostChanged,
    Notification,
    RequestAnswered,
    RequestPosted,
    RequestWithdrawn,
    SessionEnded,
)
from lib.wait.waiter import Waiter, Wakeup, Watched, expiry


class ResponseWait:
    """A guest's wait for the response to one request, of at most so many seconds.

    `channel` is what the call that posts the request, or reads its response, has to name to the store, so that the
    answer is published there; `""` if this instance has no subscription yet, or the call does not wait.
    """

    def __init__(self, access: Access, request_id: str, client: socket.socket, seconds: int, ear: Dispatcher) -> None:
        self.waiter = Waiter(access.store, access.code, client, self._wants)
        self.channel = ear.channel if seconds else ""
        self._access = access
        self._id = request_id
        self._seconds = seconds
        self._ear = ear
        self._expires = 0.0

    def until_answered(self, response: Response) -> Response:
        """Return the response as soon as it is answered, or as it is when the time is over or the store fails.

        `response` is what the call that named the channel returned. Raises ClientGone, and the refusals of
        `messages.read`.
        """
        with suppress(StoreProblem):
            return self.next(response, self._seconds) if self._seconds else response
        return response

    def next(self, response: Response, seconds: float) -> Response:
        """Do as `until_answered` for some of the seconds, and raise a StoreProblem, too. May be called again."""
        until = time.monotonic() + seconds
        response = self._followed(response)
        while response.answer is None and time.monotonic() < until:
            match self.waiter.wait(min(until, self._expires)):
                case RequestAnswered(response=Response() as answered):
                    response = answered
                case Wakeup.TIME if time.monotonic() < self._expires:
                    pass
                case _:
                    response = self._look()
        return response

    def _followed(self, response: Response) -> Response:
        """Follow a request from its first response on.

        Without a subscription that response was read first, because guessing codes must never open one. The instance
        then subscribes and looks again, because a notification may have been missed in between.
        """
        if self.waiter.watched is None and response.answer is None:
            self._note(response)
            if not self.channel:
                self._ear.subscribe(self._access.store)
                with suppress(StoreProblem):  # the request is accepted, so the wait goes on without this look
                    response = self._look()
        return response

    def _wants(self, event: Notification) -> bool:
        match event:
            case RequestAnswered() | RequestWithdrawn():
                return event.id == self._id
            case _:
                return isinstance(event, SessionEnded)

    def _look(self) -> Response:
        self.channel = self._ear.channel
        response = messages.read(self._access, self._id, self.channel)
        self._note(response)
        return response

    def _note(self, response: Response) -> None:
        self._expires = expiry(response.ttl_ms, time.monotonic())
        self.waiter.watched = Watched("guest", self._id)


@contextmanager
def response(access: Access, request_id: str, client: socket.socket, seconds: int) -> Iterator[ResponseWait]:
    """Let a guest wait for a response: hold a place and receive notifications, unless the seconds are zero.

    Raises Busy.
    """
    ear = dispatcher.current()
    wait = ResponseWait(access, request_id, client, seconds, ear)
    with ExitStack() as held:
        if seconds:
            held.enter_context(capacity.take(access.network))
            held.enter_context(ear.waiting(wait.waiter))
        yield wait


def requests(access: Access, host: str, cursor: str, client: socket.socket, seconds: int) -> Backlog:
    """Take the session over, and return the unanswered requests after a cursor as soon as there are any.

    Returns an empty backlog when the seconds are over. Raises what `messages.take_over` does, Busy, ClientGone.
    """
    if not seconds:
        return messages.take_over(access, cursor, host, "")

    def wants(event: Notification) -> bool:
        return isinstance(event, RequestPosted | SessionEnded) or (
            isinstance(event, HostChanged) and event.host != host
        )

    ear = dispatcher.current()
    waiter = Waiter(access.store, access.code, client, wants)
    until = time.monotonic() + seconds
    with capacity.take(access.network), ear.waiting(waiter):
        ear.subscribe(access.store)
        backlog = messages.take_over(access, cursor, host, ear.channel)
        while not backlog.requests and time.monotonic() < until:
            waiter.watched = Watched("host", host, cursor, backlog.session.expires_at)
            expires = expiry(backlog.ttl_ms, time.monotonic())
            match waiter.wait(min(until, expires)):
                case RequestPosted(request=messages.Request() as request, previous=previous) if previous == cursor:
                    backlog = backlog._replace(requests=[request])
                case Wakeup.TIME if time.monotonic() < expires:
                    break
                case _:
                    backlog = messages.unanswered(access, cursor, host, ear.channel)
    return backlog
