"""What a message of the Model Context Protocol asks for, and who sends it. Streamable HTTP, stateless.

Two eras share each URL. A modern request (2026-07-28) names its version in `params._meta`, and repeats the version, the
method and the tool's name in headers. A legacy request follows the handshake of `initialize`. Nothing of that is kept
here: the id of an MCP session, which the client repeats, says who the client is.
Source: https://modelcontextprotocol.io/specification
"""

import base64
import binascii
import hashlib
import secrets
from email.message import Message as Headers
from typing import NamedTuple

from lib import jsontext
from lib.jsontext import JsonText, compose, write
from lib.mcp import jsonrpc
from lib.mcp.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, Fault, Message
from lib.mcp.results import LEGACY, META, MODERN, Era, Legacy, Modern
from lib.problems import InvalidRequest, Problem

_HEADER_MISMATCH, _VERSION_UNSUPPORTED = -32020, -32022
_VERSION_FIELD = f"{META}protocolVersion"
# The version of a client that sends no header: the first one that had this transport.
_ASSUMED = "2025-03-26"
_SESSION_HEADER = "Mcp-Session-Id"
_NULL = write(None)
# What is kept of a client's name and version, in characters.
_NAME_LENGTH, _VERSION_LENGTH = 128, 64


class Request(NamedTuple):
    """A JSON-RPC request as MCP reads it.

    `progress_token` is JSON text; None if the client wants no progress. `client` is `{"name", "version"}` as JSON text,
    with those members that the client has given; None if it has not said who it is. `call` is the name under which a
    `notifications/cancelled` cancels a tool call, `""` if none can.
    """

    id: JsonText
    method: str
    params: dict[str, JsonText]
    era: Era
    progress_token: JsonText | None
    client: JsonText | None
    call: str


def read(message: Message, request_id: JsonText, headers: Headers) -> Request:
    """Return what a message asks for. Raises Fault for a message that breaks the rules of its era."""
    try:
        meta = jsonrpc.members_of(message.params, "_meta")
    except InvalidRequest as problem:
        raise Fault(INVALID_PARAMS, problem.detail, 400) from None
    token = meta.get("progressToken")
    wanted = token if token and jsonrpc.is_identifier(token) else None
    if _VERSION_FIELD in meta:
        era: Era = _modern_era(message, meta, headers)
        client, call = _client(meta.get(f"{META}clientInfo", _NULL)), ""
    else:
        era = _legacy_era(message, headers)
        session_id = headers.get(_SESSION_HEADER, "").strip()
        client, call = _client_in(session_id), _call(session_id, request_id)
    return Request(request_id, message.method, message.params, era, wanted, client, call)


def session_headers(request: Request) -> dict[str, str]:
    """Return the header with which `initialize` gives a client the id of its MCP session; none for other methods.

    The id is random, and carries the client's name, because nothing is stored.
    """
    if request.method != "initialize":
        return {}
    client = _client(request.params.get("clientInfo", _NULL)) or JsonText(b"")
    return {_SESSION_HEADER: f"{secrets.token_urlsafe(16)}.{base64.urlsafe_b64encode(client).decode()}"}


def cancelled_call(message: Message, headers: Headers) -> str:
    """Return the call that a notification cancels, named as in `Request.call`; `""` if it cancels none."""
    if message.method != "notifications/cancelled":
        return ""
    return _call(headers.get(_SESSION_HEADER, "").strip(), message.params.get("requestId", JsonText(b"")))


