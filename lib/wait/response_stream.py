"""A guest's wait as server-sent events: the host's reports of progress, and then the response."""

import socket
from collections.abc import Callable, Generator

from lib.jsontext import compose
from lib.problems import Problem, StoreProblem
from lib.session.access import Access
from lib.session.messages import Response
from lib.wait import long_poll
from lib.wait.notifications import ProgressReported
from lib.web import sse

# The names of the events.
EVENTS = ("progress", "response", "problem")
_PROGRESS, _RESPONSE, _PROBLEM = EVENTS


def run(
    access: Access, request_id: str, connection: socket.socket, seconds: int, begin: Callable[[str], Response]
) -> Generator[bytes]:
    """Yield reports of progress as they come, and last the response, or the problem that ends the wait.

    `begin` posts the request, or reads its response, with the channel that it is given. Before the first event this
    raises what `begin` does, and Busy; later ClientGone.
    """
    with long_poll.response(access, request_id, connection, seconds) as wait:
        response = begin(wait.channel)
        del begin  # a call that waits must not hold the payload
        wait.follow(response)
        yield sse.KEEP_ALIVE
        try:
            while not wait.is_over:
                event = wait.next(sse.KEEP_ALIVE_SECONDS)
                if isinstance(event, ProgressReported):
                    yield sse.encode(_PROGRESS, event.report)
                else:
                    yield sse.KEEP_ALIVE
        except StoreProblem:
            pass  # the request is accepted, and the last event says what is known of it
        except Problem as problem:
            yield sse.encode(_PROBLEM, compose(**problem.body()))
            return
        yield sse.encode(_RESPONSE, wait.response.public())
