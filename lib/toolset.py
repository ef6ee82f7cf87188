"""The two MCP servers: one has the tools of a session, the other a few fixed tools that take a session's code."""

from collections.abc import Callable, Generator, Iterator

from lib import codes, jsontext, mcp, toolcall, tools
from lib.access import Access
from lib.jsonrpc import INVALID_PARAMS, Fault
from lib.jsontext import JsonText, compose
from lib.problems import InvalidCode, InvalidRequest, Problem

type Results = Iterator[JsonText | None]
type Run = Callable[[Access, JsonText], Generator[JsonText | None]]

SESSION_INSTRUCTIONS = (
    "These are the tools of one page or program that somebody has paired with you by a code. They change with it: list "
    "them again if a tool is unknown. The pairing ends after ten minutes unless it is renewed on the other side."
)
FIXED_INSTRUCTIONS = (
    "Somebody who pairs a page or program with you gives you a code of eight letters and digits, like ABC1-2345. List "
    "its tools with list_tools, call one with call_tool, or ask it anything with send_request. A code lives for about "
    "ten minutes."
)
_CODE = {"type": "string", "description": "The code that the page or program shows, like ABC1-2345."}
_PAYLOAD = {"description": "Any JSON value: what to ask the host."}
_SEND_DESCRIPTION = "Send any JSON to the page or program with this code, and get what it answers."


def _tool(
    name: str, title: str, description: str, properties: dict[str, object], optional: str = ""
) -> dict[str, object]:
    required = [field for field in properties if field != optional]
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"name": name, "title": title, "description": description, "inputSchema": schema}


_SEND_REQUEST = jsontext.write(
    [_tool("send_request", "Send a request", _SEND_DESCRIPTION.replace(" with this code", ""), {"payload": _PAYLOAD})]
)
_FIXED = jsontext.write(
    [
        _tool(
            "list_tools",
            "List a session's tools",
            "List the tools of the page or program with this code.",
            {"code": _CODE},
        )
        | {"annotations": {"readOnlyHint": True}},
        _tool(
            "call_tool",
            "Call a session's tool",
            "Call a tool of the page or program with this code, and get its result.",
            {
                "code": _CODE,
                "name": {"type": "string", "description": "The tool's name, as list_tools has it."},
                "arguments": {"type": "object", "description": "The tool's arguments, as its inputSchema has them."},
            },
            "arguments",
        ),
        _tool("send_request", "Send a request", _SEND_DESCRIPTION, {"code": _CODE, "payload": _PAYLOAD}),
    ]
)


class SessionServer:
    """The server of one session."""

    instructions = SESSION_INSTRUCTIONS

    def __init__(self, access: Access, run: Run, speaks: str) -> None:
        self._access = access
        self._run = run
        self._speaks = speaks

    def list(self) -> JsonText:
        """Return the session's tools, or the one that any session has. Raises a Problem."""
        found = tools.read(self._access)
        return _SEND_REQUEST if found == "[]" else found

    def call(self, name: str, arguments: dict[str, JsonText], text: JsonText) -> Results:
        """Yield what `toolcall.run` does."""
        if name == "send_request" and self.list() is _SEND_REQUEST:
            if "payload" not in arguments:
                return iter([toolcall.failed("payload is missing: any JSON value.", self._speaks)])
            return self._run(self._access, arguments["payload"])
        return self._run(self._access, toolcall.tool_payload(name, text))


class FixedServer:
    """The server for every session; `access` makes the access to one."""

    instructions = FIXED_INSTRUCTIONS

    def __init__(self, access: Callable[[str], Access], run: Run, speaks: str) -> None:
        self._access = access
        self._run = run
        self._speaks = speaks

    def list(self) -> JsonText:
        """Return the fixed tools."""
        return _FIXED

    def call(self, name: str, arguments: dict[str, JsonText], text: JsonText) -> Results:
        """Yield what `toolcall.run` does. Raises Fault for an unknown tool."""
        wanted = {"list_tools": ("code",), "call_tool": ("code", "name"), "send_request": ("code", "payload")}.get(name)
        if wanted is None:
            raise Fault(INVALID_PARAMS, f"Unknown tool: {name[:128]}")
        try:
            for field in wanted:
                if field not in arguments:
                    raise InvalidRequest(f"{field} is missing.")
            access = self._access(codes.parse(_string(arguments, "code")))
            if name == "list_tools":
                return iter([self._listed(access)])
            if name == "send_request":
                return self._run(access, arguments["payload"])
            given = arguments.get("arguments", JsonText("{}"))
            if not given.startswith("{"):
                raise InvalidRequest("arguments must be an object.")
            return self._run(access, toolcall.tool_payload(_string(arguments, "name"), given))
        except Problem as problem:
            return iter([toolcall.failed(f"{problem.title}. {problem.detail}", self._speaks)])

    def _listed(self, access: Access) -> JsonText:
        found = compose(tools=tools.read(access))
        return mcp.called(self._speaks, mcp.text(str(found)), found)


def _string(arguments: dict[str, JsonText], field: str) -> str:
    value = jsontext.shape(arguments[field])
    if not isinstance(value, str):
        raise (
            InvalidCode("The code must be a string.")
            if field == "code"
            else InvalidRequest(f"{field} must be a string.")
        )
    return value
