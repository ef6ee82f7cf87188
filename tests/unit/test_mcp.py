"""lib/mcp/jsonrpc.py, lib/mcp/protocol.py: what is made of any message, and what is made for any version."""

import json
from collections.abc import Callable
from email.message import Message as Headers

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.jsontext import JsonText, compose, shape, write
from lib.mcp import jsonrpc, protocol, results
from lib.mcp.jsonrpc import Fault
from tests.support.values import JSON

_KNOWN = {-32700, -32600, -32601, -32602, -32020, -32022}


def outcome[T](call: Callable[[], T]) -> T | Fault:
    """Return what a call returns, or its fault."""
    try:
        return call()
    except Fault as fault:
        return fault


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_a_message_or_a_fault(body: bytes) -> None:
    match outcome(lambda: jsonrpc.parse(body)):
        case Fault() as fault:
            assert fault.status == 400
            assert fault.code in _KNOWN
            assert json.loads(jsonrpc.error(fault.request_id, fault))["error"]["code"] == fault.code
        case message:
            assert isinstance(message.method, str)


@pytest.mark.parametrize("member", ['"result":{}', '"error":{"code":1,"message":"x"}'])
def test_response(member: str) -> None:
    """Whatever else it has, it gets no answer."""
    for more in ('"id":1', '"id":{}', '"params":[1]'):
        assert jsonrpc.parse(f'{{"jsonrpc":"2.0",{more},{member}}}'.encode()) is jsonrpc.RESPONSE


@given(
    method=st.text() | st.sampled_from(["initialize", "tools/list", "tools/call"]),
    params=st.dictionaries(st.sampled_from(["_meta", "name", "protocolVersion"]), JSON),
    meta=st.dictionaries(st.sampled_from(["protocolVersion", "clientCapabilities", "clientInfo"]), JSON),
    headers=st.dictionaries(
        st.sampled_from(["MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"]),
        st.text(alphabet=st.characters(max_codepoint=255, categories=["L", "N", "P"]))
        | st.sampled_from(results.LEGACY),
    ),
)
def test_any_request_has_an_era_or_a_fault(
    method: str, params: dict[str, object], meta: dict[str, object], headers: dict[str, str]
) -> None:
    whole = {"_meta": {f"io.modelcontextprotocol/{name}": value for name, value in meta.items()}} | params
    sent = Headers()
    for name, value in headers.items():
        sent[name] = value
    message = jsonrpc.Message(JsonText(b"1"), method, {name: write(value) for name, value in whole.items()})
    match outcome(lambda: protocol.read(message, JsonText(b"1"), sent)):
        case Fault() as fault:
            assert (fault.status, fault.code in _KNOWN) == (400, True)
        case request:
            assert (request.method, request.params) == (message.method, message.params)
            assert isinstance(request.era, results.Modern | results.Legacy)


@given(st.text(), JSON)
def test_texts_with_half_a_character(text: str, value: object) -> None:
    """What JSON can say with an escape can be sent, and is read as it was."""
    for one in (text, "\ud800" + text, [value, "\udfff"], {"\ud83d": text, "x": "\ude00\ud83d"}):
        written = write(one)
        assert json.loads(written) == one


def test_shape_of_what_is_too_deep() -> None:
    assert shape(JsonText(b"[" * 100_000 + b"]" * 100_000)) is None


@pytest.mark.parametrize(
    ("token", "taken"), [('"p"', True), ("7", True), ("-1", True), ("1.5", False), ("null", False), ("{}", False)]
)
def test_progress_tokens(token: str, taken: bool) -> None:
    params = {"_meta": compose(progressToken=JsonText(token.encode()))}
    found = protocol.read(jsonrpc.Message(JsonText(b"1"), "tools/call", params), JsonText(b"1"), Headers())
    assert found.progress_token == (token.encode() if taken else None)
