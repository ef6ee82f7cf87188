"""The Model Context Protocol over Streamable HTTP, stateless: which version is spoken, and the shapes of its answers.

Two eras share one URL. A modern request (2026-07-28) names its version in `params._meta`, and repeats it, its method
and its tool's name in headers; a legacy one follows the handshake of `initialize`, of which nothing is kept here.
Source: https://modelcontextprotocol.io/specification
"""

import base64
import binascii
from email.message import Message as Headers

from lib import jsontext
from lib.jsontext import JsonText, compose
from lib.mcp import jsonrpc
from lib.mcp.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, Fault, Message
from lib.problems import Busy, InvalidRequest, Problem

MODERN = "2026-07-28"
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26")

_HEADER_MISMATCH, _VERSION_UNSUPPORTED = -32020, -32022
_META = "io.modelcontextprotocol/"
_CAPABILITIES = JsonText('{"tools":{}}')
_SERVER = compose(name="parley", title="Parley", version="2.0.0")
_CACHE = {"ttlMs": 0, "cacheScope": "private"}


def version(message: Message, headers: Headers) -> str:
    """Return the protocol version that a request speaks. Raises Fault for one that breaks the rules of its era."""
    named = headers.get("MCP-Protocol-Version", "").strip()
    try:
        meta = jsonrpc.members_of(message.params, "_meta")
    except InvalidRequest as problem:
        raise Fault(INVALID_PARAMS, problem.detail, 400) from None
    if f"{_META}protocolVersion" in meta:
        _check_modern(message, meta, headers, named)
        return MODERN
    if named == MODERN:
        raise Fault(INVALID_PARAMS, f"params._meta lacks {_META}protocolVersion.", 400)
    if message.method == "initialize":
        wanted = jsontext.shape(message.params.get("protocolVersion", JsonText("null")))
        return wanted if isinstance(wanted, str) and wanted in LEGACY else LEGACY[0]
    if named and named not in LEGACY:
        raise _unsupported(named)
    return named or LEGACY[-1]


def _check_modern(message: Message, meta: dict[str, JsonText], headers: Headers, named: str) -> None:
    wanted = jsontext.shape(meta[f"{_META}protocolVersion"])
    if not isinstance(wanted, str):
        raise Fault(INVALID_PARAMS, f"{_META}protocolVersion must be a string.", 400)
    expected = {"MCP-Protocol-Version": wanted, "Mcp-Method": message.method}
    if message.method == "tools/call":
        expected["Mcp-Name"] = str(jsontext.shape(message.params.get("name", JsonText('""'))))
    for name, value in expected.items():
        if _decoded(headers.get(name)) != value:
            raise Fault(_HEADER_MISMATCH, f"The header {name} is missing, or differs from the body.", 400)
    if wanted != MODERN:
        raise _unsupported(wanted)
    if not meta.get(f"{_META}clientCapabilities", JsonText("")).startswith("{"):
        raise Fault(INVALID_PARAMS, f"params._meta lacks {_META}clientCapabilities, an object.", 400)


def _decoded(header: str | None) -> str | None:
    """Return a header's value, which a client may have written as `=?base64?…?=`."""
    text = header.strip() if header is not None else None
    if text and text.startswith("=?base64?") and text.endswith("?="):
        try:
            return base64.b64decode(text[9:-2], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
    return text


def _unsupported(wanted: str) -> Fault:
    data = {"supported": [MODERN], "requested": wanted[:64]}
    return Fault(_VERSION_UNSUPPORTED, "This protocol version is not supported.", 400, data)


def no_method(speaks: str, method: str) -> Fault:
    """Return the fault of a method that there is not."""
    return Fault(METHOD_NOT_FOUND, f"There is no method {method[:64]}.", 404 if speaks == MODERN else 200)


def refusal(problem: Problem) -> Fault:
    """Return the fault of a request that the relay refuses: the code is the problem's status, the data the document."""
    return Fault(problem.status, f"{problem.title}. {problem.detail}", data=problem.body())


def progress_token(message: Message) -> JsonText | None:
    """Return what the client wants progress to be called by; None if it wants none. Raises InvalidRequest."""
    token = jsonrpc.members_of(message.params, "_meta").get("progressToken")
    return token if token and jsonrpc.IDENTIFIER.match(token) else None


def progress(token: JsonText, seconds: int) -> JsonText:
    """Return the notification that a call is still waited for."""
    told = compose(progressToken=token, progress=seconds, message="Waiting for the host")
    return jsonrpc.notification("notifications/progress", told)


def initialized(speaks: str, instructions: str) -> JsonText:
    """Return the result of `initialize`."""
    return compose(protocolVersion=speaks, capabilities=_CAPABILITIES, serverInfo=_SERVER, instructions=instructions)


def discovered(instructions: str) -> JsonText:
    """Return the result of `server/discover`."""
    return _result(MODERN, supportedVersions=[MODERN], capabilities=_CAPABILITIES, instructions=instructions, **_CACHE)


def listed(speaks: str, tools: JsonText) -> JsonText:
    """Return the result of `tools/list`: in an old version without what its clients would not understand."""
    if speaks == MODERN:
        return _result(speaks, tools=tools, **_CACHE)
    if '"outputSchema"' not in tools:
        return _result(speaks, tools=tools)
    old = ",".join(_old_tool(speaks, jsontext.members(tool.encode())) for tool in jsontext.elements(tools))
    return _result(speaks, tools=JsonText(f"[{old}]"))


def _old_tool(speaks: str, tool: dict[str, JsonText]) -> JsonText:
    """Return a tool without an `outputSchema` that no `structuredContent` of this version can follow."""
    schema = jsontext.shape(tool.get("outputSchema", JsonText("null")))
    if speaks == LEGACY[-1] or not isinstance(schema, dict) or schema.get("type") != "object":
        tool.pop("outputSchema", None)
    return compose(**tool)


def called(
    speaks: str,
    content: JsonText,
    structured: JsonText | None = None,
    *,
    is_error: bool = False,
    meta: JsonText | None = None,
) -> JsonText:
    """Return the result of `tools/call`; `structured` is left out if the version does not allow it."""
    told: dict[str, object] = {"content": content}
    if structured is not None and (speaks == MODERN or (structured.startswith("{") and speaks != LEGACY[-1])):
        told["structuredContent"] = structured
    own = jsontext.members(meta.encode()) if meta and meta.startswith("{") else {}
    return _result(speaks, own, **told, isError=is_error)


def failed(speaks: str, message: str) -> JsonText:
    """Return a result of `tools/call` that tells a model what went wrong."""
    return called(speaks, text(message), is_error=True)


def refused(speaks: str, problem: Problem) -> JsonText:
    """Return a result of `tools/call` that tells a model what the relay refuses."""
    detail = "Try again in a moment." if isinstance(problem, Busy) else problem.detail
    return failed(speaks, f"{problem.title}. {detail}")


def text(value: str | JsonText) -> JsonText:
    """Return content that is one text; a JsonText is a JSON string already."""
    return JsonText(f"[{compose(type='text', text=value)}]")


def _result(speaks: str, meta: dict[str, JsonText] | None = None, /, **members: object) -> JsonText:
    """Return a result with these members; a modern one says what it is, and who says it."""
    own: dict[str, object] = {**(meta or {})}
    if speaks == MODERN:
        own[f"{_META}serverInfo"] = _SERVER
        members = {"resultType": "complete", **members}
    return compose(**members, _meta=compose(**own)) if own else compose(**members)
