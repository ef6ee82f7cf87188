"""lib/web/endpoint.py, lib/web/body.py: what HTTP brings, and what no caller should see."""

import io
import json
import socket
import threading
from collections.abc import Iterator
from email.message import Message
from urllib.parse import urlsplit

import httpx
import pytest

from dev.local.function import Function, from_source
from lib.problems import Problem
from lib.store import health
from lib.web import body, endpoint
from lib.web.call import Call
from lib.web.endpoint import Actions, Endpoint, Reply
from tests.support.deployments import Api, Pair, Parley, clean_environment, refusal
from tests.support.functions import serving
from tests.support.tools import PATIENCE_SECONDS, PROJECT, wait_until


def raw(url: str, request: bytes, *, rest: bytes = b"") -> httpx.Response:
    """Send bytes, and read the answer to its end."""
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), PATIENCE_SECONDS) as connection:
        connection.sendall(request)
        connection.sendall(rest)
        with connection.makefile("rb") as stream:
            status = int(stream.readline().split()[1])
            headers = [line.decode().strip().split(": ", 1) for line in iter(stream.readline, b"\r\n")]
            return httpx.Response(status, headers=[(name, value) for name, value in headers], content=stream.read())


def function_url(parley: Parley) -> str:
    """Return where the function itself listens, without the platform before it."""
    return f"http://127.0.0.1:{parley.platform.function('sessions').port}"


COMMON = {
    "cache-control": "no-store",
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "Location, Retry-After, Preference-Applied, Server-Timing, Mcp-Session-Id",
}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/health"),
        ("POST", "/api/sessions"),
        ("GET", "/api/sessions/x"),
        ("BREW", "/api/sessions"),
        ("OPTIONS", "/api/health"),
        ("HEAD", "/api/health"),
    ],
)
def test_every_answer(parley: Parley, method: str, path: str) -> None:
    answer = parley.http.request(method, path)
    assert {name: answer.headers[name] for name in COMMON} == COMMON
    assert answer.headers["server-timing"].startswith("kv;dur=")
    assert "python" not in str(answer.headers).lower()
    assert answer.headers["x-content-type-options"] == "nosniff"
    if answer.status_code != 204:
        assert answer.headers["content-length"].isdigit()


@pytest.mark.parametrize("path", ["/api/health", "/api/health/", "/api/health.py"])
def test_own_paths(parley: Parley, path: str) -> None:
    health = parley.http.get(path).json()
    assert list(health) == ["status", "store", "environment", "commit"]
    assert health["status"] == "ok"
    assert health["store"]["latencyMs"] > 0
    assert (health["environment"], health["commit"]) == ("development", None)


@pytest.mark.parametrize(("query", "cost"), [("", 1), ("?deep=1", 2)])
def test_health_is_remembered(api: Api, monkeypatch: pytest.MonkeyPatch, query: str, cost: int) -> None:
    """However often and by however many it is asked within a second, it spends no more of the operator's calls."""
    monkeypatch.setattr(health, "_REMEMBERED_SECONDS", 10 * PATIENCE_SECONDS)
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(api.http.get(f"/api/health{query}"))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.json()["status"] for answer in answers} == {"ok"}
    assert api.store.faults.calls == cost
    assert api.store.names() == []


