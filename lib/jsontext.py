"""JSON as text: the relay reads the names of an object, and passes the values on as they came.

A text is UTF-8 bytes. As `str`, one emoji would make each of its characters four times as wide, and every copy with it.
"""

import codecs
import json
import re
from collections.abc import Iterable
from typing import NoReturn

from lib.problems import InvalidJson, InvalidRequest

# Each escape in a JSON text, from left to right: a whole character, half a character, or any other escape.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)
_SPACE = re.compile(r"[ \t\n\r]*")
_CHECKED_AT_ONCE = 64 * 1024


class JsonText(bytes):
    """A JSON value as it is written, in UTF-8."""

    __slots__ = ()


def members(text: bytes) -> dict[str, JsonText]:
    """Return the members of the JSON object in a text: name -> the value as it is written, to the digit.

    Raises InvalidJson, and InvalidRequest for a value that is not an object or names a member twice.
    """
    found: dict[str, JsonText] = {}
    for name, value in _items(text, "{", "}"):
        if name in found:
            raise InvalidRequest(f"{json.dumps(name)} is there twice.")
        found[name] = value
    return found


def elements(text: bytes) -> list[JsonText]:
    """Return the elements of the JSON array in a text. Raises InvalidJson, InvalidRequest."""
    return [value for _, value in _items(text, "[", "]")]


def shape(text: JsonText) -> object:
    """Return the value of a text that is known to be JSON, to check types with: its numbers are all zero.

    None stands for a value that is nested too deeply for Python's parser.
    """
    try:
        return _SHAPE_DECODER.decode(text.decode())
    except RecursionError:
        return None


def compose(**members_: object) -> JsonText:
    """Return an object as text. A JsonText stands in it as it is; names and other values are written as JSON."""
    return JsonText(b"{" + b",".join(write(name) + b":" + write(value) for name, value in members_.items()) + b"}")


def replace_lone_surrogates(text: JsonText) -> JsonText:
    """Replace each escape of a lone surrogate by that of U+FFFD: many JSON parsers refuse a lone surrogate."""
    if text.find(b"\\ud") < 0 and text.find(b"\\uD") < 0:
        return text
    return JsonText(_ESCAPE.sub(lambda escape: b"\\ufffd" if escape["half"] else escape[0], text))


def array(values: Iterable[JsonText]) -> JsonText:
    """Return an array of texts as text."""
    return JsonText(b"[" + b",".join(values) + b"]")


def write(value: object) -> JsonText:
    """Return a value as text: compact, or as it is if it is a JsonText."""
    if isinstance(value, JsonText):
        return value
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # Half of a character has no bytes in UTF-8, so it is written as an escape.
    return JsonText(text.encode(errors="backslashreplace"))


def _items(text: bytes, opening: str, closing: str) -> list[tuple[str, JsonText]]:
    """Return the members of an object, or the elements of an array with empty names. Each value is parsed once."""
    try:
        _require_utf8(text)
        return _Scanner(text).items(opening, closing)
    except json.JSONDecodeError as error:
        raise InvalidJson(f"{error.msg} at byte {error.pos}.") from None
    except RecursionError:
        raise InvalidJson("The JSON is nested too deeply.") from None


def _require_utf8(text: bytes) -> None:
    """Return if a text is UTF-8, without making a string of all of it. Raises InvalidJson."""
    if text.isascii():
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(text)
    for start in range(0, len(text), _CHECKED_AT_ONCE):
        end = start + _CHECKED_AT_ONCE
        try:
            decoder.decode(view[start:end], final=end >= len(text))
        except UnicodeDecodeError:
            raise InvalidJson("The text is not UTF-8.") from None


class _Scanner:
    """Reads the outermost object or array of a text from left to right. Raises JSONDecodeError, RecursionError."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        # In Latin-1 each byte is a character: places are those of the bytes, and nothing becomes wider than it was.
        self._characters = text.decode("latin-1")
        self._place = 0

    def items(self, opening: str, closing: str) -> list[tuple[str, JsonText]]:
        """Return what the text consists of. Raises InvalidRequest if it does not begin with `opening`."""
        if not self._take(opening):
            _DECODER.decode(self._characters)  # raises JSONDecodeError for a text that is not JSON
            raise InvalidRequest(f"A JSON {'object' if opening == '{' else 'array'} is expected.")
        found: list[tuple[str, JsonText]] = []
        more = not self._take(closing)
        while more:
            name = self._name() if opening == "{" else ""
            found.append((name, self._value()))
            more = not self._take(closing)
            if more:
                self._require(",", "Expecting ',' delimiter")
        self._skip()
        if self._place != len(self._characters):
            raise json.JSONDecodeError("Extra data", self._characters, self._place)
        return found

    def _name(self) -> str:
        self._skip()
        if not self._characters.startswith('"', self._place):
            raise json.JSONDecodeError("Expecting a name in double quotes", self._characters, self._place)
        name: str = json.loads(self._value())
        self._require(":", "Expecting ':' delimiter")
        return name

    def _value(self) -> JsonText:
        self._skip()
        start = self._place
        _, self._place = _DECODER.raw_decode(self._characters, start)
        return JsonText(self._text[start : self._place])

    def _require(self, character: str, message: str) -> None:
        if not self._take(character):
            raise json.JSONDecodeError(message, self._characters, self._place)

    def _take(self, character: str) -> bool:
        """Step over a character, if it is the next one after white space."""
        self._skip()
        if not self._characters.startswith(character, self._place):
            return False
        self._place += 1
        return True

    def _skip(self) -> None:
        if space := _SPACE.match(self._characters, self._place):
            self._place = space.end()


def _not_json(constant: str) -> NoReturn:
    raise InvalidJson(f"{constant} is not JSON.")


# Numbers are not converted: only their place matters, and some have thousands of digits.
_DECODER = json.JSONDecoder(parse_int=len, parse_float=len, parse_constant=_not_json)

# Long numbers would cost time, and very long ones are refused by int().
_SHAPE_DECODER = json.JSONDecoder(parse_int=lambda _: 0, parse_float=lambda _: 0.0)
