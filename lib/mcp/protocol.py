"""The Model Context Protocol over Streamable HTTP, stateless: what a message means, and the shapes of results.

Two eras share each URL. A modern request (2026-07-28) names its version in `params._meta`, and repeats the version, the
method and the tool's name in headers. A legacy request follows the handshake of `initialize`, of which nothing is kept
here. `read` finds out to which era a message belongs; an `Era` renders results as the clients of that era expect them.
Source: https://modelcontextprotocol.io/specification
"""

import base64
import binascii
from abc import ABC, abstractmethod
from email.message import Message as Headers
from typing import ClassVar, NamedTuple

from lib import VERSION, jsontext
from lib.jsontext import JsonText, array, compose, write
from lib.mcp import jsonrpc
from lib.mcp.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, Fault, Message
from lib.problems import Busy, InvalidRequest, Problem

MODERN = "2026-07-28"
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26")
# In this version results have no `structuredContent`, and tools no `outputSchema`.
_WITHOUT_STRUCTURE = "2025-03-26"

_HEADER_MISMATCH, _VERSION_UNSUPPORTED = -32020, -32022
_META = "io.modelcontextprotocol/"
_VERSION_FIELD = f"{_META}protocolVersion"
_CAPABILITIES = compose(tools=compose())
_SERVER = compose(name="parley", title="Parley", version=VERSION)
_CACHE = {"ttlMs": 0, "cacheScope": "private"}
_NULL = write(None)


class Era(ABC):
    """How the clients of one era are answered."""

    unknown_method_status: ClassVar[int]

    @abstractmethod
    def handshake(self, method: str, instructions: str) -> JsonText | None:
        """Return the result of a method with which a client gets to know a server; None for any other method."""

    @abstractmethod
    def listed(self, tools: JsonText) -> JsonText:
        """Return the result of `tools/list`."""

    @abstractmethod
    def called(
        self,
        content: JsonText,
        structured: JsonText | None = None,
        *,
        is_error: bool = False,
        meta: JsonText | None = None,
    ) -> JsonText:
        """Return the result of `tools/call`; `structured` is left out if the version does not allow it."""

    def failed(self, message: str) -> JsonText:
        """Return a result of `tools/call` that says to a model what went wrong."""
        return self.called(text(message), is_error=True)

    def refused(self, problem: Problem) -> JsonText:
        """Return a result of `tools/call` that says to a model what the relay refuses."""
        detail = "Try again in a moment." if isinstance(problem, Busy) else problem.detail
        return self.failed(f"{problem.title}. {detail}")


class Modern(Era):
    """Version 2026-07-28: each result says that it is complete, and who the server is."""

    unknown_method_status = 404

    def handshake(self, method: str, instructions: str) -> JsonText | None:
        """Answer `server/discover`."""
        if method != "server/discover":
            return None
        return _modern(supportedVersions=[MODERN], capabilities=_CAPABILITIES, instructions=instructions, **_CACHE)

    def listed(self, tools: JsonText) -> JsonText:
        """Return the tools as they are."""
        return _modern(tools=tools, **_CACHE)

    def called(
        self,
        content: JsonText,
        structured: JsonText | None = None,
        *,
        is_error: bool = False,
        meta: JsonText | None = None,
    ) -> JsonText:
        """Return a result with any JSON as `structuredContent`."""
        members = {} if structured is None else {"structuredContent": structured}
        return _modern(_members(meta), content=content, **members, isError=is_error)


class Legacy(Era):
    """A version up to 2025-11-25, which the client and the server agreed on with `initialize`."""

    unknown_method_status = 200

    def __init__(self, version: str) -> None:
        self._version = version

    def handshake(self, method: str, instructions: str) -> JsonText | None:
        """Answer `initialize` and `ping`."""
        if method == "ping":
            return compose()
        if method != "initialize":
            return None
        return compose(
            protocolVersion=self._version,
            capabilities=_CAPABILITIES,
            serverInfo=_SERVER,
            instructions=instructions,
        )

    def listed(self, tools: JsonText) -> JsonText:
        """Return the tools without each `outputSchema` that no `structuredContent` of this version can follow."""
        if tools.find(b'"outputSchema"') < 0:
            return compose(tools=tools)
        return compose(tools=array(self._tool(jsontext.members(tool)) for tool in jsontext.elements(tools)))

    def called(
        self,
        content: JsonText,
        structured: JsonText | None = None,
        *,
        is_error: bool = False,
        meta: JsonText | None = None,
    ) -> JsonText:
        """Return a result whose `structuredContent`, if the version has any, is an object."""
        members: dict[str, JsonText] = {}
        if structured is not None and structured.startswith(b"{") and self._version != _WITHOUT_STRUCTURE:
            members["structuredContent"] = structured
        extra = _members(meta)
        if extra:
            return compose(content=content, **members, isError=is_error, _meta=compose(**extra))
        return compose(content=content, **members, isError=is_error)

    def _tool(self, tool: dict[str, JsonText]) -> JsonText:
        schema = jsontext.shape(tool.get("outputSchema", _NULL))
        is_object = isinstance(schema, dict) and schema.get("type") == "object"
        if self._version == _WITHOUT_STRUCTURE or not is_object:
            tool.pop("outputSchema", None)
        return compose(**tool)


