"""HTTP to the store over keep-alive connections, for the vendor's client in place of its own HTTP client.

That one (httpx, httpcore and h11) takes a third of a call's processor time for a small POST to an address that never
changes. This one does no more than that: no proxies, no redirects, no compression, and time limits that a store which
sends byte after byte cannot stretch. An answer of a stated length, as the store gives nearly all, is read here; any
other form is read by `http.client`, whose parser takes ten times as long.
"""

import io
import json
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from http.client import HTTPException, HTTPResponse
from typing import Any, cast
from urllib.parse import quote, urlsplit

_CONNECT_SECONDS = 3.0
# For a whole exchange: sending the command, waiting, and reading the answer.
_EXCHANGE_SECONDS = 5.0
# Connections that were idle for longer are not used again: the store, or something on the way to it, may have forgotten
# them without a word, above all while the process was frozen.
_IDLE_SECONDS = 30.0
_MOST_IDLE = 10
_READ_SIZE = 64 * 1024
# More than the largest answer that a script gives: a message of 4 MiB, escaped.
_MOST_BYTES = 32 * 1024 * 1024

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_HEAD_END = b"\r\n\r\n"
# A length, and the headers with which an answer is not read by its length alone, or ends its connection.
_LENGTH = re.compile("[0-9]{1,9}")
_OTHER_FORMS = {"Transfer-Encoding", "Content-Encoding", "Trailer"}

# What `post` raises if no answer of the store's came. ValueError is an answer that is not JSON.
NO_ANSWER = (OSError, HTTPException, ValueError)


class Answer:
    """An answer as the vendor's client reads it."""

    def __init__(self, headers: Mapping[str, str], body: bytes) -> None:
        self.headers = headers
        self._body = body

    def json(self) -> Any:
        """Return the value of the body. Raises ValueError."""
        return json.loads(self._body)


class Transport:
    """The connections to one store. `post` and `close` are what the vendor's client calls. Safe to share."""

    def __init__(self, url: str) -> None:
        self._open = _opener(url)
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()

    def post(self, url: str, headers: Mapping[str, str], json: object) -> Answer:
        """Send a command, and return the answer to it. Raises one of NO_ANSWER.

        A connection that the store has closed meanwhile is replaced at once, if no byte of an answer has come over it:
        scripts may run twice.
        """
        request = _request(url, headers, json)
        while connection := self._reusable():
            try:
                return self._exchange(connection, request)
            except OSError as error:
                if connection.received or isinstance(error, TimeoutError):
                    raise
        return self._exchange(self._open(), request)

    def close(self) -> None:
        """Close the connections that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _exchange(self, connection: "_Connection", request: bytes) -> Answer:
        try:
            answer, stays_open = connection.exchange(request)
        except BaseException:
            connection.close()
            raise
        with self._lock:
            # Those that were not needed for some time go, so that a burst leaves no descriptors behind.
            superfluous = [idle for idle in self._idle if not idle.is_fresh()]
            self._idle = [idle for idle in self._idle if idle not in superfluous]
            (self._idle if stays_open and len(self._idle) < _MOST_IDLE else superfluous).append(connection)
        for old in superfluous:
            old.close()
        return answer

    def _reusable(self) -> "_Connection | None":
        """Return the connection that was used last, if it can be used again."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.is_usable():
                return connection
            connection.close()


