"""Reads that wait for what they ask for, up to a number of seconds. Zero seconds is a plain read."""

import socket
from collections.abc import Callable

from lib import bell, messages
from lib.bell import Waiter
from lib.kv import Store
from lib.messages import Backlog, Response
from lib.problems import StoreProblem


def for_response(
    store: Store,
    code: str,
    request_id: str,
    client: socket.socket,
    seconds: int,
    first: Callable[[], Response],
) -> Response:
    """Return the response of a request as soon as it is there, or as it is when the time is over.

    `first` is the first check: it posts the request, or reads the response. What it raises is raised. Once it has
    returned, its caller has proved to know the code, and a store that fails only ends the wait. Raises ClientGone.
    """
    if not seconds:
        return first()
    found: Response | None = None
    wakes_on = {bell.RESPONSE + request_id, bell.ENDED}.__contains__
    with Waiter(store, code, client, seconds, wakes_on) as waiter:
        for _ in waiter:
            try:
                found = messages.read(store, code, None, request_id) if found else first()
            except StoreProblem:
                if found is None:
                    raise
                break
            if found.answer is not None:
                break
            waiter.wake_at_expiry(found.ttl_ms)
    return found or first()


def for_requests(store: Store, code: str, cursor: str, client: socket.socket, seconds: int) -> Backlog:
    """Return the unanswered requests after a cursor as soon as there are any, or none when the time is over.

    Raises what `messages.unanswered` does, and ClientGone.
    """
    if not seconds:
        return messages.unanswered(store, code, cursor)
    with Waiter(store, code, client, seconds, {bell.REQUEST, bell.ENDED}.__contains__) as waiter:
        for _ in waiter:
            backlog = messages.unanswered(store, code, cursor)
            if backlog.requests:
                break
            waiter.wake_at_expiry(backlog.ttl_ms)
    return backlog