class Request(NamedTuple):
    """A JSON-RPC request as MCP reads it. `progress_token` is JSON text; None if the client wants no progress."""

    id: JsonText
    method: str
    params: dict[str, JsonText]
    era: Era
    progress_token: JsonText | None


def read(message: Message, request_id: JsonText, headers: Headers) -> Request:
    """Return what a message asks for. Raises Fault for a message that breaks the rules of its era."""
    try:
        meta = jsonrpc.members_of(message.params, "_meta")
    except InvalidRequest as problem:
        raise Fault(INVALID_PARAMS, problem.detail, 400) from None
    era = _modern_era(message, meta, headers) if _VERSION_FIELD in meta else _legacy_era(message, headers)
    token = meta.get("progressToken")
    wanted = token if token and jsonrpc.is_identifier(token) else None
    return Request(request_id, message.method, message.params, era, wanted)


def _modern_era(message: Message, meta: dict[str, JsonText], headers: Headers) -> Modern:
    version = jsontext.shape(meta[_VERSION_FIELD])
    if not isinstance(version, str):
        raise Fault(INVALID_PARAMS, f"{_VERSION_FIELD} must be a string.", 400)
    expected = {"MCP-Protocol-Version": version, "Mcp-Method": message.method}
    if message.method == "tools/call":
        expected["Mcp-Name"] = str(jsontext.shape(message.params.get("name", write(""))))
    for name, value in expected.items():
        if _decoded(headers.get(name)) != value:
            raise Fault(_HEADER_MISMATCH, f"The header {name} is missing, or differs from the body.", 400)
    if version != MODERN:
        raise _unsupported(version)
    if not meta.get(f"{_META}clientCapabilities", _NULL).startswith(b"{"):
        raise Fault(INVALID_PARAMS, f"params._meta lacks {_META}clientCapabilities, an object.", 400)
    return Modern()


def _legacy_era(message: Message, headers: Headers) -> Legacy:
    version = headers.get("MCP-Protocol-Version", "").strip()
    if version == MODERN:
        raise Fault(INVALID_PARAMS, f"params._meta lacks {_VERSION_FIELD}.", 400)
    if message.method == "initialize":
        wanted = jsontext.shape(message.params.get("protocolVersion", _NULL))
        version = wanted if isinstance(wanted, str) and wanted in LEGACY else LEGACY[0]
    elif version and version not in LEGACY:
        raise _unsupported(version)
    # A client that sends no header has to be taken for the first version that had this transport.
    return Legacy(version or LEGACY[-1])


def _decoded(header: str | None) -> str | None:
    """Return a header's value, which a client may have written as `=?base64?…?=`."""
    value = header.strip() if header is not None else None
    if value and value.startswith("=?base64?") and value.endswith("?="):
        try:
            return base64.b64decode(value[9:-2], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
    return value


def _unsupported(version: str) -> Fault:
    data = {"supported": [MODERN], "requested": version[:64]}
    return Fault(_VERSION_UNSUPPORTED, "This protocol version is not supported.", 400, data)


def unknown_method(request: Request) -> Fault:
    """Return the fault of a request whose method the servers do not have."""
    return Fault(METHOD_NOT_FOUND, f"There is no method {request.method[:64]}.", request.era.unknown_method_status)


def refusal(problem: Problem) -> Fault:
    """Return the fault of a request that the relay refuses: the code is the problem's status, the data the document."""
    return Fault(problem.status, f"{problem.title}. {problem.detail}", data=problem.body())


def progress(token: JsonText, seconds: int) -> JsonText:
    """Return the notification that a call still waits."""
    params = compose(progressToken=token, progress=seconds, message="Waiting for the host")
    return jsonrpc.notification("notifications/progress", params)


def text(value: str | JsonText) -> JsonText:
    """Return content that is one text; a JsonText is a JSON string already."""
    return array([compose(type="text", text=value)])


def _members(meta: JsonText | None) -> dict[str, JsonText]:
    """Return the members of a result's `_meta`; none if it is not an object."""
    return jsontext.members(meta) if meta and meta.startswith(b"{") else {}


def _modern(meta: dict[str, JsonText] | None = None, /, **members: object) -> JsonText:
    signed: dict[str, object] = {**(meta or {}), f"{_META}serverInfo": _SERVER}
    return compose(resultType="complete", **members, _meta=compose(**signed))