class _Connection:
    """A keep-alive connection."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._until = 0.0
        self._used_at = clocks()
        self._came = bytearray()  # what has come of the answer to the latest request
        self._unread = memoryview(b"")  # what of it the standard library has not read yet

    @property
    def received(self) -> bool:
        """Return whether a byte of the answer to the latest request has come."""
        return bool(self._came)

    def exchange(self, request: bytes) -> tuple[Answer, bool]:
        """Return the answer to a request, and whether the connection can be used again."""
        self._until = time.monotonic() + _EXCHANGE_SECONDS
        self._came = bytearray()
        self._limit_time()
        self._socket.sendall(request)
        while (end := self._came.find(_HEAD_END)) < 0 and len(self._came) < _READ_SIZE and self._receive():
            pass
        headers = _plain_headers(self._came[:end].decode("latin-1")) if end >= 0 else None
        if headers is None:
            return self._answer_in_another_form()
        start = end + len(_HEAD_END)
        whole = start + int(headers["Content-Length"])
        while len(self._came) < whole and self._receive():
            pass
        if len(self._came) != whole:
            raise HTTPException("an answer of another length than it states")
        self._used_at = clocks()
        return Answer(headers, bytes(memoryview(self._came)[start:])), True

    def _answer_in_another_form(self) -> tuple[Answer, bool]:
        """Return the answer whose beginning has come, as the standard library reads it."""
        self._unread = memoryview(bytes(self._came))
        response = HTTPResponse(cast(socket.socket, self), method="POST")
        response.begin()
        if 300 <= response.status < 400 or response.getheader("Content-Encoding", "identity") != "identity":
            raise HTTPException(f"an answer {response.status} that a store does not give")
        body = response.read(_MOST_BYTES)
        # `read` with a number returns what there is at the end of the connection, however much the length announced.
        if response.length or len(body) == _MOST_BYTES:
            raise HTTPException("an answer that is cut off, or too large")
        self._used_at = clocks()
        return Answer(dict(response.headers), body), not response.will_close

    def is_fresh(self) -> bool:
        """Return whether the connection was used a moment ago."""
        return all(now - then <= _IDLE_SECONDS for now, then in zip(clocks(), self._used_at, strict=True))

    def is_usable(self) -> bool:
        """Return whether the connection is fresh, and silent: one that the store has closed can be read."""
        if not self.is_fresh():
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what HTTPResponse reads from."""
        return io.BufferedReader(_Reader(self._read), _READ_SIZE)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _read(self, buffer: memoryview) -> int:
        """Read some bytes into a buffer: first of those that have come already."""
        if not self._unread:
            self._limit_time()
            return self._socket.recv_into(buffer)
        part, self._unread = self._unread[: len(buffer)], self._unread[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

    def _receive(self) -> bool:
        """Wait for some bytes of the answer. Returns whether any came before the end."""
        self._limit_time()
        part = self._socket.recv(_READ_SIZE)
        self._came += part
        return bool(part)

    def _limit_time(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)


class _Reader(io.RawIOBase):
    """A stream of the bytes that a function reads."""

    def __init__(self, read: Callable[[memoryview], int]) -> None:
        self._read = read

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes into a buffer; none at the end."""
        return self._read(memoryview(buffer).cast("B"))


def _opener(url: str) -> Callable[[], _Connection]:
    """Return what opens a connection to the host of a URL. It raises OSError; ValueError if the URL has no host."""

    def connect() -> _Connection:
        place = urlsplit(url)
        if not place.hostname:
            raise ValueError("the URL has no host")
        port = place.port or (443 if place.scheme == "https" else 80)
        connected = socket.create_connection((place.hostname, port), _CONNECT_SECONDS)
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if place.scheme == "https":
                connected = tls().wrap_socket(connected, server_hostname=place.hostname)
        except BaseException:
            connected.close()
            raise
        return _Connection(connected)

    return connect


def _plain_headers(head: str) -> dict[str, str] | None:
    """Return the headers of an answer that has a stated length and no other properties; None for any other."""
    status, *lines = head.split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip() or name.title() in headers:
            return None
        headers[name.title()] = value.strip()
    is_plain = (
        status.startswith(("HTTP/1.1 2", "HTTP/1.1 4", "HTTP/1.1 5"))
        and not headers.keys() & _OTHER_FORMS
        and headers.get("Connection", "keep-alive").lower() == "keep-alive"
        and _LENGTH.fullmatch(headers.get("Content-Length", ""))
        and int(headers["Content-Length"]) < _MOST_BYTES
    )
    return headers if is_plain else None


def _request(url: str, headers: Mapping[str, str], command: object) -> bytes:
    """Return a request in one piece, so that it is sent in one."""
    body = _ENCODER.encode(command).encode()
    return b"".join((_head(url, tuple(headers.items())), b"Content-Length: %d\r\n\r\n" % len(body), body))


@lru_cache(maxsize=16)
def _head(url: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    """Return what is the same in all requests to a URL."""
    place = urlsplit(url)
    lines = {
        "Host": place.netloc.rpartition("@")[2],
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        **dict(headers),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {quote(place.path, safe='/%') or '/'} HTTP/1.1\r\n{head}".encode("latin-1")


@cache
def tls() -> ssl.SSLContext:
    """Return how connections to the store are secured: with certificates and host names checked as httpx does."""
    import httpx

    return httpx.create_ssl_context()


def clocks() -> tuple[float, float]:
    """Return two clocks: while a machine is frozen the monotonic one may stand still, and the other one may be set."""
    return time.monotonic(), time.time()
