"""The two MCP servers: one has the tools of a session, the other a few fixed tools that take a session's code."""

import json
import socket
from collections.abc import Callable
from typing import NamedTuple

from lib import jsontext
from lib.jsontext import JsonText, array, compose
from lib.mcp import jsonrpc, results, tool_call
from lib.mcp.jsonrpc import INVALID_PARAMS, Fault
from lib.mcp.protocol import Request
from lib.mcp.results import Introduction, Outcome, UnknownTool
from lib.mcp.tool_call import Results
from lib.problems import InvalidCode, InvalidRequest
from lib.session import codes, tools
from lib.session.access import Access

type Server = SessionServer | FixedServer

SESSION_INSTRUCTIONS = (
    "These are the tools of one page or program that somebody has paired with you by a code. They change with it: list "
    "them again if a tool is unknown. The pairing ends after ten minutes unless it is renewed on the other side."
)
FIXED_INSTRUCTIONS = (
    "Somebody who pairs a page or program with you gives you a code of eight letters and digits, like ABC1-2345. List "
    "its tools with list_tools, call one with call_tool, or ask it anything with send_request. A code lives for about "
    "ten minutes."
)


class _Tool(NamedTuple):
    """A tool of the relay itself: its definition as `tools/list` has it, and argument -> whether it is required."""

    listed: JsonText
    arguments: dict[str, bool]


def _tool(
    name: str, title: str, description: str, properties: dict[str, object], optional: str = "", **annotations: bool
) -> _Tool:
    arguments = {field: field != optional for field in properties}
    required = [field for field, needed in arguments.items() if needed]
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    definition: dict[str, object] = {"name": name, "title": title, "description": description, "inputSchema": schema}
    if annotations:
        definition["annotations"] = annotations
    return _Tool(jsontext.write(definition), arguments)


_CODE = {"type": "string", "description": "The code that the page or program shows, like ABC1-2345."}
_NAME = {"type": "string", "description": "The tool's name, as list_tools has it."}
_ARGUMENTS = {"type": "object", "description": "The tool's arguments, as its inputSchema has them."}
# With each type by its name: one client sends what has no type as a string of JSON, another refuses a list of types.
_PAYLOAD = {
    "description": "Any JSON value: what to ask the host.",
    "anyOf": [
        {"type": "object"},
        {"type": "array", "items": {}},
        *({"type": kind} for kind in ("string", "number", "boolean", "null")),
    ],
}

# What a session without tools has.
_SEND_REQUEST = _tool(
    "send_request",
    "Send a request",
    "Send any JSON to the page or program, and get what it answers.",
    {"payload": _PAYLOAD},
)
_FIXED = {
    "list_tools": _tool(
        "list_tools",
        "List a session's tools",
        "List the tools of the page or program with this code.",
        {"code": _CODE},
        readOnlyHint=True,
    ),
    "call_tool": _tool(
        "call_tool",
        "Call a session's tool",
        "Call a tool of the page or program with this code, and get its result.",
        {"code": _CODE, "name": _NAME, "arguments": _ARGUMENTS},
        optional="arguments",
    ),
    "send_request": _tool(
        "send_request",
        "Send a request",
        "Send any JSON to the page or program with this code, and get what it answers.",
        {"code": _CODE, "payload": _PAYLOAD},
    ),
}


class SessionServer:
    """The server of one session."""

    introduction = Introduction(compose(tools=compose(listChanged=True)), SESSION_INSTRUCTIONS)

    def __init__(self, access: Access, request: Request, connection: socket.socket) -> None:
        self._access = access
        self._request = request
        self._connection = connection

    def list(self) -> JsonText:
        """Return the session's tools, or the tool of a session that has none. Raises a Problem."""
        found = tools.read(self._access, self._request.client or compose())
        return array([_SEND_REQUEST.listed]) if found == tools.NONE else found

    def call(self, name: str, arguments: dict[str, JsonText], text: JsonText) -> Results:
        """Yield what `tool_call.run` does; `text` is the JSON of the arguments.

        Raises what `tool_call.run` does, and a Fault for an unknown tool.
        """
        payload = tool_call.tool_payload(name, text, self._request.client)
        if name == "send_request" and tools.read(self._access) == tools.NONE:
            _check(arguments, _SEND_REQUEST)
            payload = arguments["payload"]
        try:
            yield from tool_call.run(self._access, payload, self._request, self._connection)
        except UnknownTool as unknown:
            raise Fault(INVALID_PARAMS, str(unknown)) from None


class FixedServer:
    """The server for every session; `access` makes the access to the session of a code."""

    introduction = Introduction(compose(tools=compose()), FIXED_INSTRUCTIONS)

    def __init__(self, access: Callable[[str], Access], request: Request, connection: socket.socket) -> None:
        self._access = access
        self._request = request
        self._connection = connection

    def list(self) -> JsonText:
        """Return the fixed tools."""
        return array(tool.listed for tool in _FIXED.values())

    def call(self, name: str, arguments: dict[str, JsonText], text: JsonText) -> Results:
        """Yield what `tool_call.run` does, and raise what it does; a Fault for an unknown tool."""
        if name not in _FIXED:
            raise Fault(INVALID_PARAMS, f"Unknown tool: {name[:128]}")
        _check(arguments, _FIXED[name])
        access = self._access(codes.parse(_string(arguments, "code")))
        if name == "list_tools":
            found = compose(tools=tools.read(access, self._request.client or compose()))
            yield self._request.era.called(Outcome(results.text(found.decode()), found))
            return
        payload = self._payload(arguments) if name == "call_tool" else arguments["payload"]
        try:
            yield from tool_call.run(access, payload, self._request, self._connection)
        except UnknownTool:
            yield self._request.era.failed(_unknown_tool(_string(arguments, "name"), tools.read(access)))

    def _payload(self, arguments: dict[str, JsonText]) -> JsonText:
        """Return the request that `call_tool` asks for. Raises InvalidRequest."""
        given = jsonrpc.object_of(arguments, "arguments")
        return tool_call.tool_payload(_string(arguments, "name"), given, self._request.client)


def _unknown_tool(name: str, listed: JsonText) -> str:
    """Return what a model needs to know that has called a tool which is not in the list."""
    found = jsontext.shape(listed)
    names = [tool["name"] for tool in found] if isinstance(found, list) else []
    there = f"Its tools are: {', '.join(names)}." if names else "It has none: use send_request."
    return f"The session has no tool {json.dumps(name[:128])}. {there}"


def _check(arguments: dict[str, JsonText], tool: _Tool) -> None:
    """Compare the names of arguments with those that a tool has. Raises InvalidRequest."""
    for field in arguments.keys() - tool.arguments.keys():
        known = ", ".join(tool.arguments)
        raise InvalidRequest(f"{json.dumps(field[:64])} is not an argument here. Known: {known}.")
    for field, needed in tool.arguments.items():
        if needed and field not in arguments:
            raise InvalidRequest(f"{field} is missing.")


def _string(arguments: dict[str, JsonText], field: str) -> str:
    value = jsontext.shape(arguments[field])
    if isinstance(value, str):
        return value
    raise InvalidCode("The code must be a string.") if field == "code" else InvalidRequest(f"{field} must be a string.")