def test_health_is_forgotten(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_REMEMBERED_SECONDS", 0)
    for number in range(3):
        assert api.http.get("/api/health").json()["status"] == "ok"
        assert api.store.faults.calls == number + 1


def test_health_remembers_failures(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_REMEMBERED_SECONDS", 10 * PATIENCE_SECONDS)
    api.store.faults.fail("quota", times=1)
    answers = [refusal(api.http.get("/api/health")) for _ in range(2)]
    assert answers == [(503, "store_quota_exceeded")] * 2
    monkeypatch.setattr(health, "_REMEMBERED_SECONDS", 0)
    assert api.http.get("/api/health").status_code == 200


def test_deep_health_of_a_store_that_may_not_write(api: Api) -> None:
    api.store.faults.fail_after(1, "read-only token")
    assert refusal(api.http.get("/api/health?deep=1")) == (503, "store_unauthorized")


def test_deep_health_of_a_store_that_lets_nobody_subscribe(api: Api) -> None:
    api.store.faults.fail("html", times=1)
    assert refusal(api.http.get("/api/health?deep=1")) == (503, "store_unavailable")


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/api/sessions", {"POST", "OPTIONS"}),
        ("/api/sessions/ABC12345", {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
        ("/api/sessions?code=ABC12345", {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
        ("/api/health", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_methods(parley: Parley, path: str, allow: set[str]) -> None:
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"} - allow:
        answer = parley.http.request(method, path)
        assert refusal(answer) == (405, "method_not_allowed"), method
        assert set(answer.headers["allow"].split(", ")) == allow
    preflight = parley.http.options(path, headers={"Origin": "https://a.test", "Access-Control-Request-Method": "POST"})
    assert (preflight.status_code, preflight.content) == (204, b"")
    assert set(preflight.headers["access-control-allow-methods"].split(", ")) == allow
    assert preflight.headers["access-control-max-age"] == "86400"
    for name in ("Authorization", "Content-Type", "Last-Event-ID", "Prefer"):
        assert name in preflight.headers["access-control-allow-headers"]
    assert parley.store.faults.calls == 0


@pytest.mark.parametrize("path", ["/api/sessions/{code}", "/api/sessions/x"])
def test_head_is_get_without_a_body(parley: Parley, path: str) -> None:
    url = path.format(code=parley.create()["code"])
    get, head = parley.http.get(url), parley.http.head(url)
    assert head.content == b""
    assert head.status_code == get.status_code
    assert head.headers["content-type"] == get.headers["content-type"]
    assert int(head.headers["content-length"]) == len(get.content) > 0


def test_head_of_a_stream_has_no_events(api: Api) -> None:
    """Neither the first one, nor those that come later."""
    pair = Pair(api)
    pair.post("1", "q")
    headers = "Accept: text/event-stream\r\n"
    answer = raw(api.url, f"HEAD {pair.url}/responses/q?wait=1 HTTP/1.1\r\n{headers}\r\n".encode())
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    assert answer.content == b""


@pytest.mark.parametrize("chunks", [[b"{}"], [b"{", b"}"], [b" " * 70_000, b"{}", b" " * 3]])
def test_chunked_body(parley: Parley, chunks: list[bytes]) -> None:
    answer = parley.http.post("/api/sessions", content=iter(chunks), headers={"Content-Type": "application/json"})
    assert answer.status_code == 201
    answer = parley.http.post("/api/sessions", content=iter([*chunks, b"x"]))
    assert refusal(answer) == (400, "invalid_json")


def test_log_line_of_a_long_method(parley: Parley) -> None:
    answer = parley.http.request("BREW" * 100, "/api/health")
    assert refusal(answer) == (405, "method_not_allowed")
    assert answer.json()["detail"].startswith(f"{'BREW' * 4} is not possible here.")
    assert parley.log(answer)["method"] == "BREW" * 4


def test_log_line(parley: Parley) -> None:
    session = parley.create()
    answer = parley.http.get(f"/api/sessions/{session['code']}?token={session['token']}", headers=session["host"])
    line = parley.log(answer)
    assert line | {"ms": 0, "storeMs": 0} == {
        "level": "info",
        "method": "GET",
        "route": "/api/sessions/{code}",
        "status": 200,
        "ms": 0,
        "storeCalls": 1,
        "storeMs": 0,
        "requestId": answer.headers["x-vercel-id"],
    }
    assert 0 < line["storeMs"] <= line["ms"]
    printed = "".join(parley.lines)
    assert sum(answer.headers["x-vercel-id"] in printed_line for printed_line in parley.lines) == 1
    assert session["code"] not in printed
    assert session["token"] not in printed
    assert "http" not in printed


@pytest.mark.parametrize("platform", [True, False])
def test_log_line_has_the_platforms_id(api: Api, monkeypatch: pytest.MonkeyPatch, platform: bool) -> None:
    """At most 64 characters of it; elsewhere, where a caller could choose it, the line has a random id."""
    monkeypatch.setenv("VERCEL", "1" if platform else "")
    api.http.get("/api/health", headers={"x-vercel-id": "i" * 65})
    wait_until(lambda: bool(api.lines))
    (line,) = map(json.loads, api.lines)
    assert (line["requestId"] == "i" * 64) == platform
    assert line["requestId"]


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        (b"GET /api/health HTTP/9.9", (400, "invalid_request")),
        (b"GET /api/health HTTP/x", (400, "invalid_request")),
        (b"GET", (400, "invalid_request")),
        (b"GET  /api/health  HTTP/1.1 more", (400, "invalid_request")),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1", (405, "method_not_allowed")),
    ],
)
def test_request_that_is_none(parley: Parley, request_line: bytes, expected: tuple[int, str]) -> None:
    """The platform lets none of these through; the function still answers as the contract says."""
    assert refusal(raw(function_url(parley), request_line + b"\r\n\r\n")) == expected


def test_too_many_headers(parley: Parley) -> None:
    request = b"GET /api/health HTTP/1.1\r\n" + b"x: y\r\n" * 200 + b"\r\n"
    assert refusal(raw(function_url(parley), request)) == (400, "invalid_request")


def test_many_parameters(parley: Parley) -> None:
    assert parley.http.get("/api/health?" + "a=1&" * 2000).status_code == 200
    assert parley.http.options("/api/sessions?" + "a=1&" * 2000).status_code == 204


@pytest.mark.parametrize(
    ("headers", "sent", "expected"),
    [
        (b"Content-Length: 2\r\n", b"{}", 201),
        (b"Content-Length: x\r\n", b"", 400),
        (b"Content-Length: -1\r\n", b"", 400),
        (b"Content-Length: 99999999999999999999\r\n", b"", 400),
        (b"Transfer-Encoding: gzip\r\n", b"", 400),
        (b"Transfer-Encoding: chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n", 201),
        (b"Transfer-Encoding: chunked\r\n", b"2;a=b\r\n{}\r\n0\r\nTrailer: x\r\n\r\n", 201),
        (b"Transfer-Encoding: chunked\r\n", b"z\r\n{}\r\n0\r\n\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n", b"1\r\n{}\r\n0\r\n\r\n", 400),
        (b"Transfer-Encoding: Chunked\r\nContent-Length: 3\r\n", b"2\r\n{}\r\n0\r\n\r\n", 201),
    ],
)
def test_framing(parley: Parley, headers: bytes, sent: bytes, expected: int) -> None:
    """Bodies as they come to the function itself."""
    answer = raw(function_url(parley), b"POST /api/sessions HTTP/1.1\r\n" + headers + b"\r\n", rest=sent)
    assert answer.status_code == expected
    if expected == 400:
        assert refusal(answer) == (400, "invalid_request")


def test_client_that_vanishes(parley: Parley) -> None:
    """One hangs up half way through its body, one before its answer: the function goes on."""
    url = urlsplit(function_url(parley))
    for request in (
        b"POST /api/sessions HTTP/1.1\r\nContent-Length: 100\r\n\r\n{",
        b"POST /api/sessions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"GET /api/health HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection((url.hostname, url.port)) as connection:
            connection.sendall(request)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert parley.http.get("/api/health").status_code == 200


@pytest.mark.parametrize(
    ("sent", "timeout"),
    [
        (b"", Endpoint.timeout / 50),
        (b"GET / HTTP/1.1\r\nx: y\r\n", Endpoint.timeout / 50),
        (b"GET / HTTP/1.1\r\n\r\n", 10 * PATIENCE_SECONDS),
    ],
)
def test_client_that_does_nothing(monkeypatch: pytest.MonkeyPatch, sent: bytes, timeout: float) -> None:
    """It sends no request, or half of one, or does not read its answer: it is given up."""
    monkeypatch.setattr(endpoint, "_WRITE_SECONDS", 0.2)
    over = threading.Event()

    class Answering(Endpoint):
        def actions(self, _: Call) -> Actions:
            return {"GET": lambda _: Reply(200, "x" * 20_000_000)}

        def finish(self) -> None:
            over.set()
            super().finish()

    monkeypatch.setattr(Answering, "timeout", timeout)
    with (
        serving(Answering) as url,
        socket.create_connection((urlsplit(url).hostname, urlsplit(url).port)) as connection,
    ):
        connection.sendall(sent)
        assert over.wait(PATIENCE_SECONDS)


def test_an_answer_ends_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also under a runtime that would keep it."""
    monkeypatch.setattr(endpoint, "_WRITE_SECONDS", 60)

    class Kept(Endpoint):
        protocol_version = "HTTP/1.1"

        def actions(self, _: Call) -> Actions:
            return {"GET": lambda _: Reply(200, 1)}

    with serving(Kept) as url:
        assert raw(url, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").content == b"1"


def message(**headers: str) -> Message:
    made = Message()
    for name, value in headers.items():
        made[name.replace("_", "-")] = value
    return made


def buffered(sent: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(sent))


@pytest.mark.parametrize("size", [0, 1, 99, 100])
def test_body_up_to_the_limit(size: int) -> None:
    assert body.read(message(Content_Length=str(size)), buffered(b"x" * size), None, 100) == b"x" * size


@pytest.mark.parametrize(
    ("headers", "sent", "code"),
    [
        ({"Content_Length": "101"}, b"x" * 101, "payload_too_large"),
        ({"Content_Length": "100000000"}, b"x" * 20_000_000, "payload_too_large"),
        ({"Content_Length": "5"}, b"x", "invalid_request"),
        ({"Content_Length": "²"}, b"x", "invalid_request"),
        ({"Content_Length": "9" * 5000}, b"x", "invalid_request"),
        ({"Transfer_Encoding": "chunked"}, b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n", "payload_too_large"),
        ({"Transfer_Encoding": "chunked"}, b"", "invalid_request"),
        ({"Transfer_Encoding": "chunked"}, b"-1\r\n", "invalid_request"),
        ({"Transfer_Encoding": "chunked"}, b"1" * 10_000, "invalid_request"),
        ({"Transfer_Encoding": "chunked"}, b"1;" + b"a" * 5000 + b"\r\nx\r\n0\r\n\r\n", "invalid_request"),
        ({"Transfer_Encoding": "chunked, gzip"}, b"", "invalid_request"),
        ({"Transfer_Encoding": "gzip, chunked"}, b"0\r\n\r\n", "invalid_request"),
        ({"Transfer_Encoding": "chunked"}, b"0\r\n" + b"a: b\r\n" * 101, "invalid_request"),
        ({"Transfer_Encoding": "chunked"}, b"1\r\nx\r\n" * 70_000 + b"0\r\n\r\n", "invalid_request"),
    ],
)
def test_body_that_is_refused(headers: dict[str, str], sent: bytes, code: str) -> None:
    stream = buffered(sent)
    with pytest.raises(Problem) as raised:
        body.read(message(**headers), stream, None, 100)
    assert raised.value.code == code
    assert stream.tell() < 9_000_000


@pytest.mark.parametrize("more", [b"1", b""])
@pytest.mark.parametrize(
    "sent",
    [
        b"Content-Length: 900\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n",
    ],
)
def test_dripping_body(monkeypatch: pytest.MonkeyPatch, sent: bytes, more: bytes) -> None:
    """However slowly its bytes come, and if none come any more, a body is refused when its time is over."""
    monkeypatch.setattr(body, "_SECONDS", 0.2)
    ours, theirs = socket.socketpair()
    refused = threading.Event()

    def drip() -> None:
        for _ in range(PATIENCE_SECONDS * 20):
            if refused.wait(0.05):
                return
            theirs.sendall(more)
        theirs.shutdown(socket.SHUT_WR)  # a body that ends, which is refused for another reason

    head, _, rest = sent.partition(b"\r\n\r\n")
    headers = message(**dict([head.decode().split(": ")]))
    ours.settimeout(10 * PATIENCE_SECONDS)
    with ours, theirs, ours.makefile("rb") as stream:
        theirs.sendall(rest)
        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            with pytest.raises(Problem) as raised:
                body.read(headers, stream, ours, 1000)
        finally:
            refused.set()
            dripping.join()
    assert (raised.value.code, raised.value.detail) == ("invalid_request", "The body did not arrive in time.")


BROKEN = """
import builtins
from lib.web.endpoint import Endpoint

def fail(call):
    raise getattr(builtins, call.target.query["error"])("a secret")

class handler(Endpoint):
    def actions(self, call):
        return {"GET": fail}
"""


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Function, list[str]]]:
    """Give a function that fails as it is asked to, and the lines that it prints."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "api").mkdir()
    (folder / "api" / "broken.py").write_text(BROKEN)
    (folder / "lib").symlink_to(PROJECT / "lib")
    lines: list[str] = []
    function = from_source("broken", folder, clean_environment(), lines.append)
    yield function, lines
    function.stop()


@pytest.mark.parametrize("error", ["KeyError", "OSError", "ConnectionError", "TimeoutError"])
def test_defect_is_answered(broken: tuple[Function, list[str]], error: str) -> None:
    """A defect of ours is a problem document and a log line, without a stack trace in either, whatever its kind."""
    function, lines = broken
    lines.clear()
    answer = httpx.get(f"http://127.0.0.1:{function.port}/api/broken?error={error}", timeout=PATIENCE_SECONDS)
    assert refusal(answer) == (500, "internal_error")
    wait_until(lambda: bool(lines))
    (line,) = lines
    assert json.loads(line)["defect"].startswith(f"{error} in fail:")
    assert "secret" not in answer.text + line
