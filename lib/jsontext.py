"""JSON as text: split where the relay has to look, and otherwise passed on as it came."""

import json
import re
from typing import NoReturn

from lib.problems import InvalidJson, InvalidRequest

_SPACE = re.compile(r"[ \t\n\r]*")


class JsonText(str):
    """JSON that is written already."""

    __slots__ = ()


def members(body: bytes) -> dict[str, JsonText]:
    """Return the members of the JSON object in `body`: name -> the value's own text, to the digit.

    Raises InvalidJson, and InvalidRequest for a value that is no object or names a member twice.
    """
    try:
        return _members(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidJson(f"Byte {error.start} of the body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise InvalidJson(f"{error.msg} at character {error.pos} of the body.") from None
    except RecursionError:
        raise InvalidJson("The body is nested too deeply.") from None


def _members(text: str) -> dict[str, JsonText]:
    found: dict[str, JsonText] = {}
    at = _skip_space(text, 0)
    if not text.startswith("{", at):
        _expect_end(text, _value(text, at)[1])
        raise InvalidRequest("The body must be a JSON object.")
    at = _skip_space(text, at + 1)
    if text.startswith("}", at):
        _expect_end(text, at + 1)
        return found
    while True:
        if not text.startswith('"', at):
            raise json.JSONDecodeError("Expecting a name in double quotes", text, at)
        name, at = _value(text, at)
        start = _skip_space(text, _expect(text, at, ":"))
        end = _value(text, start)[1]
        if name in found:
            raise InvalidRequest(f"{json.dumps(name)} is there twice.")
        found[str(name)] = JsonText(text[start:end])
        at = _skip_space(text, end)
        if text.startswith("}", at):
            _expect_end(text, at + 1)
            return found
        at = _skip_space(text, _expect(text, at, ","))


def _not_json(constant: str) -> NoReturn:
    raise InvalidJson(f"{constant} is not JSON.")


# Numbers are not converted: only where they end matters, and some have thousands of digits.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_not_json)


def _value(text: str, at: int) -> tuple[object, int]:
    return _DECODER.raw_decode(text, at)


def _skip_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _expect(text: str, at: int, sign: str) -> int:
    at = _skip_space(text, at)
    if not text.startswith(sign, at):
        raise json.JSONDecodeError(f"Expecting {sign!r}", text, at)
    return at + 1


def _expect_end(text: str, at: int) -> None:
    at = _skip_space(text, at)
    if at != len(text):
        raise json.JSONDecodeError("Expecting the end", text, at)


def compose(**members_: object) -> JsonText:
    """Return an object as text. A JsonText stands in it as it is, anything else as JSON says it."""
    return JsonText("{" + ",".join(f'"{name}":{write(value)}' for name, value in members_.items()) + "}")


def write(value: object) -> JsonText:
    """Return a value as text: compact, and as it is where it is a JsonText."""
    if isinstance(value, JsonText):
        return value
    return JsonText(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
