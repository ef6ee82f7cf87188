"""public/relay.py: how it calls the relay, and what it makes of what comes."""

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from dev.local.server import Server, lifespan
from public import relay
from public.relay import RelayError, guest, host
from tests.clients.gate import Answer, Call, Gate, problem
from tests.clients.scripted import CODE, Scripted
from tests.support.deployments import Parley
from tests.support.tools import wait_until

LOGIN = "Basic " + base64.b64encode(b"us er:pass:word").decode()


class Relay:
    """An ASGI application in place of a relay, which notes from which ports it is called."""

    def __init__(self) -> None:
        self.ports: list[int] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        self.ports.append(scope["client"][1])
        answer = JSONResponse({"tools": [{"name": scope["path"]}]})
        await answer(scope, receive, send)


class Proxy(BaseHTTPRequestHandler):
    """A proxy that passes on what it gets, and notes what it was asked for."""

    protocol_version = "HTTP/1.1"
    asked: list[tuple[str, str, str | None]]

    def do_CONNECT(self) -> None:
        self.asked.append(("CONNECT", self.path, self.headers.get("Proxy-Authorization")))
        with socket.create_connection(("127.0.0.1", int(self.path.partition(":")[2]))) as onward:
            self.connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=self._copy, args=[onward, self.connection], daemon=True)
            back.start()
            self._copy(self.connection, onward)
            back.join(5)
        self.close_connection = True

    def do_GET(self) -> None:
        self.asked.append(("GET", self.path, self.headers.get("Proxy-Authorization")))
        body = b'{"tools":[{"name":"through a proxy"}]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _copy(self, here: socket.socket, there: socket.socket) -> None:
        with suppress(OSError):
            while part := here.recv(65536):
                there.sendall(part)
        with suppress(OSError):
            there.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str, str | None]]]:
    """Run a proxy that the environment names, and give what it was asked for."""
    asked: list[tuple[str, str, str | None]] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Asked", (Proxy,), {"asked": asked})) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://us%20er:pass%3Aword@127.0.0.1:{server.server_address[1]}")
        monkeypatch.setenv("no_proxy", "direct.example")
        yield asked
        server.shutdown()


@contextmanager
def tls_relay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    certificate = authority.issue_cert("localhost", "relay.example")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "authority.pem"))
    with Server(Relay(), certificate=folder / "server.pem") as server:
        yield f"https://localhost:{server.port}/base"


@pytest.mark.parametrize("through", [False, True])
def test_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: list[tuple[str, str, str | None]], through: bool
) -> None:
    """Directly, and through a tunnel of the system's proxy, to which the proxy's login goes and nothing else."""
    with tls_relay(tmp_path, monkeypatch) as url:
        if through:
            url = url.replace("localhost", "relay.example")
        assert guest("ABC12345", relay=url).tools() == [{"name": "/base/api/sessions/ABC12345/tools"}]
    place = url.removeprefix("https://").removesuffix("/base")
    assert proxy == ([("CONNECT", place, LOGIN)] if through else [])


def test_certificate_that_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tls_relay(tmp_path, monkeypatch) as url:
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(RelayError, match="certificate verify failed") as raised:
            guest("ABC12345", relay=url).tools()
    assert raised.value.code == "unreachable"


def test_proxy_without_tls(proxy: list[tuple[str, str, str | None]]) -> None:
    assert guest("ABC12345", relay="http://relay.example/base").tools() == [{"name": "through a proxy"}]
    assert proxy == [("GET", "http://relay.example/base/api/sessions/ABC12345/tools", LOGIN)]


@pytest.mark.parametrize(
    "place",
    [
        "localhost",
        "LocalHost",
        "localhost.",
        "relay.localhost",
        "127.0.0.1",
        "127.8.9.10",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ],
)
def test_relay_on_this_machine(proxy: list[tuple[str, str, str | None]], place: str) -> None:
    """What is sent there, token and all, stays there."""
    with suppress(RelayError):  # nothing may listen there
        guest("ABC12345", relay=f"http://{place}:9").tools()
    assert proxy == []


@pytest.mark.parametrize("place", ["127.example", "localhost.example", "10.0.0.1", "[::2]"])
def test_relay_on_another_machine(proxy: list[tuple[str, str, str | None]], place: str) -> None:
    assert guest("ABC12345", relay=f"http://{place}:9").tools() == [{"name": "through a proxy"}]


