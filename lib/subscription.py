"""A subscription to a channel of the store, over its REST `SUBSCRIBE`: one request, answered by server-sent events.

It drives h11 over a socket of its own because a waiting call polls that socket beside its client's: httpx does not say
which socket it reads, and keeps what has come in buffers where poll() does not see it.
Source: https://upstash.com/docs/redis/features/restapi
"""

import socket
import ssl
import time
from functools import cache
from urllib.parse import quote, urlsplit

import h11
import httpx

from lib import settings

# Until the subscription stands, in all; after that, for the rest of an event that has begun to come.
_PATIENCE_SECONDS = 3.0
_READ_SIZE = 64 * 1024


class Subscription:
    """A subscription that stands within the seconds. Raises OSError if it does not, and when it drops."""

    def __init__(self, channel: str, seconds: float) -> None:
        seconds = min(_PATIENCE_SECONDS, max(0.1, seconds))
        until = time.monotonic() + seconds
        url, token = settings.store()
        place = urlsplit(url)
        tls = place.scheme == "https"
        self._socket = socket.create_connection((place.hostname or "", place.port or (443 if tls else 80)), seconds)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls:
                self._socket = _tls().wrap_socket(self._socket, server_hostname=place.hostname)
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
            while not any(kind == "subscribe" for kind, _ in self._events()):
                self._socket.settimeout(max(0.01, until - time.monotonic()))
            self._socket.settimeout(_PATIENCE_SECONDS)
        except BaseException as error:
            self._socket.close()
            if isinstance(error, h11.ProtocolError):
                raise ConnectionError from None
            raise

    def fileno(self) -> int:
        """Return the descriptor to poll for what comes."""
        return self._socket.fileno()

    def close(self) -> None:
        """End the subscription."""
        self._socket.close()

    def read(self) -> list[str]:
        """Return the messages that have come, possibly none."""
        return [text for kind, text in self._events() if kind == "message"]

    def _events(self) -> list[tuple[str, str]]:
        """Read once, and return kind and text of each event that is complete. Texts of ours have no comma."""
        try:
            self._http.receive_data(self._socket.recv(_READ_SIZE))
            while True:
                event = self._http.next_event()
                if isinstance(event, h11.Response) and event.status_code != 200:
                    raise ConnectionError
                if isinstance(event, h11.Data):
                    self._line += bytes(event.data)
                elif event is h11.NEED_DATA:
                    break
                elif not isinstance(event, h11.Response | h11.InformationalResponse):
                    raise ConnectionError
        except h11.ProtocolError:
            raise ConnectionError from None
        *lines, self._line = self._line.split(b"\n")
        found = []
        for line in lines:
            if line.startswith(b"data: "):
                kind, _, rest = line.removeprefix(b"data: ").strip().decode(errors="replace").partition(",")
                found.append((kind, rest.rpartition(",")[2]))
        return found


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()
