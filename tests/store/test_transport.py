"""lib/transport.py, lib/exchange.py: connections that fail in every way, over plain HTTP and over TLS."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path

import pytest
import trustme

from lib import exchange, transport
from lib.transport import NO_ANSWER, Transport

OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"result":1}'
ONE = b'{"result":1}'

# What a server does with one connection.
type Script = Callable[[socket.socket], None]


class Server:
    """A server that handles one connection after another as scripts say; `received` holds the requests' bodies."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._scripts: list[Script] = []
        self.connections = 0
        self.received: list[bytes] = []
        port = self._listener.getsockname()[1]
        self.url = f"https://localhost:{port}" if context else f"http://localhost:{port}"

    def run(self, *scripts: Script) -> None:
        """Handle the next connections with these scripts."""
        self._scripts += scripts
        threading.Thread(target=self._serve, args=[len(scripts)], daemon=True).start()

    def _serve(self, number: int) -> None:
        for _ in range(number):
            connection, _ = self._listener.accept()
            self.connections += 1
            script = self._scripts.pop(0)
            with suppress(OSError), connection:
                secured = self._context.wrap_socket(connection, server_side=True) if self._context else connection
                with secured:
                    script(secured)

    def answer(self, *answers: bytes) -> Script:
        """Return a script that answers one request after another with these bytes, and then closes the connection."""

        def script(connection: socket.socket) -> None:
            for answer in answers:
                self.received.append(body_of(connection))
                connection.sendall(answer)

        return script

    def close(self) -> None:
        self._listener.close()


def body_of(connection: socket.socket) -> bytes:
    """Read a request, and return its body."""
    text = b""
    while b"\r\n\r\n" not in text:
        text += received(connection)
    head, _, body = text.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += received(connection)
    return body


def received(connection: socket.socket) -> bytes:
    part = connection.recv(65536)
    if not part:
        raise ConnectionError
    return part


@contextmanager
def certificates(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str, **how: object) -> Iterator[ssl.SSLContext]:
    """Give the context of a server with a certificate for these names, whose authority is trusted."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
    transport.tls.cache_clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **how).configure_cert(context)  # type: ignore[arg-type]
    yield context
    transport.tls.cache_clear()


@pytest.fixture(params=["http", "https"])
def server(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Give a server without and one with TLS."""
    if request.param == "http":
        with closing(Server(None)) as made:
            yield made
    else:
        with certificates(tmp_path, monkeypatch, "localhost") as context, closing(Server(context)) as made:
            yield made


def post(way: Transport, server: Server, command: object = ("PING",)) -> object:
    return way.post(server.url, {"Authorization": "Bearer token"}, command).json()


def test_one_connection_for_many_calls(server: Server) -> None:
    server.run(server.answer(OK, OK, OK))
    with closing(Transport(server.url)) as way:
        assert [post(way, server, [word]) for word in ("A", "ü😀", '\n"')] == [{"result": 1}] * 3
    assert server.connections == 1
    assert [json.loads(body) for body in server.received] == [["A"], ["ü😀"], ['\n"']]


def test_closed_while_idle(server: Server) -> None:
    """The server closes the connection after its answer, in silence: the next call opens another one."""
    server.run(server.answer(OK), server.answer(OK))
    with closing(Transport(server.url)) as way:
        post(way, server)
        time.sleep(0.05)  # either it sees the end before it sends, or it gets no answer: both must work
        post(way, server)
    assert server.connections == 2


def test_closed_as_the_request_arrives(server: Server) -> None:
    """It is sent once more, over a new connection, and not if that fails as well."""

    def close(connection: socket.socket) -> None:
        body_of(connection)
        connection.sendall(OK)
        body_of(connection)

    server.run(close, server.answer(OK))
    with closing(Transport(server.url)) as way:
        assert [post(way, server) for _ in range(2)] == [{"result": 1}] * 2
    server.run(lambda connection: None)
    with closing(Transport(server.url)) as way, pytest.raises(NO_ANSWER):
        post(way, server)


