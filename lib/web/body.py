"""Request bodies as Vercel hands them over: with a length, or chunked and not decoded."""

import re
import socket
import time
from email.message import Message
from io import BufferedReader

from lib.problems import InvalidRequest, PayloadTooLarge

_READ_SIZE = 64 * 1024
_LINE_LIMIT = 4096
_CHUNKS_LIMIT = 64 * 1024
_TRAILERS_LIMIT = 100
# More than the platform lets through. A body is read to its end even when it is refused, because closing a
# connection with unread data can reset it before the caller has read why.
_DISCARD_LIMIT = 8 * 1024 * 1024
# For all of it, however slowly its bytes drip.
_SECONDS = 30.0


def read(headers: Message, stream: BufferedReader, connection: socket.socket | None, limit: int) -> bytes:
    """Return the whole body, of at most `limit` bytes, within half a minute.

    `connection` is what the stream reads from. Raises PayloadTooLarge, and InvalidRequest if length or chunks are not
    as in RFC 9112, or do not come.
    """
    source = _Source(stream, connection)
    try:
        if headers.get("Transfer-Encoding"):
            return _chunked(headers, source, limit)
        return _sized(headers.get("Content-Length", "0").strip(), source, limit)
    except TimeoutError:
        raise InvalidRequest("The body did not arrive in time.") from None


def _sized(length: str, source: "_Source", limit: int) -> bytes:
    if not re.fullmatch("[0-9]{1,18}", length):
        raise InvalidRequest("Content-Length must be a whole number.")
    body = _Collected(limit)
    body.take(source, int(length))
    return body.content()


def _chunked(headers: Message, source: "_Source", limit: int) -> bytes:
    if headers["Transfer-Encoding"].strip().lower() != "chunked":
        raise InvalidRequest("Transfer-Encoding must be chunked.")
    body = _Collected(limit)
    for _ in range(_CHUNKS_LIMIT):
        size = re.fullmatch(rb"([0-9A-Fa-f]{1,16})[ \t]*(;.*)?\r?\n", source.line())
        if not size:
            break
        if int(size[1], 16) == 0:
            if any(source.line() in (b"\r\n", b"\n", b"") for _ in range(_TRAILERS_LIMIT)):
                return body.content()
            raise InvalidRequest("The body has too many trailers.")
        body.take(source, int(size[1], 16))
        if source.line() not in (b"\r\n", b"\n"):
            break
    raise InvalidRequest("The body's chunks are not well formed, or too many.")


class _Source:
    """The bytes of a request, until its time is over. Raises TimeoutError."""

    def __init__(self, stream: BufferedReader, connection: socket.socket | None) -> None:
        self._stream = stream
        self._connection = connection
        self._until = time.monotonic() + _SECONDS

    def read(self, size: int) -> bytes:
        """Return some bytes, at most so many, as soon as there are any; none at the end."""
        self._limit_time()
        return self._stream.read1(size)

    def line(self) -> bytes:
        """Read one line with its terminator. At 4 KiB or end of input, return what was read, unterminated."""
        line = b""
        while not line.endswith(b"\n") and len(line) < _LINE_LIMIT:
            self._limit_time()
            there = self._stream.peek()[: _LINE_LIMIT - len(line)]
            if not there:
                break
            line += self._stream.read(there.find(b"\n") + 1 or len(there))
        return line

    def _limit_time(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if self._connection:
            self._connection.settimeout(left)


class _Collected:
    """A body while it arrives: kept up to the limit, and past it only counted."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.parts: list[bytes] = []

    def take(self, source: _Source, size: int) -> None:
        while size:
            part = source.read(min(size, _READ_SIZE))
            if not part:
                raise InvalidRequest("The body ended before its length.")
            size -= len(part)
            self.size += len(part)
            if self.size <= self.limit:
                self.parts.append(part)
            elif self.size > _DISCARD_LIMIT:
                raise PayloadTooLarge(self.limit, self.size)

    def content(self) -> bytes:
        if self.size > self.limit:
            raise PayloadTooLarge(self.limit, self.size)
        return b"".join(self.parts)
