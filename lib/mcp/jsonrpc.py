"""JSON-RPC 2.0: one message in, one message out. Ids, parameters and results pass through as they are written.

Source: https://www.jsonrpc.org/specification
"""

import re
from typing import NamedTuple

from lib import jsontext
from lib.jsontext import JsonText, compose
from lib.problems import InvalidJson, InvalidRequest

# The beginning of what an id, or MCP's progress token, may be: a string, or a whole number.
_IDENTIFIER = re.compile(rb'"|-?[0-9]+\Z')

_NULL = JsonText(b"null")

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602


class Fault(Exception):
    """An error response: its code, message and data, the HTTP status, and the request's id if it could be read."""

    def __init__(
        self, code: int, message: str, status: int = 200, data: object = None, request_id: JsonText | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.data = data
        self.request_id = request_id


class Message(NamedTuple):
    """A request, or a message that gets no answer: a notification has no `id`, a response is `RESPONSE`."""

    id: JsonText | None
    method: str
    params: dict[str, JsonText]


# Every response: the relay asks its clients nothing, so it has no use for what they answer.
RESPONSE = Message(None, "", {})


def parse(body: bytes) -> Message:
    """Return the message in a body. Raises Fault."""
    try:
        members = jsontext.members(body)
    except InvalidJson as problem:
        raise Fault(PARSE_ERROR, problem.detail, 400) from None
    except InvalidRequest as problem:
        raise Fault(INVALID_REQUEST, f"One JSON-RPC message is expected. {problem.detail}", 400) from None
    if members.get("jsonrpc") != b'"2.0"':
        raise Fault(INVALID_REQUEST, 'jsonrpc must be "2.0".', 400)
    if "method" not in members and members.keys() & {"result", "error"}:
        return RESPONSE
    request_id = members.get("id")
    if request_id is not None and not is_identifier(request_id):
        raise Fault(INVALID_REQUEST, "id must be a string or a whole number.", 400)
    method = jsontext.shape(members.get("method", _NULL))
    if not isinstance(method, str):
        raise Fault(INVALID_REQUEST, "method must be a string.", 400, request_id=request_id)
    try:
        return Message(request_id, method, members_of(members, "params"))
    except InvalidRequest as problem:
        raise Fault(INVALID_PARAMS, problem.detail, 400, request_id=request_id) from None


def members_of(members: dict[str, JsonText], name: str) -> dict[str, JsonText]:
    """Return the members of a member that is an object; none if it is left out, or null. Raises InvalidRequest."""
    return jsontext.members(object_of(members, name))


def object_of(members: dict[str, JsonText], name: str) -> JsonText:
    """Return a member that is an object as it is written; `{}` if it is left out, or null. Raises InvalidRequest."""
    text = members.get(name, _NULL)
    if text == _NULL:
        return JsonText(b"{}")
    if not text.startswith(b"{"):
        raise InvalidRequest(f"{name} must be an object.")
    return text


def is_identifier(text: JsonText) -> bool:
    """Return whether a JSON value may be an id: a string or a whole number."""
    return _IDENTIFIER.match(text) is not None


def result(request_id: JsonText, value: JsonText) -> JsonText:
    """Build a response."""
    return compose(jsonrpc="2.0", id=request_id, result=jsontext.replace_lone_surrogates(value))


def error(request_id: JsonText | None, fault: Fault) -> JsonText:
    """Build an error response. `id` is omitted when the request's id could not be read."""
    members: dict[str, object] = {"code": fault.code, "message": fault.message}
    if fault.data is not None:
        members["data"] = fault.data
    identity = {} if request_id is None else {"id": request_id}
    return compose(jsonrpc="2.0", **identity, error=jsontext.replace_lone_surrogates(compose(**members)))


def notification(method: str, params: JsonText | None = None) -> JsonText:
    """Build a notification."""
    members = {} if params is None else {"params": jsontext.replace_lone_surrogates(params)}
    return compose(jsonrpc="2.0", method=method, **members)
