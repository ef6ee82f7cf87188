"""Calls that wait for what they ask for, up to a number of seconds. Zero seconds is a plain call."""

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Self

from lib.problems import StoreProblem
from lib.session import messages
from lib.session.access import Access
from lib.session.messages import Backlog, Response
from lib.wait import capacity, dispatcher, notifications
from lib.wait.notifications import Message
from lib.wait.waiter import Waiter, Wakeup, Watched

# Its session has expired by the store's clock when a call looks again at this session's end.
_AFTER_EXPIRY_SECONDS = 0.01


class ResponseWait:
    """A guest's wait for a response, from the `with` on. Entering it raises Busy."""

    def __init__(self, access: Access, request_id: str, client: socket.socket) -> None:
        self._access = access
        self._id = request_id
        self._waiter = Waiter(dispatcher.current(), access.store, access.code, client, self._wants)
        self._expires = 0.0

    def __enter__(self) -> Self:
        with ExitStack() as holds:
            holds.enter_context(capacity.take("" if self._access.created else self._access.network))
            holds.enter_context(self._waiter)
            self._holds = holds.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._holds.close()

    def first(self, look: Callable[[str], Response]) -> Response:
        """Look for the first time, by posting the request or by reading its response, and raise what that raises.

        If this process hears nothing yet, the code is known to be a session's before it subscribes.
        """
        channel = self._waiter.channel
        response = self._noted(look(channel))
        if response.answer is None and not channel:
            self._waiter.subscribe()  # unless another call has done so since; then there is still a look to make
            with suppress(StoreProblem):  # which ends no wait whose request was taken
                response = self._look()
        return response

    def next(self, pending: Response, seconds: float) -> Response:
        """Return the response as soon as it is there, or `pending` when the seconds are over.

        Raises ClientGone, and what `messages.read` does.
        """
        response = pending
        until = time.monotonic() + seconds
        while response.answer is None and time.monotonic() < until:
            event = self._waiter.wait(min(until, self._expires))
            if isinstance(event, Message) and event.kind == notifications.RESPONSE:
                response = messages.response_in(event) or self._look()
            elif event is not Wakeup.TIME or time.monotonic() >= self._expires:
                response = self._look()
        return response

    def _wants(self, message: Message) -> bool:
        return message.kind == notifications.ENDED or (
            message.kind in (notifications.RESPONSE, notifications.WITHDRAWN) and message.words[0] == self._id
        )

    def _look(self) -> Response:
        return self._noted(messages.read(self._access, self._id, self._waiter.channel))

    def _noted(self, response: Response) -> Response:
        self._expires = time.monotonic() + response.ttl_ms / 1000 + _AFTER_EXPIRY_SECONDS
        self._waiter.watched = Watched("guest", self._id)
        return response


def for_response(
    access: Access, request_id: str, client: socket.socket, seconds: int, look: Callable[[str], Response]
) -> Response:
    """Return the response of a request as soon as it is there, or as it is when the time is over.

    `look` gets the channel to ring, and posts the request, or reads the response; what it raises is raised. After
    that a store that fails only ends the wait. Raises Busy, ClientGone.
    """
    if not seconds:
        return look("")
    with ResponseWait(access, request_id, client) as wait:
        response = wait.first(look)
        try:
            return wait.next(response, seconds)
        except StoreProblem:
            return response


def for_requests(access: Access, host: str, cursor: str, client: socket.socket, seconds: int) -> Backlog:
    """Take the session over, and return the unanswered requests after a cursor as soon as there are any.

    Returns none when the time is over. Raises what `messages.take_over` does, Busy, ClientGone.
    """

    def wants(message: Message) -> bool:
        return message.kind in (notifications.REQUEST, notifications.HOST, notifications.ENDED) and message.words != (
            host,
        )

    if not seconds:
        return messages.take_over(access, cursor, host, "")
    waiter = Waiter(dispatcher.current(), access.store, access.code, client, wants)
    until = time.monotonic() + seconds
    with capacity.take(), waiter:
        waiter.subscribe()
        backlog = messages.take_over(access, cursor, host, waiter.channel)
        while not backlog.requests and time.monotonic() < until:
            waiter.watched = Watched("host", host, cursor, backlog.session.expires_at)
            expires = time.monotonic() + backlog.ttl_ms / 1000 + _AFTER_EXPIRY_SECONDS
            event = waiter.wait(min(until, expires))
            if event is Wakeup.TIME and time.monotonic() < expires:
                break
            request = (
                messages.request_in(event)
                if isinstance(event, Message) and event.kind == notifications.REQUEST
                else None
            )
            if request and isinstance(event, Message) and event.words[1] == cursor:
                return backlog._replace(requests=[request])
            backlog = messages.unanswered(access, cursor, host, waiter.channel)
    return backlog
