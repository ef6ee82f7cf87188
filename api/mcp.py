"""/mcp/{code}: the tools of one session over MCP. /mcp: tools that take a code, for an agent that is set up once."""

from functools import partial

from lib import jsontext, settings
from lib.jsontext import JsonText
from lib.mcp import jsonrpc, protocol, tool_reply
from lib.mcp.jsonrpc import INVALID_PARAMS, Fault
from lib.mcp.protocol import Request
from lib.mcp.servers import FixedServer, Server, SessionServer
from lib.problems import InvalidCode, InvalidRequest, Problem
from lib.web.call import Call
from lib.web.endpoint import Actions, Endpoint, Reply


def receive(call: Call) -> Reply:
    """Answer a JSON-RPC request; accept notifications and responses, which get no answer."""
    request_id: JsonText | None = None
    try:
        _check_origin(call)
        message = jsonrpc.parse(call.content())
        request_id = message.id
        if call.target.names_session:
            call.target.code  # noqa: B018 - raises InvalidCode, also for a notification
        if request_id is None:
            reply = Reply(202)
        else:
            request = protocol.read(message, request_id, call.headers)
            reply = _answer(call, request, _server(call, request))
    except Fault as fault:
        reply = Reply(fault.status, jsonrpc.error(request_id or fault.request_id, fault))
    except Problem as problem:
        call.refused = problem
        # An HTTP status reports a wrong URL or body; for any other refusal the response is the answer.
        status = problem.status if request_id is None or isinstance(problem, InvalidCode) else 200
        reply = Reply(status, jsonrpc.error(request_id, protocol.refusal(problem)), problem.headers)
    return reply


def _server(call: Call, request: Request) -> Server:
    if call.target.names_session:
        return SessionServer(call.access, request.era, call.connection)
    return FixedServer(partial(call.caller.access, call.store), request.era, call.connection)


def _answer(call: Call, request: Request, server: Server) -> Reply:
    if request.method == "tools/call":
        reply = _call_tool(call, request, server)
    elif request.method == "tools/list":
        if "cursor" in request.params:
            raise Fault(INVALID_PARAMS, "There is one page: leave the cursor out.")
        reply = Reply(200, jsonrpc.result(request.id, request.era.listed(server.list())))
    elif (result := request.era.handshake(request.method, server.instructions)) is not None:
        reply = Reply(200, jsonrpc.result(request.id, result))
    else:
        raise protocol.unknown_method(request)
    return reply


def _call_tool(call: Call, request: Request, server: Server) -> Reply:
    name = jsontext.shape(request.params.get("name", JsonText(b"null")))
    if not isinstance(name, str):
        raise Fault(INVALID_PARAMS, "name must be a string.")
    try:
        arguments = jsonrpc.members_of(request.params, "arguments")
    except InvalidRequest as problem:
        raise Fault(INVALID_PARAMS, problem.detail) from None
    text = request.params.get("arguments", JsonText(b"{}"))
    return tool_reply.reply(call, request, server.call(name, arguments, text))


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
