"""A host's answer to a tool call, made into a result of `tools/call`."""

from contextlib import suppress

from lib import jsontext
from lib.jsontext import JsonText
from lib.mcp import protocol
from lib.mcp.jsonrpc import INVALID_PARAMS, Fault
from lib.mcp.protocol import Era
from lib.problems import InvalidJson, InvalidRequest
from lib.session.messages import Response

# The content blocks of MCP, each with its members that must be strings; a `resource` has them one level deeper.
_BLOCKS = {
    "text": ("text",),
    "image": ("data", "mimeType"),
    "audio": ("data", "mimeType"),
    "resource_link": ("uri", "name"),
}


def result_of(response: Response, era: Era) -> JsonText:
    """Return the result in a host's answer.

    A `CallToolResult` stays as it is, any other text becomes text, other JSON becomes `structuredContent` with a copy
    as text, and an error becomes a result with `isError`. Raises Fault if the host says that it has no such tool.
    """
    answer = response.answer or JsonText(b"null")
    if response.kind == "error":
        result = era.failed(_error_message(answer))
    elif members := _call_tool_result(answer):
        result = era.called(
            members["content"],
            members.get("structuredContent"),
            is_error=members.get("isError") == b"true",
            meta=members.get("_meta"),
        )
    elif answer.startswith(b'"'):
        result = era.called(protocol.text(answer))
    else:
        result = era.called(protocol.text(answer.decode()), answer)
    return result


def _call_tool_result(answer: JsonText) -> dict[str, JsonText]:
    """Return the members of an answer that is a `CallToolResult`; none if it is another value."""
    if answer.startswith(b"{"):
        with suppress(InvalidRequest, InvalidJson):
            members = jsontext.members(answer)
            if _is_content(members.get("content")):
                return members
    return {}


def _error_message(answer: JsonText) -> str:
    """Return what the host's `error` says. Raises Fault for an unknown tool."""
    error = jsontext.shape(answer)
    message = error.get("message") if isinstance(error, dict) else error
    if isinstance(error, dict) and error.get("code") == "unknown_tool":
        raise Fault(INVALID_PARAMS, message if isinstance(message, str) else "The session has no such tool.")
    return message if isinstance(message, str) else answer.decode()


def _is_content(text: JsonText | None) -> bool:
    """Return whether a text is a list of content blocks, as far as a client needs them to be."""
    content = jsontext.shape(text) if text else None
    return isinstance(content, list) and all(_is_block(block) for block in content)


def _is_block(block: object) -> bool:
    match block:
        case {"type": "resource", "resource": {"uri": str(), "text": str()} | {"uri": str(), "blob": str()}}:
            return True
        case {"type": str(kind), **members} if kind in _BLOCKS:
            return all(isinstance(members.get(name), str) for name in _BLOCKS[kind])
    return False