@pytest.mark.parametrize(
    "part", [OK[:5], OK[:40], OK[:-5], b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"]
)
def test_cut_off(server: Server, part: bytes) -> None:
    """An answer of which something came is not asked for again."""
    server.run(server.answer(OK, part))
    with closing(Transport(server.url)) as way:
        post(way, server)
        with pytest.raises(NO_ANSWER):
            post(way, server)
    assert server.connections == 1
    assert not way._idle


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 12\r\n\r\n" + ONE,
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\n\r\n" + ONE,
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xff",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + ONE[:5],
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    ],
)
def test_answers_that_are_none(server: Server, answer: bytes) -> None:
    server.run(server.answer(answer))
    with closing(Transport(server.url)) as way, pytest.raises(NO_ANSWER):
        post(way, server)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"
        + ONE[:5]
        + b"\r\n7\r\n"
        + ONE[5:]
        + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + ONE,
        b"HTTP/1.0 200 OK\r\n\r\n" + ONE,
        b'HTTP/1.1 400 Bad Request\r\nContent-Length: 12\r\n\r\n{"result":1}',
    ],
)
def test_answers_in_other_forms(server: Server, answer: bytes) -> None:
    """Whatever frames it, the next call works."""
    server.run(server.answer(answer), server.answer(OK))
    with closing(Transport(server.url)) as way:
        assert [post(way, server) for _ in range(2)] == [{"result": 1}] * 2


@pytest.mark.parametrize("pieces", [[b""], list(OK[:30:1].split()), [bytes([byte]) for byte in OK]])
def test_answers_that_drip(server: Server, monkeypatch: pytest.MonkeyPatch, pieces: list[bytes]) -> None:
    """The limit is for the whole exchange: no store can stretch it byte by byte."""
    monkeypatch.setattr(exchange, "_EXCHANGE_SECONDS", 0.5)
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        body_of(connection)
        for piece in pieces:
            connection.sendall(piece)
            over.wait(0.2)
        over.wait(30)

    server.run(drip)
    with closing(Transport(server.url)) as way, pytest.raises(TimeoutError):
        post(way, server)
    over.set()


def test_request_that_nobody_reads(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_EXCHANGE_SECONDS", 0.5)
    over = threading.Event()

    def wait(_: socket.socket) -> None:
        over.wait(30)

    server.run(wait)
    with closing(Transport(server.url)) as way, pytest.raises(TimeoutError):
        post(way, server, ["x" * 8_000_000])
    over.set()


def test_four_megabytes_each_way(server: Server) -> None:
    text = '"\\😀' * 700_000
    body = json.dumps({"result": text}).encode()
    server.run(server.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body))
    with closing(Transport(server.url)) as way:
        assert post(way, server, [text]) == {"result": text}
    assert json.loads(server.received[0]) == [text]


def test_answer_without_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_MOST_BYTES", 100_000)
    server.run(server.answer(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 200_000))
    with closing(Transport(server.url)) as way, pytest.raises(NO_ANSWER):
        post(way, server)


def test_connections_that_were_idle_for_long(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or whose process was frozen: whichever clock shows it."""
    server.run(server.answer(OK), server.answer(OK), server.answer(OK))
    clocks = exchange.clocks
    with closing(Transport(server.url)) as way:
        for offset in ((0.0, 0.0), (60.0, 0.0), (0.0, 3600.0)):
            monkeypatch.setattr(
                exchange, "clocks", lambda by=offset: tuple(a + b for a, b in zip(clocks(), by, strict=True))
            )
            post(way, server)
    assert server.connections == 3


def test_threads_share_connections(server: Server) -> None:
    """Fifty calls at a time get their own answers, and no more connections stay than there are calls to the store."""
    context = server._context

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            secured = context.wrap_socket(connection, server_side=True) if context else connection
            with secured:
                while True:
                    (number,) = json.loads(body_of(secured))
                    body = json.dumps({"result": number}).encode()
                    secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=[server._listener.accept()[0]], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    found: list[bool] = []

    def call(number: int) -> None:
        found.extend(post(way, server, [f"{number}.{turn}"]) == {"result": f"{number}.{turn}"} for turn in range(10))

    with closing(Transport(server.url)) as way:
        threads = [threading.Thread(target=call, args=[number]) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [True] * 500
        assert len(way._idle) <= 10


def test_no_proxy(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxies are not for the store."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server.run(server.answer(OK))
    with closing(Transport(server.url)) as way:
        assert post(way, server) == {"result": 1}


@pytest.mark.parametrize("fault", ["name", "expired", "authority", "no TLS"])
def test_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Whoever cannot show a certificate for the store's name gets no token."""
    expired = {"not_after": datetime(2020, 1, 1)} if fault == "expired" else {}
    names = ["other.example"] if fault == "name" else ["localhost"]
    with certificates(tmp_path, monkeypatch, *names, **expired) as context:
        if fault == "authority":
            trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
        with closing(Server(None if fault == "no TLS" else context)) as server:
            server.url = server.url.replace("http:", "https:")
            server.run(server.answer(OK))
            with closing(Transport(server.url)) as way, pytest.raises((ssl.SSLError, TimeoutError)):
                post(way, server)
            assert server.received == []
