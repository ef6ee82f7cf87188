"""A subscription to a channel of the store, over its REST `SUBSCRIBE`: one request, answered by server-sent events.

It drives h11 over a socket that it holds itself, because the dispatcher waits for it beside its clients': httpx does
not say which socket it reads, and keeps what has come in buffers where a selector does not see it. Source:
https://upstash.com/docs/redis/features/restapi
"""

import select
import socket
import ssl
import time
from urllib.parse import quote, urlsplit

import h11

from lib import settings, transport

_ESTABLISHED_WITHIN_SECONDS = 3.0
_READ_SIZE = 64 * 1024
# After half a minute without a byte the system asks whether the other end is still there, three times in half a minute.
_TCP_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


class Subscription:
    """An established subscription. Raises OSError if it cannot be had within three seconds, and when it drops."""

    def __init__(self, channel: str) -> None:
        until = time.monotonic() + _ESTABLISHED_WITHIN_SECONDS
        url, token = settings.store()
        place = urlsplit(url)
        self._message = f"message,{channel},"
        self._socket = transport.connect(url)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _TCP_KEEPALIVE:
                if hasattr(socket, option):  # not on every system
                    self._socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
            self._http = h11.Connection(h11.CLIENT)
            self._line = b""
            request = h11.Request(
                method="POST",
                target=f"{place.path}/subscribe/{quote(channel, safe='')}",
                headers=[
                    ("Host", place.netloc.rpartition("@")[2]),
                    ("Authorization", f"Bearer {token}"),
                    ("Accept", "text/event-stream"),
                    ("Content-Length", "0"),
                ],
            )
            self._socket.sendall((self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b""))
            self._socket.setblocking(False)
            while not any(text.startswith("subscribe,") for text in self._events()):
                if not self.wait(until - time.monotonic()):
                    raise TimeoutError
        except BaseException as error:
            self._socket.close()
            if isinstance(error, h11.ProtocolError):
                raise ConnectionError from None
            raise

    def fileno(self) -> int:
        """Return the descriptor that can be read when something has come."""
        return self._socket.fileno()

    def close(self) -> None:
        """End the subscription."""
        self._socket.close()

    def wait(self, seconds: float) -> bool:
        """Return whether something has come within the seconds."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def read(self) -> list[str]:
        """Return the messages that have come, possibly none, without waiting."""
        return [text.removeprefix(self._message) for text in self._events() if text.startswith(self._message)]

    def _events(self) -> list[str]:
        """Read what has come, and return the data of each event that is complete."""
        try:
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    if (data := self._received()) is None:
                        break
                    self._http.receive_data(data)
                elif isinstance(event, h11.Data):
                    self._line += bytes(event.data)
                elif not isinstance(event, h11.Response | h11.InformationalResponse):
                    raise ConnectionError
        except h11.ProtocolError:
            raise ConnectionError from None
        *lines, self._line = self._line.split(b"\n")
        return [
            line.removeprefix(b"data: ").rstrip(b"\r").decode(errors="replace")
            for line in lines
            if line.startswith(b"data: ")
        ]

    def _received(self) -> bytes | None:
        """Return what the socket has, `b""` at its end, None if it has nothing now."""
        try:
            return self._socket.recv(_READ_SIZE)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
