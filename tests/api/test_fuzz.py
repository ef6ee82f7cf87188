"""Every endpoint gets nonsense: paths, headers, bodies. It answers, and never with a 5xx."""

import json
import socket
from collections.abc import Iterator
from random import Random
from typing import Any
from urllib.parse import urlsplit

import pytest

from dev.local import environment
from dev.local.project import Project
from tests.support.deployments import Parley, running_parley
from tests.support.stores import running_store
from tests.support.tools import PATIENCE_SECONDS, PROJECT

ROUNDS = 500
PATHS = [
    *json.loads((PROJECT / "public" / "openapi.json").read_text("utf-8"))["paths"],
    "/api/requests?code={code}",
    "/api/responses?code={code}&id={id}",
    "/api/stream?code={code}&token={token}",
    "/api/tools?code={code}",
    "/api/mcp?code={code}",
]
METHODS = ["GET", "POST", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "PUT", "TRACE", "get", "X" * 40, "P\xf6ST"]
TEXTS = [
    "", "0", "-1", "1.5", "9" * 5000, "..", "%00", "%2e%2e", "%ff%fe", "%", "a" * 3000, "é", "\u202e", "null",
    "ABC12345", "abc1-2345", "ABC1234U", "q1", "' OR 1=1", "*", "{}", "[]", "preview:x:",
    "%F0%9F%98%80", "a%0d%0aSet-Cookie: x",
]  # fmt: skip
BODIES = [
    b"", b"{}", b"null", b"[" * 100 + b"]" * 100, b"[" * 100_000, b'{"payload":' + b"9" * 5000 + b"}", b"\xff\xfe{}",
    b'{"payload":"\\ud800"}', b'{"id":"q1","result":NaN}', b'{"id":1,"payload":1}', b'{"payload":1,"payload":2}',
    b'{"payload":"' + b"x" * 200_000 + b'"}', b'{"id":"q1","result":1,"error":2}', b"\xef\xbb\xbf{}", b"{" * 1000,
    b'{"tools":[{"name":"a"}]}', b'{"tools":[{"name":"a","inputSchema":{"type":"\\ud800"}},1]}', b'{"tools":{}}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}', b'{"jsonrpc":"2.0","id":"\\ud800","method":"tools/call"}',
    b'[{"jsonrpc":"2.0","method":"ping","id":1}]', b'{"jsonrpc":"2.0","method":"\\udfff","id":-0,"params":{"_meta":7}}',
    b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":{}}}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_tools","arguments":{"code":"ABC1-2345"}}}',
    b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}',
    b'{"payload":1e400}', b'{"id":"..","payload":"\x00"}', b'{"id":"q1","payload":[true]}', b'"text"', b"{}{}",
]  # fmt: skip
HEADERS = [
    ("Authorization", ["Bearer", "Bearer x", "Basic eDp4", "bearer " + "x" * 5000, "Bearer \xff"]),
    ("Content-Type", ["text/plain", "application/json; charset=utf-16", "application/x+json", ";", "\xff/\xff"]),
    ("Prefer", ["wait=0", "wait=-1", "wait=x", "respond-async", 'wait="0"', "wait=" + "9" * 5000, ",,,", '"wait=9']),
    ("Last-Event-ID", ["0-0", "-", "x" * 2000, "9" * 15 + "-" + "9" * 15, "1-1\xff"]),
    ("Accept", ["*/*", "text/html"]),
    ("Origin", ["null", "https://evil.test"]),
    ("X-Real-Ip", ["198.51.100.1", "not an address", "::1"]),
    ("Expect", ["100-continue"]),
    ("X-Http-Method-Override", ["DELETE"]),
    ("MCP-Protocol-Version", ["2026-07-28", "2025-11-25", "1", "\xff", "x" * 5000]),
    ("Mcp-Method", ["server/discover", "tools/call", "=?base64?eA==?=", "\xff"]),
    ("Mcp-Name", ["list_tools", "=?base64?/w==?=", "=?base64?" + "A" * 5000 + "?="]),
    ("Mcp-Session-Id", ["x", "\xff"]),
]


def nonsense(random: Random, session: dict[str, Any]) -> bytes:
    """Return a request, whole as far as HTTP is concerned, and odd in everything else."""

    def one(texts: list[str], likely: str) -> str:
        return random.choice(texts) if random.random() < 0.25 else likely

    path = random.choice(PATHS)
    path = path.format(code=one(TEXTS, session["code"]), id=one(TEXTS, "q1"), token=one(TEXTS, session["token"]))
    if random.random() < 0.3:
        query = random.choice(["after", "wait", "deep", "code", "id", "token", "x"]) + "=" + random.choice(TEXTS)
        if not (query.startswith("wait") and query[5:].isdigit() and query != "wait=0"):
            path += ("&" if "?" in path else "?") + query
    headers = {name: random.choice(values) for name, values in HEADERS if random.random() < 0.25}
    if headers.get("Prefer", "").endswith("9"):
        del headers["Prefer"]  # which would wait for a minute
    if random.random() < 0.5:
        headers["Authorization"] = f"Bearer {session['token']}"
    body = random.choice(BODIES)
    headers["Content-Length"] = str(len(body))
    lines = [f"{random.choice(METHODS)} {path.replace(' ', '%20')} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("utf-8", "surrogateescape") + body


def answer(address: tuple[str, int], request: bytes) -> tuple[int, bytes, bytes]:
    """Return status, headers and body. Of a stream only its beginning is read."""
    with socket.create_connection(address, PATIENCE_SECONDS) as connection:
        connection.sendall(request)
        received = b""
        while part := connection.recv(65536):
            received += part
            if b"text/event-stream" in received and b"event: open" in received:
                break
    head, _, body = received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), head.lower(), body


@pytest.fixture(scope="module")
def parley() -> Iterator[Parley]:
    """Give a deployment that does not mind how often it is called."""
    with running_store(None) as store, running_parley(store, **environment.UNLIMITED) as made:
        yield made


@pytest.mark.long
@pytest.mark.parametrize("front", [True, False], ids=["platform", "function"])
def test_nonsense(parley: Parley, front: bool) -> None:
    """Through the platform, and to the function itself, which must not rely on what stands before it."""
    random = Random(7)
    project = Project(PROJECT)
    session = parley.create()
    statuses: set[int] = set()
    for turn in range(ROUNDS):
        if turn % 20 == 0:
            session = parley.create()
        request = nonsense(random, session)
        port = urlsplit(parley.url).port or 0
        if not front:
            route = project.route(request.split(b" ")[1].decode(errors="replace"))
            port = parley.platform.function(route.function if route else "sessions").port
        try:
            status, head, body = answer(("127.0.0.1", port), request)
        except ConnectionResetError:
            assert front, (
                "only the platform's own server hangs up on what is no HTTP, and may do so before it is all sent"
            )
            continue
        assert status < 500, (request, head, body)
        statuses.add(status)
        if status >= 400 and b"application/problem+json" in head and not request.startswith(b"HEAD"):
            text = body if b"chunked" not in head else body.partition(b"\r\n")[2].rpartition(b"\r\n0\r\n")[0]
            assert json.loads(text)["status"] == status
        assert session["token"].encode() not in body or status == 201
    assert statuses >= {200, 204, 400, 401, 403, 404, 405}
    assert not [line for line in parley.lines if '"defect"' in line or session["token"] in line]
