"""How a tool call is answered: with JSON if the result comes soon, else with a stream that keeps itself alive."""

from collections.abc import Generator
from contextlib import ExitStack, closing

from lib.jsontext import JsonText
from lib.mcp import jsonrpc, protocol, tool_call
from lib.mcp.jsonrpc import Fault
from lib.mcp.protocol import Request
from lib.mcp.tool_call import Results
from lib.problems import Problem
from lib.web import sse
from lib.web.call import Call
from lib.web.endpoint import Reply

# Counted in `tool_call.TICK_SECONDS`: a comment every 15 seconds, progress every 10.
_TICKS_A_KEEP_ALIVE, _TICKS_A_PROGRESS = 3, 2


def reply(call: Call, request: Request, results: Results) -> Reply:
    """Answer as soon as there is a result; with a stream if there is none at the first tick, and the client takes one.

    Raises Fault, ClientGone.
    """
    with ExitStack() as ending:
        ending.callback(results.close)
        result = _next(call, request, results)
        if result is None and "text/event-stream" in call.headers.get("Accept", "").lower():
            ending.pop_all()
            answer = Reply(200, headers=sse.HEADERS, stream=_events(call, request, results))
        else:
            while result is None:
                result = _next(call, request, results)
            answer = Reply(200, jsonrpc.result(request.id, result))
    return answer


def _next(call: Call, request: Request, results: Results) -> JsonText | None:
    """Return the result, None if it is not there yet. A refusal is a result as well, for the model to read."""
    try:
        return next(results)
    except Problem as problem:
        call.refused = problem
        return request.era.refused(problem)


def _events(call: Call, request: Request, results: Results) -> Generator[bytes]:
    """Yield a comment now and then, progress if the client wants it, and the response. Raises ClientGone."""
    tick = 1
    response = None
    with closing(results):
        yield sse.KEEP_ALIVE
        while response is None:
            try:
                result = _next(call, request, results)
                response = jsonrpc.result(request.id, result) if result is not None else None
            except Fault as fault:
                response = jsonrpc.error(request.id, fault)
            tick += 1
            if response is None and request.progress_token is not None and tick % _TICKS_A_PROGRESS == 0:
                beat = protocol.progress(request.progress_token, tick * tool_call.TICK_SECONDS)
                yield sse.encode("message", beat)
            elif response is None and tick % _TICKS_A_KEEP_ALIVE == 0:
                yield sse.KEEP_ALIVE
    yield sse.encode("message", response)
