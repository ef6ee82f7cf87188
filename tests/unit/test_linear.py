"""Reading a call takes time that grows with its length and no faster, whatever it is made of."""

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from api import mcp, requests, responses, sessions, stream, tools
from lib import kv
from lib.session import tokens
from lib.web.endpoint import Endpoint

CODE = "/api/sessions/ABC12345"
# Other work on the machine can only make a run take longer: if the least of three runs is too long, more are made.
_RUNS, _MORE_RUNS = 3, 10


type Shape = tuple[type[Endpoint], Callable[[int], bytes]]


def get(path: str, *headers: str) -> bytes:
    """Return a request whose first `Authorization` is the host's, so that it is read to its end."""
    own = [] if any(one.startswith("Authorization") for one in headers) else ["Authorization: Bearer TOKEN"]
    return "\r\n".join([f"GET {path} HTTP/1.1", *headers, *own, "", ""]).encode("latin-1")


def post(body: str, *headers: str) -> bytes:
    return "\r\n".join([f"POST {CODE}/requests HTTP/1.1", *headers, "", body]).encode("latin-1")


def header(handler: type[Endpoint], path: str, name: str, part: str, start: str = "") -> Shape:
    return handler, lambda size: get(f"{CODE}{path}", f"{name}: {start}{part * (size // len(part))}")


