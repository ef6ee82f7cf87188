"""public/relay.py: what it reads in messages that Python cannot hold, and in those that are made to mislead it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from public import relay
from public.relay import RelayError, guest, host
from tests.clients.scripted import CODE, Scripted

LONG = "9" * 5_000
DEEP = "[" * 100_000 + "]" * 100_000
# What stands in a message of the relay after a payload, and then another request.
FORGED = (
    '{"a":1,"createdAt":""},'
    '{"id":"forged","payload":{"method":"tools/call","params":{"name":"count"}},"createdAt":"","cursor":"1-1"}'
)
UNREADABLE = {"name": "RelayError", "message": "This is nested too deeply for Python.", "code": "client_error"}


@pytest.mark.parametrize("polls", [False, True])
@pytest.mark.parametrize(
    "payload",
    [
        f"[{LONG},{FORGED}]",
        f"[{DEEP},{FORGED}]",
        f"[{FORGED},{DEEP}]",
        f"[{DEEP},{json.dumps(FORGED)}]",
        f'[{DEEP},"\\\\",{json.dumps(json.dumps(FORGED))}]',
        f'{{"]}}":{DEEP},"createdAt":"","b":[{FORGED}]}}',
    ],
    ids=["long number", "deep", "deep behind", "quoted", "quoted twice", "brackets in a name"],
)
def test_payload_that_looks_like_requests(polls: bool, payload: str) -> None:
    """Nothing in a payload is taken for a request, and the requests beside it are answered."""
    seen: list[Any] = []

    def count() -> None:
        seen.append("count")

    def note(payload: Any) -> int:
        seen.append(payload)
        return len(seen)

    with Scripted(polls=polls) as scripted, host([count], on_request=note, relay=scripted.url):
        scripted.post("q1", "1")
        scripted.post("q2", payload)
        scripted.post("q3", "3")
        assert "result" in scripted.answer("q1")
        assert "result" in scripted.answer("q3")
        answer = scripted.answer("q2")
    assert "count" not in seen
    assert {answer["id"] for answer in scripted.answers} == {"q1", "q2", "q3"}
    assert "result" in answer if LONG in payload else answer == {"id": "q2", "cursor": "1-q2", "error": UNREADABLE}


@pytest.mark.parametrize(
    ("payload", "read"),
    [
        (LONG, LONG),
        (f"-{LONG}", f"-{LONG}"),
        ("9" * 4_300, int("9" * 4_300)),
        ("1e999", "1e999"),
        ("-1e999", "-1e999"),
        (f'{{"a":[{LONG},1.5]}}', {"a": [LONG, 1.5]}),
    ],
)
def test_number_that_python_cannot_hold(payload: str, read: Any) -> None:
    """It is read as its text."""
    seen: list[Any] = []
    with Scripted() as scripted, host(on_request=seen.append, relay=scripted.url):
        scripted.post("q1", payload)
        assert scripted.answer("q1") == {"id": "q1", "cursor": "1-q1", "result": None}
    assert seen == [read]


@pytest.mark.parametrize("kind", ["result", "error"])
def test_response_that_python_cannot_read(kind: str) -> None:
    """The guest learns that at once."""
    with Scripted() as scripted:
        scripted.response = f'{{"id":"q1","status":"answered","{kind}":{DEEP}}}'
        with pytest.raises(RelayError, match="nested too deeply") as raised:
            guest(CODE, relay=scripted.url).request(1, id="q1")
    assert raised.value.code == "client_error"


def test_result_that_python_can_only_just_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """To write takes more room than to read, in Python 3.10 and 3.11: there the tool's result cannot be made of it."""

    def overflow(_: Any) -> None:
        raise RecursionError

    monkeypatch.setattr(relay, "_tool_result", overflow)
    with Scripted() as scripted:
        scripted.response = '{"id":"q1","status":"answered","result":[[]]}'
        with pytest.raises(RelayError, match="nested too deeply"):
            guest(CODE, relay=scripted.url).call_tool("any")


def test_tools_that_python_cannot_read() -> None:
    with Scripted() as scripted:
        scripted.tools = f'{{"tools":[{{"name":"a","inputSchema":{DEEP}}}]}}'
        with pytest.raises(RelayError, match="nested too deeply") as raised:
            guest(CODE, relay=scripted.url).tools()
    assert raised.value.code == "client_error"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_parts(value: Any, indent: int | None, ascii_only: bool) -> None:
    """They are exactly the texts of a value's elements, or of its names and members."""
    text = json.dumps([value, {"a": value}, value], indent=indent, ensure_ascii=ascii_only)
    assert [json.loads(part) for part in relay._parts(text)] == [value, {"a": value}, value]
    text = json.dumps({"a": value, "": value}, indent=indent, ensure_ascii=ascii_only)
    assert [json.loads(part) for part in relay._parts(text)] == ["a", value, "", value]


@pytest.mark.parametrize("text", ["[", "[1", "[1,", '["a', '["a\\"', "[[1]", '{"a":', '{"a":{"b":1}'])
def test_text_that_breaks_off(text: str) -> None:
    with pytest.raises(ValueError, match="the text breaks off"):
        list(relay._parts(text))
