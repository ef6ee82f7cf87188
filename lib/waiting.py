"""Reads that wait for what they ask for, up to a number of seconds. Zero seconds is a plain read."""

import socket
from collections.abc import Callable

from lib import messages
from lib.bell import Watch
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

    `first` is how it is looked at first: by posting the request, or by reading. What it raises is raised; once it has
    told of the request, its caller has proved to know the code, and a store that fails only ends the wait. Raises
    ClientGone.
    """
    if not seconds:
        return first()
    found: Response | None = None
    with Watch(store, code, client, seconds, lambda word: word in (f"response {request_id}", "ended")) as watch:
        for _ in watch:
            try:
                found = messages.read(store, code, None, request_id) if found else first()
            except StoreProblem:
                if found is None:
                    raise
                break
            if found.answer is not None:
                break
            watch.expect_end(found.ttl_ms)
    return found or first()


def for_requests(store: Store, code: str, cursor: str, client: socket.socket, seconds: int) -> Backlog:
    """Return the unanswered requests after a cursor as soon as there are any, or none when the time is over.

    Raises what `messages.unanswered` does, and ClientGone.
    """
    if not seconds:
        return messages.unanswered(store, code, cursor)
    with Watch(store, code, client, seconds, lambda word: word in ("request", "ended")) as watch:
        for _ in watch:
            backlog = messages.unanswered(store, code, cursor)
            if backlog.requests:
                break
            watch.expect_end(backlog.ttl_ms)
    return backlog
