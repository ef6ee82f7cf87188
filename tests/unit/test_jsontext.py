"""lib/jsontext.py: an object is split, and its values stay as they were written."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib import jsontext
from lib.problems import InvalidJson, InvalidRequest
from tests.support.values import JSON


@pytest.mark.parametrize(
    "value",
    [
        "1.10",
        "-0.0",
        "1e400",
        "1" * 4000,
        "9" * 5000,
        "[" * 100 + "]" * 100,
        '"\\ud800"',
        '"\\u0000"',
        '"𝄞"',
        '{"b":1,"a":2,"b":3}',
        "[ 1 ,\n 2 ]",
        "null",
    ],
)
def test_value_is_kept(value: str) -> None:
    assert jsontext.members(f' {{ "a" : {value} , "b":{value}}}\r\n'.encode()) == {
        "a": value.encode(),
        "b": value.encode(),
    }


@given(st.dictionaries(st.text(), JSON), st.sampled_from([None, 1]))
def test_any_object(value: dict[str, Any], indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    found = jsontext.members(text.encode())
    assert {name: json.loads(part) for name, part in found.items()} == value
    assert all(text.encode().find(part) >= 0 for part in found.values())


@given(st.binary())
def test_anything(body: bytes) -> None:
    """It is an object exactly where the standard library's reader says so."""
    try:
        expected = json.loads(body.decode(), parse_constant=lambda _: 1 / 0)
    except (ValueError, ZeroDivisionError, RecursionError):
        expected = None
    try:
        found: dict[str, Any] | None = jsontext.members(body)
    except (InvalidJson, InvalidRequest):
        found = None
    assert (found is not None) == isinstance(expected, dict)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"a"}',
        b'{"a":}',
        b'{"a":1,}',
        b'{"a":1 "b":2}',
        b"{a:1}",
        b'{"a":1}{}',
        b"{}x",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":01}',
        b'{"a":"\n"}',
        b'{"a":"\\x"}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}",
        b"1 2",
        b"nul",
        b'{"a":' + b"[" * 100_000 + b"}",
    ],
)
def test_not_json(body: bytes) -> None:
    with pytest.raises(InvalidJson):
        jsontext.members(body)


@pytest.mark.parametrize("body", [b"[]", b"1", b'"{}"', b"null", b'{"a":1,"a":1}', b'{"a":1,"\\u0061":1}'])
def test_not_an_object_of_ours(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        jsontext.members(body)
