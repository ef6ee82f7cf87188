"""One exchange with the store after another over a keep-alive connection: a request, and the answer to it.

An answer of a stated length, as the store gives nearly all, is read here; any other form is read by `http.client`,
whose parser takes ten times as long.
"""

import io
import json
import re
import select
import socket
import time
from collections.abc import Callable, Mapping
from http.client import HTTPException, HTTPResponse
from typing import Any, cast

# For a whole exchange: sending the command, waiting, and reading the answer.
_EXCHANGE_SECONDS = 5.0
# Connections that were idle for longer are not used again: the store, or something on the way to it, may have forgotten
# them without a word, above all while the process was frozen.
_IDLE_SECONDS = 30.0
_READ_SIZE = 64 * 1024
# More than the largest answer that a script gives: a message of 4 MiB, escaped.
_MOST_BYTES = 32 * 1024 * 1024

_HEAD_END = b"\r\n\r\n"
# A length, and the headers with which an answer is not read by its length alone, or ends its connection.
_LENGTH = re.compile("[0-9]{1,9}")
_OTHER_FORMS = {"Transfer-Encoding", "Content-Encoding", "Trailer"}


class Answer:
    """An answer as the vendor's client reads it."""

    def __init__(self, headers: Mapping[str, str], body: bytes) -> None:
        self.headers = headers
        self._body = body

    def json(self) -> Any:
        """Return the value of the body. Raises ValueError."""
        return json.loads(self._body)


class Connection:
    """A keep-alive connection. Its exchanges raise OSError, HTTPException, or ValueError."""

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
        # At the end of the connection `read` returns fewer bytes than the stated length, without an error.
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


def clocks() -> tuple[float, float]:
    """Return two clocks: while a machine is frozen the monotonic one may stand still, and the other one may be set."""
    return time.monotonic(), time.time()
