"""public/relay.py over a network that is slow, and one that comes to a standstill."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from public import relay
from public.relay import RelayError, guest
from tests.support.tools import wait_until

pytestmark = pytest.mark.long

type Serve = Callable[[socket.socket], None]
RESPONSE = '{"id":"q1","status":"answered","result":"fine"}'


@contextmanager
def serving(serve: Serve) -> Iterator[str]:
    """Give the URL of a relay whose connections a function serves."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)

        def accept() -> None:
            with suppress(OSError):  # the listener is closed
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=run, args=[connection], daemon=True).start()

        def run(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                serve(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def read_call(connection: socket.socket, seconds: float = 0) -> bytes:
    """Read a call, with a pause before each part of it."""
    call = b""
    while b"\r\n\r\n" not in call:
        call += connection.recv(256)
    head, _, body = call.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
    while len(body) < length:
        time.sleep(seconds)
        body += connection.recv(200_000)
    return body


def answer(connection: socket.socket, body: str, part: int = 0, seconds: float = 0) -> None:
    """Answer a call, with a pause before each part of the answer."""
    data = body.encode()
    connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode())
    for place in range(0, len(data), part or len(data)):
        time.sleep(seconds)
        connection.sendall(data[place : place + (part or len(data))])


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a call end after two seconds of silence, without another attempt."""
    monkeypatch.setattr(relay, "_CALL_SECONDS", 2)
    monkeypatch.setattr(relay, "_POLL_SECONDS", 0)
    monkeypatch.setattr(relay, "_RETRY_SECONDS", 0.1)


def test_request_that_takes_long_to_send() -> None:
    """What counts is that it goes on."""

    def serve(connection: socket.socket) -> None:
        received.append(len(read_call(connection, 0.01)))
        answer(connection, RESPONSE)

    received: list[int] = []
    with serving(serve) as url:
        assert guest("ABC12345", relay=url).request("x" * 3_900_000) == "fine"
    assert received == [3_900_000 + len('{"id":"0123456789abcdef","payload":""}')]


def test_request_that_is_sent_later_than_it_seems() -> None:
    """The system has taken all of it, but the other side gets it slowly."""

    def serve(connection: socket.socket) -> None:
        time.sleep(4)
        read_call(connection)
        answer(connection, RESPONSE)

    with serving(serve) as url:
        assert guest("ABC12345", relay=url).request("x" * 20_000) == "fine"


def test_response_that_takes_long() -> None:
    def serve(connection: socket.socket) -> None:
        read_call(connection)
        answer(connection, json.dumps({"id": "q1", "status": "answered", "result": "x" * 120_000}), 12_000, 0.4)

    with serving(serve) as url:
        assert guest("ABC12345", relay=url).request(1) == "x" * 120_000


def test_answer_that_hardly_goes_on() -> None:
    """It is given up, although there is always another byte."""

    def serve(connection: socket.socket) -> None:
        read_call(connection)
        try:
            answer(connection, '{"tools":[]}' + " " * 200, 1, 0.2)
            ends.append("all was sent")
        except OSError:
            ends.append("the client has hung up")

    ends: list[str] = []
    with serving(serve) as url:
        with pytest.raises(RelayError) as raised:
            guest("ABC12345", relay=url).tools()
        wait_until(lambda: ends == ["the client has hung up"])
    assert raised.value.code == "unreachable"


def test_timeout_of_the_caller() -> None:
    """It holds, however well an answer comes on."""

    def serve(connection: socket.socket) -> None:
        read_call(connection)
        answer(connection, json.dumps({"id": "q1", "status": "answered", "result": "x" * 100_000}), 1_000, 0.1)

    with serving(serve) as url, pytest.raises(RelayError) as raised:
        guest("ABC12345", relay=url).request(1, timeout=1.5)
    assert raised.value.code == "timeout"
