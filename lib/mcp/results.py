"""Results as the clients of MCP's two eras expect them: of the relay's methods, and of hosts' answers to tool calls.

Source: https://modelcontextprotocol.io/specification
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from lib import VERSION, jsontext
from lib.jsontext import JsonText, array, compose, write
from lib.problems import Busy, InvalidJson, InvalidRequest, PayloadTooLarge, Problem
from lib.session.messages import Response

MODERN = "2026-07-28"
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
# In these versions results have no `structuredContent`, and tools no `outputSchema`.
_WITHOUT_STRUCTURE = ("2025-03-26", "2024-11-05")

META = "io.modelcontextprotocol/"
_SERVER = compose(name="parley", title="Parley", version=VERSION)
_CACHE = {"ttlMs": 0, "cacheScope": "private"}
_NULL = write(None)

# The members of a CallToolResult.
_RESULT_MEMBERS = frozenset({"content", "structuredContent", "isError", "_meta", "resultType"})
# The content blocks of MCP, each with its members that must be strings; a `resource` has them one level deeper.
_BLOCKS = {
    "text": ("text",),
    "image": ("data", "mimeType"),
    "audio": ("data", "mimeType"),
    "resource_link": ("uri", "name"),
}


class UnknownTool(Exception):
    """The host says that it has no such tool."""


class Outcome(NamedTuple):
    """What a tool call has led to: content blocks, any JSON as structured content, and the members of `_meta`."""

    content: JsonText
    structured: JsonText | None = None
    is_error: bool = False
    meta: Mapping[str, JsonText] = MappingProxyType({})


class Introduction(NamedTuple):
    """What a server says of itself to a client that gets to know it."""

    capabilities: JsonText
    instructions: str


class Era(ABC):
    """How the clients of one era are answered."""

    unknown_method_status: ClassVar[int]

    @abstractmethod
    def handshake(self, method: str, introduction: Introduction) -> JsonText | None:
        """Return the result of a method with which a client gets to know a server; None for any other method."""

    @abstractmethod
    def listed(self, tools: JsonText) -> JsonText:
        """Return the result of `tools/list`."""

    @abstractmethod
    def called(self, outcome: Outcome) -> JsonText:
        """Return the result of `tools/call`; structured content is left out if the version does not allow it."""

    def failed(self, message: str) -> JsonText:
        """Return a result of `tools/call` that says to a model what went wrong."""
        return self.called(Outcome(text(message), is_error=True))

    def refused(self, problem: Problem) -> JsonText:
        """Return a result of `tools/call` that says to a model what the relay refuses."""
        detail = "Try again in a moment." if isinstance(problem, Busy) else problem.detail
        return self.failed(f"{problem.title}. {detail}")


class Modern(Era):
    """Version 2026-07-28: each result says that it is complete, and who the server is."""

    unknown_method_status = 404

    def handshake(self, method: str, introduction: Introduction) -> JsonText | None:
        """Answer `server/discover`."""
        if method != "server/discover":
            return None
        return _modern(supportedVersions=[MODERN, *LEGACY], **introduction._asdict(), **_CACHE)

    def listed(self, tools: JsonText) -> JsonText:
        """Return the tools as they are."""
        return _modern(tools=tools, **_CACHE)

    def called(self, outcome: Outcome) -> JsonText:
        """Return a result with any JSON as `structuredContent`."""
        members = {} if outcome.structured is None else {"structuredContent": outcome.structured}
        return _modern(outcome.meta, content=outcome.content, **members, isError=outcome.is_error)


class Legacy(Era):
    """A version up to 2025-11-25, which the client and the server agreed on with `initialize`."""

    unknown_method_status = 200

    def __init__(self, version: str) -> None:
        self._version = version

    def handshake(self, method: str, introduction: Introduction) -> JsonText | None:
        """Answer `initialize` and `ping`."""
        if method == "ping":
            return compose()
        if method != "initialize":
            return None
        return compose(
            protocolVersion=self._version,
            serverInfo=_SERVER,
            **introduction._asdict(),
        )

    def listed(self, tools: JsonText) -> JsonText:
        """Return the tools without each `outputSchema` that no `structuredContent` of this version can follow."""
        if tools.find(b'"outputSchema"') < 0:
            return compose(tools=tools)
        return compose(tools=array(self._tool(jsontext.members(tool)) for tool in jsontext.elements(tools)))

    def called(self, outcome: Outcome) -> JsonText:
        """Return a result whose `structuredContent`, if the version has any, is an object."""
        members: dict[str, object] = {"content": outcome.content}
        structured = outcome.structured or _NULL
        if structured.startswith(b"{") and self._version not in _WITHOUT_STRUCTURE:
            members["structuredContent"] = structured
        members["isError"] = outcome.is_error
        if outcome.meta:
            members["_meta"] = compose(**outcome.meta)
        return compose(**members)

    def _tool(self, tool: dict[str, JsonText]) -> JsonText:
        schema = jsontext.shape(tool.get("outputSchema", _NULL))
        is_object = isinstance(schema, dict) and schema.get("type") == "object"
        if self._version in _WITHOUT_STRUCTURE or not is_object:
            tool.pop("outputSchema", None)
        return compose(**tool)


def text(value: str | JsonText) -> JsonText:
    """Return content that is one text; a JsonText is a JSON string already."""
    return array([compose(type="text", text=value)])


def _modern(meta: Mapping[str, JsonText] = MappingProxyType({}), /, **members: object) -> JsonText:
    signed: dict[str, object] = {**meta, f"{META}serverInfo": _SERVER}
    return compose(resultType="complete", **members, _meta=compose(**signed))


def result_of(response: Response, era: Era) -> JsonText:
    """Return the result in a host's answer.

    Of a `CallToolResult` `content`, `structuredContent`, `isError` and `_meta` are passed on; the relay sets
    `resultType`. A `_meta` that is no object, or names a member twice, is left out: the tool has run, so its result has
    to arrive. Other members are left out if there are content blocks, since MCP lets a server add some. An object
    with an empty `content` and other members is no `CallToolResult`, but a tool's JSON.

    Any other text becomes text, other JSON becomes `structuredContent` with a copy as text. An `error` becomes a result
    with `isError`, and a result with `isError` stays one, whatever its content. Raises UnknownTool if the host says
    that it has no such tool.
    """
    answer = response.answer or _NULL
    members = _members_if_any(answer)
    is_error = members.get("isError") == b"true"
    content = members.get("content")
    if response.kind == "error":
        result = era.failed(_error_message(answer))
    elif is_error or _is_content(content, may_be_empty=members.keys() <= _RESULT_MEMBERS):
        meta = _members_if_any(members.get("_meta", _NULL))
        result = era.called(Outcome(_content(members, answer), members.get("structuredContent"), is_error, meta))
    elif answer.startswith(b'"'):
        result = era.called(Outcome(text(answer)))
    else:
        result = era.called(Outcome(text(answer.decode()), answer))
    return result


def _members_if_any(value: JsonText) -> dict[str, JsonText]:
    """Return the members of a value; none if it is no object, or one that names a member twice."""
    if value.startswith(b"{"):
        with suppress(InvalidRequest, InvalidJson):
            return jsontext.members(value)
    return {}


def _content(members: dict[str, JsonText], answer: JsonText) -> JsonText:
    """Return a result's content as blocks: as they are, or all that there is as one text."""
    content = members.get("content")
    if _is_content(content):
        return content or _NULL
    given = content or answer
    return text(given if given.startswith(b'"') else given.decode())


def _error_message(answer: JsonText) -> str:
    """Return what the host's `error` says. Raises UnknownTool."""
    error = jsontext.shape(answer)
    message = error.get("message") if isinstance(error, dict) else error
    code = error.get("code") if isinstance(error, dict) else None
    if code == "unknown_tool":
        raise UnknownTool(message if isinstance(message, str) else "The session has no such tool.")
    found = message if isinstance(message, str) else answer.decode()
    if code == PayloadTooLarge.code:  # what a client answers instead of a result that the relay refuses
        return f"The tool has run, but its result is too large to be passed on: {found}"
    return found


def _is_content(text: JsonText | None, *, may_be_empty: bool = True) -> bool:
    """Return whether a text is a list of content blocks, as far as a client needs them to be."""
    content = jsontext.shape(text) if text else None
    return isinstance(content, list) and bool(content or may_be_empty) and all(_is_block(block) for block in content)


def _is_block(block: object) -> bool:
    match block:
        case {"type": "resource", "resource": {"uri": str(), "text": str()} | {"uri": str(), "blob": str()}}:
            return True
        case {"type": str(kind), **members} if kind in _BLOCKS:
            return all(isinstance(members.get(name), str) for name in _BLOCKS[kind])
    return False
