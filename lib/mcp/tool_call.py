"""A tool call: a request to the host that is waited for.

What a model can mend, or report to its user, is a result that says so; a JSON-RPC error is for what the client does
wrong.
"""

import secrets
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress

from lib import settings
from lib.jsontext import JsonText, compose
from lib.mcp.protocol import Request
from lib.mcp.results import result_of
from lib.problems import PayloadTooLarge, Problem, RateLimited, RequestNotFound, StoreProblem
from lib.session import messages, sessions
from lib.session.access import Access
from lib.session.messages import Response
from lib.wait import long_poll
from lib.wait.long_poll import Cancelled, ResponseWait
from lib.wait.notifications import HostLeft, ProgressReported

# A result, preceded by the host's reports of progress, and by None at each tick.
type Results = Generator[JsonText | ProgressReported | None]

TICK_SECONDS = 5
_SECONDS = 280
# Within so many seconds a page is there again that is loaded anew, or that somebody is asked to open.
_HOST_RETURNS_SECONDS = 10

_NO_HOST = (
    "No host listens: the page or program that showed this code is closed or offline. Ask for it to be opened again, "
    "then repeat the call."
)
_NO_ANSWER = (
    "The host did not answer in time. It may still be at work; ask the person there before you repeat the call."
)
_WITHDRAWN = (
    "The request was withdrawn before the host answered. The host may still be at work; ask the person there before "
    "you repeat the call."
)


def tool_payload(name: str, arguments: JsonText, client: JsonText | None) -> JsonText:
    """Return the request that calls a tool. `client` says who calls, as in `Request`."""
    caller = {} if client is None else {"client": client}
    return compose(method="tools/call", params=compose(name=name, arguments=arguments), **caller)


def run(access: Access, payload: JsonText, request: Request, connection: socket.socket) -> Results:
    """Send a request to the host, and yield what comes: its result last.

    If the caller is gone, or the generator is closed, the request is withdrawn. Raises UnknownTool, Cancelled,
    ClientGone, and the Problem that ends the call.
    """
    if len(payload) > settings.max_payload():
        raise PayloadTooLarge(settings.max_payload(), len(payload))
    request_id = secrets.token_urlsafe(9)
    withdraw_on_exit = True  # cleared once the request is answered, refused, withdrawn, or its session is over
    accepted = False
    try:
        with (
            long_poll.response(access, request_id, connection, _SECONDS, is_call=True) as wait,
            _cancellable(request.call, access.code),
        ):
            response = messages.post(access, request_id, payload, wait.channel, request.call)
            del payload  # a call that waits must not hold it
            accepted = True
            wait.follow(response)
            outcome = yield from _until_answered(wait, access)
        withdraw_on_exit = wait.response.answer is None
        yield request.era.failed(outcome) if withdraw_on_exit else result_of(wait.response, request.era)
    except Cancelled:
        withdraw_on_exit = False
        raise
    except RequestNotFound:  # somebody who knows the id has withdrawn the request, or it has waited for too long
        withdraw_on_exit = False
        yield request.era.failed(_WITHDRAWN)
    except Problem as problem:
        withdraw_on_exit = isinstance(problem, StoreProblem) or (accepted and isinstance(problem, RateLimited))
        raise
    finally:
        if withdraw_on_exit:
            with suppress(Problem):
                messages.withdraw(access, request_id)


def _until_answered(wait: ResponseWait, access: Access) -> Generator[ProgressReported | None, None, str]:
    """Yield what comes until the request is answered. Returns what to say if it is not."""
    host = _Host(access, wait.response)
    tick = time.monotonic() + TICK_SECONDS
    while not wait.is_over:
        event = wait.next(min(tick, host.ask_at) - time.monotonic())
        if isinstance(event, ProgressReported):
            yield event
        elif isinstance(event, HostLeft):
            host.has_left()
        elif wait.response.answer is None and not host.listens():
            return _NO_HOST
        if time.monotonic() >= tick:
            tick = time.monotonic() + TICK_SECONDS
            yield None
    return _NO_ANSWER


class _Host:
    """Whether a host listens, as far as that is known: the store is asked at the time `ask_at` of `time.monotonic`."""

    def __init__(self, access: Access, response: Response) -> None:
        self._access = access
        self.ask_at = time.monotonic() + (response.listening_ms / 1000 or _HOST_RETURNS_SECONDS)

    def has_left(self) -> None:
        """Note that the host's connection is closed."""
        self.ask_at = time.monotonic() + _HOST_RETURNS_SECONDS

    def listens(self) -> bool:
        """Return whether a host listens; ask the store if it is time. Raises what `sessions.read` does.

        A store that fails meanwhile does not end the call: it is asked again.
        """
        if time.monotonic() < self.ask_at:
            return True
        try:
            left = sessions.read(self._access).listening_ms or 0
        except StoreProblem:
            self.ask_at = time.monotonic() + TICK_SECONDS
            return True
        self.ask_at = time.monotonic() + left / 1000
        return left > 0


# The calls that wait in this instance: name as in `Request` -> the session's code.
_calls: dict[str, str] = {}
_lock = threading.Lock()


@contextmanager
def _cancellable(call: str, code: str) -> Iterator[None]:
    """Let `cancel_here` cancel a call while the block runs, if the call has a name."""
    if call:
        with _lock:
            _calls[call] = code
    try:
        yield
    finally:
        with _lock:
            _calls.pop(call, None)


def cancel_here(call: str, access: Callable[[str], Access]) -> None:
    """Cancel a call that waits in this instance; `access` makes the access to a code. Raises what `cancel` does."""
    with _lock:
        code = _calls.get(call)
    if code:
        messages.cancel(access(code), call)