def test_relay_for_which_there_is_no_proxy(
    proxy: list[tuple[str, str, str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    find: Any = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *rest, **named: find("127.0.0.1", *rest, **named))
    with Scripted() as scripted:
        scripted.tools = '{"tools":[]}'
        assert guest(CODE, relay=scripted.url.replace("127.0.0.1", "direct.example")).tools() == []
    assert proxy == []


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("0", None),
        ("60", 60),
        ("61", 60),
        ("3600", 60),
        ("9999999999", 60),
        ("9" * 5_000, 60),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("1.5", None),
        ("1e3", None),
        ("", None),
        ("soon", None),
        ("\u00b2", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 60),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("Thu, 99 Jan 1970 00:00:00 GMT", None),
    ],
)
def test_retry_after(gate: Gate, header: str, seconds: float | None) -> None:
    """At most a minute is believed."""
    gate.rule = lambda _: problem(503, "store_unavailable", header)
    with pytest.raises(RelayError) as raised:
        guest("ABC12345", relay=gate.url).tools()
    assert raised.value.retry_after == seconds
    assert relay._backoff(1, raised.value) <= 60


def test_relay_that_has_moved() -> None:
    """The token goes nowhere else; who has typed http:// is told."""

    async def move(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        else:
            await Response(status_code=308, headers={"Location": "https://relay.example/"})(scope, receive, send)

    with Server(move) as server, pytest.raises(RelayError, match=r"HTTP 308 https://relay\.example/") as raised:
        guest("ABC12345", relay=server.url).tools()
    assert (raised.value.code, raised.value.status) == ("unexpected_answer", 308)


def test_tools_that_cannot_be_read(gate: Gate) -> None:
    """The caller is told when to try again."""
    with host([read], relay=gate.url) as session:
        gate.rule = lambda _: problem(429, "rate_limited", 7)
        with pytest.raises(RelayError) as raised:
            guest(session.code, relay=gate.url).tools()
        assert (raised.value.code, raised.value.status, raised.value.retry_after) == ("rate_limited", 429, 7)
        gate.rule = lambda _: ""


def read() -> str:
    """Return a text."""
    return "read"


def test_tools_that_are_refused(gate: Gate) -> None:
    """Before a code is given out."""
    gate.rule = lambda call: problem(400, "invalid_request") if call.kind == "tools" else ""
    with pytest.raises(RelayError, match="invalid_request"), host([read], relay=gate.url):
        pytest.fail("no code is given out")
    assert [call.method for call in gate.calls] == ["POST", "PUT", "DELETE"]


def test_session_that_cannot_be_created(gate: Gate) -> None:
    odd = (Answer(200, "<html>Log in</html>"), Answer(200, "[]"), Answer(200, "{}"))
    for fate in (problem(429, "rate_limited", 3), *odd, "cut"):
        gate.rule = lambda _, fate=fate: fate  # type: ignore[misc]
        with pytest.raises(RelayError), host([read], relay=gate.url):
            pytest.fail("there is no session")


@pytest.mark.parametrize("polls", [False, True])
@pytest.mark.parametrize("payload", [f"[{'9' * 5000}]", "[" * 1450 + "]" * 1450], ids=["long number", "deep"])
def test_payload_that_python_cannot_read(site: Parley, gate: Gate, polls: bool, payload: str) -> None:
    """Its guest is told, and the requests beside it are answered."""
    gate.rule = lambda call: "cut" if polls and call.kind == "stream" else ""
    seen: list[Any] = []

    def note(payload: Any) -> int:
        seen.append(payload)
        return len(seen)

    with host(on_request=note, relay=gate.url) as session:
        wait_until(lambda: session.state == ("polling" if polls else "connected"), 20)
        url = f"/api/sessions/{session.code}"
        headers = {"Content-Type": "application/json"}
        for name, text in (("q1", "1"), ("q2", payload), ("q3", "3")):
            site.http.post(f"{url}/requests", content=f'{{"id":"{name}","payload":{text}}}', headers=headers)
        got = {name: site.http.get(f"{url}/responses/{name}?wait=10").json() for name in ("q1", "q2", "q3")}
        assert "result" in got["q3"]
        if payload.startswith("[["):  # which a Python may read
            assert ("result" in got["q2"]) == (len(seen) == 3)
        if "result" not in got["q2"]:
            assert got["q2"]["error"]["code"] == "client_error"
        assert (
            site.http.get(f"{url}/requests", headers={"Authorization": f"Bearer {gate.tokens[-1]}"}).json()["requests"]
            == []
        )


MOST = 4 * 1024 * 1024  # of a message, if the relay is set up so


@pytest.mark.parametrize("polls", [False, True])
def test_large_messages(polls: bool) -> None:
    """A host gets and answers what a relay takes at most."""
    with Scripted(polls=polls) as scripted, host(on_request=lambda payload: payload, relay=scripted.url):
        text = "ü" * (MOST // 2 - 1)
        scripted.post("q1", f'"{text}"')
        assert scripted.answer("q1")["result"] == text


def test_large_messages_of_guests() -> None:
    with Scripted() as scripted:
        text = "x" * (MOST - 2)
        scripted.response = f'{{"id":"q1","status":"answered","result":"{text}"}}'
        assert guest(CODE, relay=scripted.url).request(text) == text
        assert [request["payload"] for request in scripted.requests] == [text]


def test_message_that_no_relay_takes() -> None:
    """It is not sent, since a platform would only break the connection off."""
    with Scripted() as scripted:
        with pytest.raises(RelayError, match=r"has 4,500,038 bytes, .* more than 4,400,000") as raised:
            guest(CODE, relay=scripted.url).request("x" * 4_500_000)
        assert scripted.requests == []
    assert (raised.value.code, raised.value.status, raised.value.final) == ("payload_too_large", 413, True)


def test_message_that_a_server_in_front_of_the_relay_refuses(gate: Gate) -> None:
    gate.rule = lambda _: Answer(413, "<html>Request Entity Too Large</html>")
    with pytest.raises(RelayError, match="a server in front of the relay refuses") as raised:
        guest(CODE, relay=gate.url).request(1)
    assert (raised.value.code, raised.value.status) == ("payload_too_large", 413)


def test_no_more_than_so_many_run_at_once(site: Parley) -> None:
    running, most, lock = 0, 0, threading.Lock()

    def hold(seconds: float) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        relay.cancelled().wait(seconds)
        with lock:
            running -= 1

    with host([hold], relay=site.url, workers=2) as session:
        one = guest(session.code, relay=site.url)
        calls = [threading.Thread(target=one.call_tool, args=["hold", {"seconds": 0.3}]) for _ in range(6)]
        for call in calls:
            call.start()
        for call in calls:
            call.join()
    assert most == 2


def streams(call: Call) -> bool:
    return call.kind == "stream"


def test_stream_that_is_silent(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is dead without an end: the host connects again."""
    monkeypatch.setattr(relay, "_STREAM_IDLE_SECONDS", 1)
    monkeypatch.setattr(relay, "_SHORT_STREAM_SECONDS", 0.5)
    with host([read], relay=gate.url) as session:
        wait_until(lambda: len([call for call in gate.calls if streams(call)]) >= 2)
        assert guest(session.code, relay=gate.url).call_tool("read")["content"][0]["text"] == "read"
        assert session.state in ("connected", "connecting")


def until_backoffs(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses that the client makes, which take no time."""
    pauses: list[float] = []
    backoff: Callable[[int, RelayError], float] = relay._backoff

    def note(failures: int, error: RelayError) -> float:
        pauses.append(backoff(failures, error))
        return 0.001

    monkeypatch.setattr(relay, "_backoff", note)
    return pauses


def test_pauses_grow(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = until_backoffs(monkeypatch)
    gate.rule = lambda call: problem(503, "store_unavailable") if streams(call) else ""
    with host([read], relay=gate.url):
        wait_until(lambda: len(pauses) > 8)
    assert all(0.25 * 2**turn <= pause <= 0.5 * 2**turn for turn, pause in enumerate(pauses[:5]))
    assert all(7.5 <= pause <= 15 for pause in pauses[5:])
    assert relay._backoff(1, RelayError("", "rate_limited", 429, 60)) == 0.001
    assert pauses[-1] == 60


def test_guest_gives_up_on_a_relay_that_is_out_of_reach(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    until_backoffs(monkeypatch)
    monkeypatch.setattr(relay, "_RETRY_SECONDS", 0.3)
    gate.rule = lambda _: "cut"
    with pytest.raises(RelayError) as raised:
        guest("ABC12345", relay=gate.url).request(1)
    assert raised.value.code == "unreachable"
    assert len(gate.calls) > 3
