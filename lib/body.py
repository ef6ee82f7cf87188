"""Request bodies as Vercel hands them over: with a length, or chunked and not decoded."""

import re
from email.message import Message
from io import BufferedIOBase

from lib.problems import InvalidRequest, PayloadTooLarge

_READ_SIZE = 64 * 1024
_LINE_LIMIT = 4096
# More than the platform lets through. A body is read to its end even when it is refused, because closing a
# connection with unread data can reset it before the caller has read why.
_DISCARD_LIMIT = 8 * 1024 * 1024


def read(headers: Message, stream: BufferedIOBase, limit: int) -> bytes:
    """Return the whole body, of at most `limit` bytes.

    Raises PayloadTooLarge, and InvalidRequest if length or chunks are not as in RFC 9112, or do not come.
    """
    try:
        if headers.get("Transfer-Encoding"):
            return _chunked(headers, stream, limit)
        return _sized(headers.get("Content-Length", "0").strip(), stream, limit)
    except TimeoutError:
        raise InvalidRequest("The body did not arrive in time.") from None


def _sized(length: str, stream: BufferedIOBase, limit: int) -> bytes:
    if not re.fullmatch("[0-9]{1,18}", length):
        raise InvalidRequest("Content-Length must be a whole number.")
    body = _Collected(limit)
    body.take(stream, int(length))
    return body.whole()


def _chunked(headers: Message, stream: BufferedIOBase, limit: int) -> bytes:
    if headers["Transfer-Encoding"].strip().lower() != "chunked":
        raise InvalidRequest("Transfer-Encoding must be chunked.")
    body = _Collected(limit)
    while True:
        size = re.fullmatch(rb"([0-9A-Fa-f]{1,16})[ \t]*(;.*)?\r?\n", stream.readline(_LINE_LIMIT))
        if not size:
            raise InvalidRequest("The body's chunks are not well formed.")
        if int(size[1], 16) == 0:
            break
        body.take(stream, int(size[1], 16))
        if stream.readline(_LINE_LIMIT) not in (b"\r\n", b"\n"):
            raise InvalidRequest("The body's chunks are not well formed.")
    while stream.readline(_LINE_LIMIT) not in (b"\r\n", b"\n", b""):
        pass
    return body.whole()


class _Collected:
    """A body while it arrives: kept up to the limit, and past it only counted."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.parts: list[bytes] = []

    def take(self, stream: BufferedIOBase, size: int) -> None:
        while size:
            part = stream.read(min(size, _READ_SIZE))
            if not part:
                raise InvalidRequest("The body ended before its length.")
            size -= len(part)
            self.size += len(part)
            if self.size <= self.limit:
                self.parts.append(part)
            elif self.size > _DISCARD_LIMIT:
                raise PayloadTooLarge(self.limit)

    def whole(self) -> bytes:
        if self.size > self.limit:
            raise PayloadTooLarge(self.limit)
        return b"".join(self.parts)
