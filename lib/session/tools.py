"""The tools that a host offers, in the words of the Model Context Protocol."""

import json
import re
from typing import Any

from lib import jsontext, settings
from lib.jsontext import JsonText, array, compose
from lib.problems import InvalidRequest, PayloadTooLarge
from lib.session import budgets
from lib.session.access import Access
from lib.store.script import Script, unreadable

_WRITE = Script("write_tools")
_READ = Script("read_tools")

_MOST_TOOLS = 128
_MOST_BYTES = 128 * 1024
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_TEXTS = ("title", "description")
_OBJECTS = ("inputSchema", "outputSchema", "annotations")
_STRING, _OBJECT, _BOOLEAN = (str, "a string"), (dict, "an object"), (bool, "true or false")
_ANNOTATIONS = {
    "title": _STRING,
    "readOnlyHint": _BOOLEAN,
    "destructiveHint": _BOOLEAN,
    "idempotentHint": _BOOLEAN,
    "openWorldHint": _BOOLEAN,
}
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
        raise PayloadTooLarge(_MOST_BYTES)
    spends = [budgets.sent(access.network, len(written))]
    reply = access.run(_WRITE, written, settings.bytes_sent(), spends=spends, may_repeat=True)
    if reply != ["written"]:
        raise unreadable(reply)


def read(access: Access) -> JsonText:
    """Return the list of tools as it was registered, `[]` if there is none.

    Raises SessionNotFound, SessionEnded, HostTokenWrong, RateLimited.
    """
    match access.run(_READ, settings.bytes_read(), spends=[budgets.read(access.network)]):
        case ["found", str(text)]:
            return JsonText(text.encode()) if text else NONE
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
    _check_types(f"{where}.annotations", tool.get("annotations", {}), _ANNOTATIONS)
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
