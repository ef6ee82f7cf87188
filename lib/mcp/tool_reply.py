"""How a tool call is answered: with JSON if the result comes soon, else with a stream that keeps itself awake."""

from collections.abc import Generator
from contextlib import ExitStack, closing

from lib.jsontext import JsonText
from lib.mcp import jsonrpc, protocol, tool_call
from lib.mcp.jsonrpc import Fault
from lib.mcp.tool_call import Results
from lib.problems import Problem
from lib.web import sse
from lib.web.call import Call
from lib.web.endpoint import Reply

_HEADERS = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
# Counted in `tool_call.TICK_SECONDS`: a comment every 15 seconds, progress every 10.
_TICKS_A_KEEP_ALIVE, _TICKS_A_PROGRESS = 3, 2


def reply(call: Call, results: Results, request_id: JsonText, token: JsonText | None, speaks: str) -> Reply:
    """Answer as soon as there is a result; with a stream if the first of `results` is none, and the client takes one.

    `token` is what the client wants progress to be called by. Raises Fault, ClientGone.
    """
    with ExitStack() as ending:
        ending.callback(results.close)
        result = _next(call, results, speaks)
        if result is None and "text/event-stream" in call.headers.get("Accept", "").lower():
            ending.pop_all()
            return Reply(200, headers=_HEADERS, stream=_events(call, results, request_id, token, speaks))
        while result is None:
            result = _next(call, results, speaks)
    return Reply(200, jsonrpc.result(request_id, result))


def _next(call: Call, results: Results, speaks: str) -> JsonText | None:
    """Return the result, None if it is not there yet. A refusal is a result as well, for the model to read."""
    try:
        return next(results)
    except Problem as problem:
        call.refused = problem
        return protocol.refused(speaks, problem)


def _events(
    call: Call, results: Results, request_id: JsonText, token: JsonText | None, speaks: str
) -> Generator[bytes]:
    """Yield a comment now and then, progress if there is a token for it, and the answer. Raises ClientGone."""
    tick, answer = 1, None
    with closing(results):
        yield sse.KEEP_ALIVE
        while answer is None:
            try:
                result = _next(call, results, speaks)
                answer = jsonrpc.result(request_id, result) if result is not None else None
            except Fault as fault:
                answer = jsonrpc.error(request_id, fault)
            tick += 1
            if answer is None and token is not None and tick % _TICKS_A_PROGRESS == 0:
                yield sse.encode("message", protocol.progress(token, tick * tool_call.TICK_SECONDS))
            elif answer is None and tick % _TICKS_A_KEEP_ALIVE == 0:
                yield sse.KEEP_ALIVE
    yield sse.encode("message", answer)
