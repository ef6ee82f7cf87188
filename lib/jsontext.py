"""JSON as text: the relay reads the names of an object, and passes the values on as they came."""

import json
import re
from typing import NoReturn

from lib.problems import InvalidJson, InvalidRequest

# Half of a character, as only an escape can say it: UTF-8 has no bytes for it.
_SURROGATE = re.compile("[\ud800-\udfff]")
_BETWEEN = re.compile(r"[ \t\n\r,:]*")


class JsonText(str):
    """JSON that is written already."""

    __slots__ = ()


def members(body: bytes) -> dict[str, JsonText]:
    """Return the members of the JSON object in `body`: name -> the value as it is written, to the digit.

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


def shape(text: JsonText) -> object:
    """Return the value of a text that is known to be JSON, to check types with: its numbers are all zero.

    None stands for a value that is nested too deeply for Python's parser.
    """
    try:
        return _SHAPE_DECODER.decode(text)
    except RecursionError:
        return None


def elements(text: JsonText) -> list[JsonText]:
    """Return the elements of the JSON array in a text that is known to be JSON. Raises InvalidRequest."""
    if not text.startswith("["):
        raise InvalidRequest("not an array")
    found: list[JsonText] = []
    at = _next(text, 1)
    while text[at] != "]":
        end = _DECODER.raw_decode(text, at)[1]
        found.append(JsonText(text[at:end]))
        at = _next(text, end)
    return found


def _members(text: str) -> dict[str, JsonText]:
    if not isinstance(_DECODER.decode(text), dict):
        raise InvalidRequest("The body must be a JSON object.")
    # From here on the text is known to be an object: what stands between its names and values is not checked again.
    found: dict[str, JsonText] = {}
    at = _next(text, text.index("{") + 1)
    while text[at] != "}":
        name, end = _DECODER.raw_decode(text, at)
        start = _next(text, end)
        end = _DECODER.raw_decode(text, start)[1]
        if name in found:
            raise InvalidRequest(f"{json.dumps(name)} is there twice.")
        found[name] = JsonText(text[start:end])
        at = _next(text, end)
    return found


def _next(text: str, at: int) -> int:
    """Return the place of the next name, value or bracket."""
    between = _BETWEEN.match(text, at)
    return between.end() if between else at


def _not_json(constant: str) -> NoReturn:
    raise InvalidJson(f"{constant} is not JSON.")


# Numbers are not converted: only their place matters, and some have thousands of digits.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_not_json)

# Long numbers would cost time, and very long ones are refused by int().
_SHAPE_DECODER = json.JSONDecoder(parse_int=lambda _: 0, parse_float=lambda _: 0.0)


def compose(**members_: object) -> JsonText:
    """Return an object as text. A JsonText stands in it as it is, anything else as JSON says it."""
    return JsonText("{" + ",".join(f'"{name}":{write(value)}' for name, value in members_.items()) + "}")


def write(value: object) -> JsonText:
    """Return a value as text: compact, or as it is if it is a JsonText."""
    if isinstance(value, JsonText):
        return value
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return JsonText(_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text))
