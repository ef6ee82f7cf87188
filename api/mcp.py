"""/mcp/{code}: the tools of one session over MCP. /mcp: tools that take a code, for an agent that is set up once."""

from collections.abc import Generator
from functools import partial

from lib import events, jsonrpc, jsontext, mcp, settings, toolcall
from lib.call import Call
from lib.endpoint import Actions, Endpoint, Reply
from lib.jsonrpc import INVALID_PARAMS, Fault, Message
from lib.jsontext import JsonText, compose
from lib.problems import InvalidRequest, Problem
from lib.toolset import FixedServer, Results, SessionServer

_STREAM = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
_TICKS_A_KEEP_ALIVE, _TICKS_A_PROGRESS = 15 // toolcall.TICK_SECONDS, 10 // toolcall.TICK_SECONDS


def receive(call: Call) -> Reply:
    """Answer a JSON-RPC request; take note of anything else."""
    request_id: JsonText | None = None
    try:
        _check_origin(call)
        message = jsonrpc.parse(call.content())
        if message.id is None:
            return Reply(202)
        request_id = message.id
        return _answer(call, message, request_id, mcp.version(message, call.headers))
    except Fault as fault:
        return Reply(fault.status, jsonrpc.error(fault.request_id or request_id, fault))
    except Problem as problem:
        status = 200 if request_id else problem.status
        return Reply(status, jsonrpc.error(request_id, mcp.refusal(problem)), problem.headers)


def _answer(call: Call, message: Message, request_id: JsonText, speaks: str) -> Reply:
    run = partial(toolcall.run, speaks=speaks, client=call.connection)
    server = (
        SessionServer(call.access, run, speaks)
        if call.target.names_session
        else FixedServer(partial(call.caller.access, call.store), run, speaks)
    )
    modern = speaks == mcp.MODERN
    match message.method:
        case "server/discover" if modern:
            result = mcp.discovered(server.instructions)
        case "initialize" if not modern:
            result = mcp.initialized(speaks, server.instructions)
        case "ping":
            result = mcp.pong(speaks)
        case "tools/list":
            if "cursor" in message.params:
                raise Fault(INVALID_PARAMS, "There is one page: leave the cursor out.", request_id=request_id)
            result = mcp.listed(speaks, server.list())
        case "tools/call":
            return _call_tool(call, server, message, request_id)
        case other:
            raise mcp.no_method(speaks, other)
    return Reply(200, jsonrpc.result(request_id, result))


def _call_tool(call: Call, server: SessionServer | FixedServer, message: Message, request_id: JsonText) -> Reply:
    """Answer as soon as there is a result; with a stream if that takes a while, and the client takes streams."""
    name, text = jsontext.shape(message.params.get("name", JsonText("null"))), message.params.get("arguments")
    if not isinstance(name, str):
        raise Fault(INVALID_PARAMS, "name must be a string.")
    try:
        arguments = jsonrpc.members_of(message.params, "arguments")
        token = jsonrpc.members_of(message.params, "_meta").get("progressToken")
    except InvalidRequest as problem:
        raise Fault(INVALID_PARAMS, problem.detail) from None
    results = server.call(name, arguments, text or JsonText("{}"))
    result = next(results)
    if result is None and "text/event-stream" in call.headers.get("Accept", ""):
        return Reply(200, headers=_STREAM, stream=_events(results, request_id, token))
    while result is None:
        result = next(results)
    return Reply(200, jsonrpc.result(request_id, result))


def _events(results: Results, request_id: JsonText, token: JsonText | None) -> Generator[bytes]:
    """Yield a comment now and then, progress if there is a token for it, and the answer."""
    yield events.KEEP_ALIVE
    tick, answer = 1, None
    while answer is None:
        try:
            result = next(results)
            answer = jsonrpc.result(request_id, result) if result is not None else None
        except Fault as fault:
            answer = jsonrpc.error(request_id, fault)
        tick += 1
        if answer is None and token is not None and tick % _TICKS_A_PROGRESS == 0:
            progress = compose(
                progressToken=token, progress=tick * toolcall.TICK_SECONDS, message="Waiting for the host"
            )
            yield events.encode("message", jsonrpc.notification("notifications/progress", progress))
        elif answer is None and tick % _TICKS_A_KEEP_ALIVE == 0:
            yield events.KEEP_ALIVE
    yield events.encode("message", answer)


def _check_origin(call: Call) -> None:
    """Refuse pages of another origin than the one that may call the API. Raises Fault."""
    allowed, origin = settings.allowed_origin(), call.headers.get("Origin")
    if origin and allowed not in ("*", origin):
        raise Fault(403, "Pages of this origin may not call.", 403)


class handler(Endpoint):
    """An MCP server over Streamable HTTP."""

    def actions(self, call: Call) -> Actions:
        """Return what it answers."""
        return {"POST": receive}
