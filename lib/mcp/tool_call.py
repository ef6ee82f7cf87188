"""A tool call: a request to the host that is waited for.

What a model can mend, or report to its user, is a result that says so; a JSON-RPC error is for what the client does
wrong.
"""

import secrets
import socket
from collections.abc import Generator
from contextlib import suppress

from lib import settings
from lib.jsontext import JsonText, compose
from lib.mcp.protocol import Era
from lib.mcp.results import result_of
from lib.problems import PayloadTooLarge, Problem, RateLimited, StoreProblem
from lib.session import messages, sessions
from lib.session.access import Access
from lib.session.messages import Response
from lib.wait import long_poll

# A result, preceded by None at each tick.
type Results = Generator[JsonText | None]

TICK_SECONDS = 5
# Counted in ticks: how long a call waits, 280 seconds, and when the store is asked whether a host listens at all: after
# ten seconds, and then every minute.
_TICKS = 56
_HOST_ASKED_AT, _HOST_ASKED_EVERY = 2, 12

_NO_HOST = (
    "No host listens: the page or program that showed this code is closed or offline. Ask for it to be opened again, "
    "then repeat the call."
)
_NO_ANSWER = (
    "The host did not answer in time. It may still be at work; ask the person there before you repeat the call."
)


def tool_payload(name: str, arguments: JsonText) -> JsonText:
    """Return the request that calls a tool."""
    return compose(method="tools/call", params=compose(name=name, arguments=arguments))


def run(access: Access, payload: JsonText, era: Era, client: socket.socket) -> Results:
    """Send a request, and yield its result as soon as it is there, and None every five seconds until then.

    If the caller is gone, or the generator is closed, the request is withdrawn. Raises Fault for an unknown tool,
    ClientGone, and the Problem that ends the call.
    """
    if len(payload) > settings.max_payload():
        raise PayloadTooLarge(settings.max_payload())
    request_id = secrets.token_urlsafe(9)
    withdraw_on_exit = True  # cleared once the request is answered, refused, or its session is over
    accepted = False
    try:
        with long_poll.response(access, request_id, client, _TICKS * TICK_SECONDS) as wait:
            response = messages.post(access, request_id, payload, wait.channel)
            accepted = True
            outcome = _NO_ANSWER
            for tick in range(1, _TICKS + 1):
                response = wait.next(response, TICK_SECONDS)
                if response.answer is not None:
                    break
                if not _has_host(access, response, tick):
                    outcome = _NO_HOST
                    break
                yield None
        withdraw_on_exit = response.answer is None
        yield era.failed(outcome) if withdraw_on_exit else result_of(response, era)
    except Problem as problem:
        withdraw_on_exit = isinstance(problem, StoreProblem) or (accepted and isinstance(problem, RateLimited))
        raise
    finally:
        if withdraw_on_exit:
            with suppress(Problem):
                messages.withdraw(access, request_id)


def _has_host(access: Access, response: Response, tick: int) -> bool:
    """Return whether a host listens, as far as the store is to be asked for that at this tick."""
    is_due = tick % _HOST_ASKED_EVERY == _HOST_ASKED_AT
    was_listening = tick == _HOST_ASKED_AT and response.listening
    return not is_due or was_listening or bool(sessions.read(access).listening)