def _modern_era(message: Message, meta: dict[str, JsonText], headers: Headers) -> Modern:
    version = jsontext.shape(meta[_VERSION_FIELD])
    if not isinstance(version, str):
        raise Fault(INVALID_PARAMS, f"{_VERSION_FIELD} must be a string.", 400)
    stated = _values(headers, "MCP-Protocol-Version")
    if stated - {version, *LEGACY} or not stated:
        raise _mismatch("MCP-Protocol-Version")
    # Claude's connectors send the header of a legacy version, and some proxies a header twice. Then the body decides.
    is_exact = headers.get_all("MCP-Protocol-Version", []) == [version]
    expected = {"Mcp-Method": message.method}
    if message.method == "tools/call":
        expected["Mcp-Name"] = str(jsontext.shape(message.params.get("name", write(""))))
    for name, value in expected.items():
        if (name in headers or is_exact) and not _agrees(headers, name, value):
            raise _mismatch(name)
    if version != MODERN:
        raise _unsupported(version)
    if not meta.get(f"{META}clientCapabilities", _NULL).startswith(b"{"):
        raise Fault(INVALID_PARAMS, f"params._meta lacks {META}clientCapabilities, an object.", 400)
    return Modern()


def _legacy_era(message: Message, headers: Headers) -> Legacy:
    stated = _values(headers, "MCP-Protocol-Version")
    if MODERN in stated:
        raise Fault(INVALID_PARAMS, f"params._meta lacks {_VERSION_FIELD}.", 400)
    if message.method == "initialize":
        wanted = jsontext.shape(message.params.get("protocolVersion", _NULL))
        return Legacy(wanted if isinstance(wanted, str) and wanted in LEGACY else LEGACY[0])
    if stated - set(LEGACY):
        raise _unsupported(min(stated - set(LEGACY)))
    return Legacy(max(stated, default=_ASSUMED))


def _values(headers: Headers, name: str) -> set[str]:
    """Return the values of a header, which a proxy may have joined with commas."""
    joined = ",".join(headers.get_all(name, []))
    return {value.strip() for value in joined.split(",") if value.strip()}


def _agrees(headers: Headers, name: str, expected: str) -> bool:
    """Return whether a header has the expected value: once, or several times."""
    as_sent = {_decoded(line) for line in headers.get_all(name, [])}
    joined = {_decoded(value) for value in _values(headers, name)}
    return {expected} in (as_sent, joined)


def _decoded(header: str) -> str | None:
    """Return a header's value, which a client may have written as `=?base64?…?=`; None if it is not well formed."""
    value = header.strip()
    if value.startswith("=?base64?") and value.endswith("?="):
        try:
            return base64.b64decode(value[9:-2], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
    return value


def _client(info: JsonText) -> JsonText | None:
    """Return what is passed on of a client's description of itself."""
    given = jsontext.shape(info)
    if not isinstance(given, dict):
        return None
    lengths = {"name": _NAME_LENGTH, "version": _VERSION_LENGTH}
    kept = {field: given[field][:length] for field, length in lengths.items() if isinstance(given.get(field), str)}
    return jsontext.replace_lone_surrogates(compose(**kept)) if kept else None


def _client_in(session_id: str) -> JsonText | None:
    """Return the client that an id of `session_headers` carries. Clients may send anything as their id."""
    try:
        info = base64.b64decode(session_id.partition(".")[2], altchars="-_", validate=True)
        return _client(JsonText(info)) if info else None
    except (ValueError, RecursionError):
        return None


def _call(session_id: str, request_id: JsonText) -> str:
    if not session_id or not request_id:
        return ""
    return hashlib.sha256(session_id.encode(errors="replace") + b" " + request_id).hexdigest()[:32]


def _mismatch(header: str) -> Fault:
    return Fault(_HEADER_MISMATCH, f"The header {header} is missing, or differs from the body.", 400)


def _unsupported(version: str) -> Fault:
    data = {"supported": [MODERN, *LEGACY], "requested": version[:64]}
    return Fault(_VERSION_UNSUPPORTED, "This protocol version is not supported.", 400, data)


def unknown_method(request: Request) -> Fault:
    """Return the fault of a request whose method the servers do not have."""
    return Fault(METHOD_NOT_FOUND, f"There is no method {request.method[:64]}.", request.era.unknown_method_status)


def refusal(problem: Problem) -> Fault:
    """Return the fault of a request that the relay refuses: the code is the problem's status, the data the document."""
    return Fault(problem.status, f"{problem.title}. {problem.detail}", data=problem.body())