def target(handler: type[Endpoint], start: str, part: str) -> Shape:
    return handler, lambda size: get(start + part * (size // len(part)))


def body(start: str, part: str, end: str) -> Shape:
    def make(size: int) -> bytes:
        text = start + part * (size // len(part)) + end
        return post(text, f"Content-Length: {len(text)}")

    return requests.handler, make


def message(start: str, part: str, end: str, *headers: str) -> Shape:
    """A message of MCP, for no session."""

    def make(size: int) -> bytes:
        text = f'{{"jsonrpc":"2.0","id":1,{start}{part * (size // len(part))}{end}}}'
        lines = ["POST /mcp HTTP/1.1", *headers, f"Content-Length: {len(text)}", "", text]
        return "\r\n".join(lines).encode("latin-1")

    return mcp.handler, make


def listed(start: str, part: str, end: str) -> Shape:
    """A list of tools of the host's."""

    def make(size: int) -> bytes:
        text = f'{{"tools":[{start}{part * (size // len(part))}{end}]}}'
        lines = [f"PUT {CODE}/tools HTTP/1.1", "Authorization: Bearer TOKEN", f"Content-Length: {len(text)}", "", text]
        return "\r\n".join(lines).encode("latin-1")

    return tools.handler, make


def chunked(start: str, part: str, end: str) -> Shape:
    return requests.handler, lambda size: post(start + part * (size // len(part)) + end, "Transfer-Encoding: chunked")


PREFERENCES = ('"', '"\\', '\\"', ",", "a ", "wait=1,", "wait =  ,", "wait=1111111", 'a="b",')
HEADERS = (
    *("Authorization", "Last-Event-ID", "Content-Type", "Content-Length", "Transfer-Encoding", "x-real-ip"),
    *("x-vercel-id", "Cookie", "Host", "Expect"),
)
QUERIES = ("a=1&", "wait=1&", "&=", "a=%41&", "%", "a=%ff&", "a", "a;b;")
PARAMETERS = ("wait", "after", "token", "host", "attempt", "code", "id")
BODIES = {
    "string": ('{"payload":"', "a", '"}'),
    "escapes": ('{"payload":"', "\\u0041", '"}'),
    "open string": ('{"payload":"', "a", ""),
    "number": ('{"payload":', "1", "}"),
    "fraction": ('{"payload":0.', "1", "}"),
    "brackets": ('{"payload":', "[", ""),
    "nested": ('{"payload":', '{"a":', ""),
    "list": ('{"payload":[1', ",1", "]}"),
    "white space": ('{"payload":1', " ", "}"),
    "white space around": ("", " \n", "{}"),
    "members": ("{", '"a":1,', '"b":1}'),
    "id": ('{"payload":1,"id":"', "q", '"}'),
    "unknown field": ('{"', "q", '":1}'),
    "not an object": ("[1", ",1", "]"),
}
CHUNKS = {
    "small": ("", "1\r\n1\r\n", "0\r\n\r\n"),
    "extension": ("1;", "a", "\r\n1\r\n0\r\n\r\n"),
    "spaces": ("1", " ", "\r\n1\r\n0\r\n\r\n"),
    "trailers": ("0\r\n", "a: b\r\n", "\r\n"),
}
MODERN = (
    '"method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
    '"io.modelcontextprotocol/clientCapabilities":{}},"name":'
)
CALL = '"method":"tools/call","params":{"name":"list_tools","arguments":{'
MESSAGES: dict[str, tuple[str, ...]] = {
    "method": ('"method":"', "m", '"'),
    "params": ('"method":"ping","params":{', '"a":1,', '"b":1}'),
    "params, nested": ('"method":"ping","params":', '{"a":', ""),
    "meta": ('"method":"ping","params":{"_meta":{', '"a":1,', '"b":1}}'),
    "members": ("", '"a":1,', '"method":"ping"'),
    "result": ('"result":', "1", ""),
    "name": ('"method":"tools/call","params":{"name":"', "n", '"}'),
    "arguments": (CALL, '"a":1,', '"code":""}}'),
    "code": (CALL + '"code":"', "-", '"}}'),
    "token": ('"method":"tools/call","params":{"name":"x","_meta":{"progressToken":"', "t", '"}}'),
    "modern": (f'{MODERN}"', "n", '"}', "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: n"),
}
TOOLS = {
    "tools": ("", '{"name":"a"},', '{"name":"b"}'),
    "fields": ('{"name":"a",', '"x":1,', '"y":1}'),
    "name": ('{"name":"', "n", '"}'),
    "schema": ('{"name":"a","inputSchema":{"type":"object","properties":{', '"p":{"type":"string"},', '"q":{}}}}'),
    "required": ('{"name":"a","inputSchema":{"type":"object","required":[', '"p",', '"q"]}}'),
    "nested": ('{"name":"a","inputSchema":', '{"type":"object","a":', ""),
    "not an array": ("", "1,", "2"),
}
# Each makes a request that is about so many characters long.
SHAPES: dict[str, Shape] = {
    **{f"Prefer: {part}": header(responses.handler, "/responses/q", "Prefer", part) for part in PREFERENCES},
    "Prefer, open quote": header(responses.handler, "/responses/q", "Prefer", "a", 'x="'),
    "Prefer, escapes": header(responses.handler, "/responses/q", "Prefer", "\\a", 'x="'),
    "Prefer, many": (requests.handler, lambda size: get(f"{CODE}/requests", *[f"Prefer: {'x' * (size // 90)}"] * 90)),
    **{
        f"{name}: {part}": header(requests.handler, "/requests", name, part)
        for name in HEADERS
        for part in ("a", "1", " ,", "+-.;:=/")
    },
    "token": header(stream.handler, "/stream", "Authorization", "1", "Bearer "),
    "token in the query": target(stream.handler, f"{CODE}/stream?token=", "1"),
    "headers, many": (sessions.handler, lambda size: get(CODE, *(f"x{n}: {'y' * (size // 90)}" for n in range(90)))),
    "headers, folded": (sessions.handler, lambda size: get(CODE, "x: y" + f"\r\n {'y' * (size // 90)}" * 90)),
    **{f"query: {part}": target(requests.handler, f"{CODE}/requests?", part) for part in QUERIES},
    **{
        f"query: {name}={sign}": target(requests.handler, f"{CODE}/requests?{name}=", sign)
        for name in PARAMETERS
        for sign in ("1", "-", "%41")
    },
    **{f"path: {part}": target(responses.handler, "/api/sessions/", part) for part in ("A", "/", "a/", "%41", "-")},
    "path: id": target(responses.handler, f"{CODE}/responses/", "q"),
    **{f"body: {name}": body(*parts) for name, parts in BODIES.items()},
    "body: many fields": (
        requests.handler,
        lambda size: body("{", ",".join(f'"{number:08}":1' for number in range(size // 13)), "}")[1](size),
    ),
    "body: content type": header(requests.handler, "/requests", "Content-Type", "a+", "application/"),
    **{f"chunks: {name}": chunked(*parts) for name, parts in CHUNKS.items()},
    **{f"message: {name}": message(*parts) for name, parts in MESSAGES.items()},
    **{f"tools: {name}": listed(*parts) for name, parts in TOOLS.items()},
}


@pytest.fixture(autouse=True)
def _no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KV_REST_API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("KV_REST_API_TOKEN", "token")
    monkeypatch.setenv("VERCEL", "1")
    monkeypatch.delenv("VERCEL_IPC_PATH", raising=False)
    monkeypatch.setattr(kv, "_RETRY_AFTER_SECONDS", 0)
    for name in ("KV_KEY_PREFIX", "VERCEL_ENV", "SESSION_SECRET"):
        monkeypatch.delenv(name, raising=False)


def answer_time(handler: type[Endpoint], request: bytes) -> float:
    """Return the processor's seconds from reading a request to the end of its answer."""
    token = tokens.derive("ABC12345", "2026-11-24T10:23:26.166Z").encode()
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    with ours, theirs:
        theirs.sendall(request.replace(b"TOKEN", token))
        theirs.shutdown(socket.SHUT_WR)
        untyped: Any = handler
        started = time.thread_time()
        untyped(ours, ("192.0.2.1", 1), None)
        took = time.thread_time() - started
        assert theirs.recv(12).startswith(b"HTTP/1."), "an answer, whatever it is"
    return took


@pytest.mark.parametrize("name", SHAPES)
def test_time_grows_with_length(name: str) -> None:
    """From 1 to 16 KB it grows five times as much as from 1 to 4; by the square it would be seventeen times."""
    handler, make = SHAPES[name]
    sent: list[bytes] = [get(CODE), *(make(size * 1024) for size in (1, 4, 16))]
    handlers: list[type[Endpoint]] = [sessions.handler, handler, handler, handler]
    least = [float("inf")] * 4
    for run in range(_MORE_RUNS):
        took = map(answer_time, handlers, sent)
        least = [min(pair) for pair in zip(least, took, strict=True)]
        plain, small, middle, large = least
        if run + 1 >= _RUNS and large - small <= 9 * max(middle - small, 0) + 2 * plain:
            return
    pytest.fail(f"seconds of a plain call, and of 1, 4 and 16 KB: {least}")
