"""/mcp/{code}: the tools of one session over MCP. /mcp: tools that take a code, for an agent that is set up once."""

from functools import partial

from lib import jsontext, settings
from lib.jsontext import JsonText, compose
from lib.mcp import jsonrpc, protocol, tool_call, tool_reply
from lib.mcp.jsonrpc import INVALID_PARAMS, Fault, Message
from lib.mcp.servers import FixedServer, Server, SessionServer
from lib.problems import InvalidCode, InvalidRequest, Problem
from lib.session.access import Access
from lib.web.call import Call
from lib.web.endpoint import Actions, Endpoint, Reply


def receive(call: Call) -> Reply:
    """Answer a JSON-RPC request; take note of anything else."""
    request_id: JsonText | None = None
    try:
        _check_origin(call)
        message = jsonrpc.parse(call.content())
        request_id = message.id
        access = call.access if call.target.names_session else None
        if request_id is None:
            return Reply(202)
        speaks = protocol.version(message, call.headers)
        return _answer(call, _server(call, access, speaks), message, request_id, speaks)
    except Fault as fault:
        return Reply(fault.status, jsonrpc.error(request_id or fault.request_id, fault))
    except Problem as problem:
        call.refused = problem
        # What is wrong with the URL or the body is told in HTTP, too; the rest is an answer.
        status = problem.status if request_id is None or isinstance(problem, InvalidCode) else 200
        return Reply(status, jsonrpc.error(request_id, protocol.refusal(problem)), problem.headers)


def _server(call: Call, access: Access | None, speaks: str) -> Server:
    run = partial(tool_call.run, speaks=speaks, client=call.connection)
    if access:
        return SessionServer(access, run, speaks)
    return FixedServer(partial(call.caller.access, call.store), run, speaks)


def _answer(call: Call, server: Server, message: Message, request_id: JsonText, speaks: str) -> Reply:
    modern = speaks == protocol.MODERN
    match message.method:
        case "server/discover" if modern:
            result = protocol.discovered(server.instructions)
        case "initialize" if not modern:
            result = protocol.initialized(speaks, server.instructions)
        case "ping" if not modern:
            result = compose()
        case "tools/list":
            if "cursor" in message.params:
                raise Fault(INVALID_PARAMS, "There is one page: leave the cursor out.")
            result = protocol.listed(speaks, server.list())
        case "tools/call":
            return _call_tool(call, server, message, request_id, speaks)
        case other:
            raise protocol.no_method(speaks, other)
    return Reply(200, jsonrpc.result(request_id, result))


def _call_tool(call: Call, server: Server, message: Message, request_id: JsonText, speaks: str) -> Reply:
    name = jsontext.shape(message.params.get("name", JsonText("null")))
    if not isinstance(name, str):
        raise Fault(INVALID_PARAMS, "name must be a string.")
    try:
        arguments = jsonrpc.members_of(message.params, "arguments")
        token = protocol.progress_token(message)
    except InvalidRequest as problem:
        raise Fault(INVALID_PARAMS, problem.detail) from None
    results = server.call(name, arguments, message.params.get("arguments", JsonText("{}")))
    return tool_reply.reply(call, results, request_id, token, speaks)


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
