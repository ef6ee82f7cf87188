"""How a tool call is answered: with JSON if the result comes soon, else with a stream that keeps itself alive."""

import math
import time
from collections.abc import Generator
from contextlib import ExitStack, closing

from lib import jsontext
from lib.jsontext import JsonText, compose
from lib.mcp import jsonrpc
from lib.mcp.jsonrpc import Fault
from lib.mcp.protocol import Request
from lib.mcp.tool_call import Results
from lib.problems import Problem
from lib.wait.long_poll import Cancelled
from lib.wait.notifications import ProgressReported
from lib.web import sse
from lib.web.call import Call
from lib.web.endpoint import Reply

# Progress is sent after so many seconds without an event.
BEAT_SECONDS = 10

type Event = JsonText | ProgressReported | None


def reply(call: Call, request: Request, results: Results) -> Reply:
    """Answer as soon as there is a result.

    A client that takes a stream gets one at the first tick without a result, or with the first report of progress that
    it wants. A call that is cancelled before is answered with 202. Raises Fault, ClientGone.
    """
    with ExitStack() as ending:
        ending.callback(results.close)
        try:
            event = _next(call, request, results)
            while not isinstance(event, JsonText):
                if call.takes_events and (event is None or request.progress_token is not None):
                    ending.pop_all()
                    return Reply(200, headers=sse.HEADERS, stream=_stream(call, request, results, event))
                event = _next(call, request, results)
        except Cancelled:
            return Reply(202)
    return Reply(200, jsonrpc.result(request.id, event))


def _next(call: Call, request: Request, results: Results) -> Event:
    """Return what comes next. A refusal is a result as well, for the model to read."""
    try:
        return next(results)
    except Problem as problem:
        call.refused = problem
        return request.era.refused(problem)


def _stream(call: Call, request: Request, results: Results, event: Event) -> Generator[bytes]:
    """Yield a comment now and then, progress if the client wants it, and the response. Raises ClientGone."""
    progress = _Progress(request.progress_token)
    with closing(results):
        try:
            if event is None:
                yield sse.KEEP_ALIVE
            while not isinstance(event, JsonText):
                if part := progress.part(event):
                    yield part
                event = _next(call, request, results)
            response = jsonrpc.result(request.id, event)
        except Fault as fault:
            response = jsonrpc.error(request.id, fault)
        except Cancelled:
            return
    yield sse.encode("message", response)


class _Progress:
    """What a client is sent of progress: the host's reports, and between them beats, which say that the call waits.

    The numbers increase strictly, as MCP demands. A beat's number is above the last one by next to nothing, so that it
    stays below the host's next.
    """

    def __init__(self, token: JsonText | None) -> None:
        self._token = token
        self._last = -math.inf
        self._report: dict[str, JsonText] = {"message": jsontext.write("Waiting for the host")}
        self._sent_at = self._beat_at = time.monotonic()

    def part(self, event: ProgressReported | None) -> bytes:
        """Return what to send: for a report, or for the time that has passed; `b""` for nothing."""
        now = time.monotonic()
        if self._token is not None and (event is not None or now >= self._beat_at + BEAT_SECONDS):
            if event is not None:
                self._report = jsontext.members(event.report)
            self._sent_at = self._beat_at = now
            return sse.encode("message", self._notification(self._report.get("progress") if event else None))
        if now >= self._sent_at + sse.KEEP_ALIVE_SECONDS:
            self._sent_at = now
            return sse.KEEP_ALIVE
        return b""

    def _notification(self, number: JsonText | None) -> JsonText:
        value = float(number) if number is not None else -math.inf
        if number is None or value <= self._last:
            value = _just_above(self._last)
            number = jsontext.write(value)
        self._last = value
        members = {**self._report, "progressToken": self._token, "progress": number}
        return jsonrpc.notification("notifications/progress", compose(**members))


def _just_above(value: float) -> float:
    """Return a number that is larger in JSON also for clients that count in single steps of a float."""
    if value == -math.inf:
        return 0.0
    return min(value + max(abs(value), 1.0) * 2**-40, math.nextafter(math.inf, 0))
