"""/mcp/{code}: the tools of one session over MCP. /mcp: tools that take a code, for an agent that is set up once."""

import threading
from contextlib import suppress
from functools import partial

from lib import jsontext, settings
from lib.jsontext import JsonText
from lib.mcp import jsonrpc, list_changes, page, protocol, tool_call, tool_reply
from lib.mcp.jsonrpc import INVALID_PARAMS, Fault, Message
from lib.mcp.protocol import Request
from lib.mcp.results import Modern
from lib.mcp.servers import FixedServer, Server, SessionServer
from lib.problems import InvalidCode, InvalidRequest, MethodNotAllowed, Problem, SessionEnded, SessionNotFound
from lib.session import messages
from lib.wait import tool_list
from lib.web import sse
from lib.web.call import Call
from lib.web.endpoint import Actions, Endpoint, Reply

# The platform lets no more through. A call that is over the limits of a message gets a result which says so.
_PLATFORM_BYTES = 4_500_000
# Large messages are read one at a time: while a JSON text is checked, it takes up to twenty times its size.
_large = threading.Lock()
_LARGE_BYTES = 256 * 1024


def receive(call: Call) -> Reply:
    """Answer a JSON-RPC request; accept notifications and responses, which get no answer."""
    request_id: JsonText | None = None
    answers_with_result = True
    try:
        _check_origin(call)
        message = _message(call)
        request_id = message.id
        _check_code(call)
        if request_id is None:
            _take_notice(call, message)
            reply = Reply(202)
        else:
            answers_with_result = message.method != "subscriptions/listen"
            request = protocol.read(message, request_id, call.headers)
            reply = _answer(call, request, _server(call, request))
    except Fault as fault:
        reply = Reply(fault.status, jsonrpc.error(request_id or fault.request_id, fault))
    except Problem as problem:
        call.refused = problem
        # An HTTP status reports a wrong URL or body, or that there is no stream; any other refusal is an answer.
        is_answer = request_id is not None and answers_with_result and not isinstance(problem, InvalidCode)
        status = 200 if is_answer else problem.status
        reply = Reply(status, jsonrpc.error(request_id, protocol.refusal(problem)), problem.headers)
    return reply


def listen(call: Call) -> Reply:
    """Send a client of a legacy version what changes in the session's list of tools; show a browser what is here."""
    _check_code(call)
    if call.takes_events and call.target.names_session and call.method == "GET":
        events = list_changes.legacy(tool_list.watch(call.access, call.connection))
        return Reply(200, headers=sse.HEADERS, stream=events)
    if call.accepts("text/html"):
        content = page.render(call.url, names_session=call.target.names_session)
        return Reply(200, content, media_type="text/html; charset=utf-8")
    raise MethodNotAllowed(call.method, "POST, OPTIONS")


def _message(call: Call) -> Message:
    body = call.content()
    if len(body) < _LARGE_BYTES:
        return jsonrpc.parse(body)
    with _large:
        return jsonrpc.parse(body)


def _take_notice(call: Call, message: Message) -> None:
    """Cancel the call that a notification cancels. Others need nothing."""
    cancelled = protocol.cancelled_call(message, call.headers)
    if cancelled:
        with suppress(SessionNotFound, SessionEnded):  # and with the session its calls are over
            if call.target.names_session:
                messages.cancel(call.access, cancelled)
            else:
                tool_call.cancel_here(cancelled, partial(call.caller.access, call.store))


def _server(call: Call, request: Request) -> Server:
    if call.target.names_session:
        return SessionServer(call.access, request, call.connection)
    return FixedServer(partial(call.caller.access, call.store), request, call.connection)


def _answer(call: Call, request: Request, server: Server) -> Reply:
    if request.method == "tools/call":
        reply = _call_tool(call, request, server)
    elif request.method == "tools/list":
        if request.params.get("cursor", b"null") not in (b"null", b'""'):
            raise Fault(INVALID_PARAMS, "There is one page: leave the cursor out.")
        reply = Reply(200, jsonrpc.result(request.id, request.era.listed(server.list())))
    elif request.method == "subscriptions/listen" and isinstance(request.era, Modern):
        watch = tool_list.watch(call.access, call.connection) if call.target.names_session else None
        events = list_changes.modern(request, watch)
        reply = Reply(200, headers=sse.HEADERS, stream=events, opening=next(events))
    elif (result := request.era.handshake(request.method, server.introduction)) is not None:
        reply = Reply(200, jsonrpc.result(request.id, result), protocol.session_headers(request))
    else:
        raise protocol.unknown_method(request)
    return reply


def _call_tool(call: Call, request: Request, server: Server) -> Reply:
    name = jsontext.shape(request.params.get("name", JsonText(b"null")))
    if not isinstance(name, str):
        raise Fault(INVALID_PARAMS, "name must be a string.")
    try:
        text = jsonrpc.object_of(request.params, "arguments")
        arguments = jsontext.members(text)
    except InvalidRequest as problem:
        raise Fault(INVALID_PARAMS, problem.detail) from None
    return tool_reply.reply(call, request, server.call(name, arguments, text))


def _check_code(call: Call) -> None:
    """Refuse a URL whose code is not one, also for what needs no session. Raises InvalidCode."""
    if call.target.names_session:
        call.target.code  # noqa: B018 - raises it


def _check_origin(call: Call) -> None:
    """Refuse pages of another origin than the one that may call the API. Raises Fault."""
    allowed, origin = settings.allowed_origin(), call.headers.get("Origin")
    if origin and allowed not in ("*", origin):
        raise Fault(403, "Pages of this origin may not call.", 403)


class handler(Endpoint):
    """An MCP server over Streamable HTTP."""

    most_bytes = _PLATFORM_BYTES

    def actions(self, call: Call) -> Actions:
        """Return what it answers."""
        return {"POST": receive, "GET": listen}
