"""The tools that a host offers, in the words of the Model Context Protocol."""

import json
import re
from typing import Any, NamedTuple

from lib import jsontext, settings
from lib.jsontext import JsonText, array, compose
from lib.problems import InvalidRequest, PayloadTooLarge
from lib.session import budgets
from lib.session.access import Access
from lib.store.script import Script, unreadable

_WRITE = Script("write_tools")
_READ = Script("read_tools")
_WATCH = Script("watch_tools")

_MOST_TOOLS = 128
_MOST_BYTES = 128 * 1024
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_TEXTS = ("title", "description")
# Hints in `annotations` grow in number, and `_meta` is between hosts and clients: both pass through.
_OBJECTS = ("inputSchema", "outputSchema", "annotations", "_meta")
_STRING, _OBJECT = (str, "a string"), (dict, "an object")
_ANY_ARGUMENTS = compose(type="object")
# The list of a session without tools.
NONE = array(())


def register(access: Access, text: JsonText) -> None:
    """Take the host's list of tools, a JSON array, in place of the one before. An `inputSchema` left out is filled in.

    Raises InvalidRequest, which names the tool and the field, PayloadTooLarge, SessionNotFound, SessionEnded,
    HostTokenWrong, RateLimited.
    """
    try:
        given = jsontext.elements(text)
    except InvalidRequest:
        raise InvalidRequest("tools must be an array.") from None
    if len(given) > _MOST_TOOLS:
        raise InvalidRequest(f"tools: {len(given)} are too many, at most {_MOST_TOOLS}.")
    names: set[str] = set()
    checked = [_checked(place, tool, names) for place, tool in enumerate(given)]
    written = array(checked)
    if len(written) > _MOST_BYTES:
        raise PayloadTooLarge(_MOST_BYTES, len(written))
    spends = [budgets.sent(access.network, len(written))]
    reply = access.run(_WRITE, written, settings.bytes_sent(), spends=spends, may_repeat=True)
    if reply != ["written"]:
        raise unreadable(reply)


def read(access: Access, client: JsonText | None = None) -> JsonText:
    """Return the list of tools as it was registered, `[]` if there is none.

    `client` is the MCP client that reads it, as an object in one line: the host is notified. Raises SessionNotFound,
    SessionEnded, HostTokenWrong, RateLimited.
    """
    match access.run(_READ, settings.bytes_read(), client or b"", spends=[budgets.read(access.network)]):
        case ["found", str(text)]:
            return JsonText(text.encode()) if text else NONE
        case reply:
            raise unreadable(reply)


class Watch(NamedTuple):
    """The state of a list of tools: how many lists the session has had, and the milliseconds that it has to live."""

    number: int
    ttl_ms: int


def watch(access: Access, channel: str) -> Watch:
    """Return the state of the list of tools. Its changes are published to the channel, `""` for none.

    Raises SessionNotFound, SessionEnded, HostTokenWrong, RateLimited.
    """
    match access.run(_WATCH, channel):
        case ["watching", str(number), int(milliseconds)]:
            return Watch(int(number), milliseconds)
        case reply:
            raise unreadable(reply)


def _checked(place: int, text: JsonText, names: set[str]) -> JsonText:
    """Return a tool as it is to be kept. Raises InvalidRequest."""
    where = f"tools[{place}]"
    if not text.startswith(b"{"):
        raise InvalidRequest(f"{where} must be an object.")
    try:
        members = jsontext.members(text)
    except InvalidRequest as problem:
        raise InvalidRequest(f"{where}: {problem.detail}") from None
    tool: dict[str, Any] = {name: jsontext.shape(member) for name, member in members.items()}
    name = tool.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidRequest(f"{where}.name must be 1 to 128 letters, digits or _ . - as a string.")
    where = f"{where} ({name})"
    if name in names:
        raise InvalidRequest(f"{where}: another tool has this name.")
    names.add(name)
    for field in tool:
        if field not in ("name", *_TEXTS, *_OBJECTS):
            raise InvalidRequest(f"{where}: {json.dumps(field[:64])} is not a field of a tool.")
    _check_types(where, tool, dict.fromkeys(_TEXTS, _STRING) | dict.fromkeys(_OBJECTS, _OBJECT))
    _check_schema(f"{where}.inputSchema", tool.get("inputSchema", {"type": "object"}))
    filled = members if "inputSchema" in members else {"inputSchema": _ANY_ARGUMENTS, **members}
    return compose(**filled)


def _check_schema(where: str, schema: dict[str, Any]) -> None:
    """Check an `inputSchema` as far as clients rely on it. Raises InvalidRequest."""
    if schema.get("type") != "object":
        raise InvalidRequest(f'{where}.type must be "object".')
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, dict) or not all(isinstance(schema, dict | bool) for schema in properties.values()):
        raise InvalidRequest(f"{where}.properties must be an object of schemas.")
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise InvalidRequest(f"{where}.required must be an array of names.")
    if _has_name(schema, "x-mcp-header"):
        raise InvalidRequest(f"{where}: x-mcp-header is not supported.")


def _check_types(where: str, value: dict[str, Any], types: dict[str, tuple[type, str]]) -> None:
    """Check the types of the members that are present. Raises InvalidRequest."""
    for field, (kind, description) in types.items():
        if field in value and not isinstance(value[field], kind):
            raise InvalidRequest(f"{where}.{field} must be {description}.")


def _has_name(value: object, name: str) -> bool:
    """Return whether an object in the value, however deep, has a member of this name."""
    left = [value]
    while left:
        match left.pop():
            case dict() as found:
                if name in found:
                    return True
                left.extend(found.values())
            case list() as found:
                left.extend(found)
    return False
