"""Waiting without polling: a session's bell is listened to, and the store is looked at when it rings.

The bell is a channel of the store's, heard over its REST `SUBSCRIBE` as server-sent events. It says that something has
changed, never what: whoever hears it looks. So a ring that is lost costs time, and nothing else.
Source: https://upstash.com/docs/redis/features/restapi
"""

import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from enum import Enum
from functools import cache
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

import h11
import httpx

from lib import keys, settings
from lib.kv import Store

_LOOK_SECONDS = 30.0
_AGAIN_SECONDS = (0.1, 1.0, 5.0, 15.0, 30.0)
# For all that it takes until a subscription stands; after that, for the rest of an event that has begun to come.
_SUBSCRIBE_SECONDS = 3.0
_READ_SIZE = 64 * 1024


class Moment(Enum):
    """What a moment is good for."""

    LOOK = "look"
    BEAT = "beat"


class ClientGone(ConnectionError):
    """The caller has hung up, so nobody waits any more."""


class Watch:
    """The moments at which a waiting call has something to do, until its time is over.

    The first one comes when the bell is being listened to, so that a look then misses nothing; the next ones whenever
    it rings with a word that `matters`, when the subscription had to be renewed, and after half a minute at most.
    Every `beat` seconds are a moment, too, whatever else there was. Iterating raises ClientGone.
    """

    def __init__(
        self,
        store: Store,
        code: str,
        client: socket.socket,
        seconds: float,
        matters: Callable[[str], bool],
        beat: float = float("inf"),
    ) -> None:
        self._store = store
        self._channel = keys.bell(code)
        self._client: socket.socket | None = client
        self._until = time.monotonic() + seconds
        self._matters = matters
        self._beat = beat
        self._subscription: _Subscription | None = None
        self._lives_until = float("inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hang_up()

    def expect_end(self, milliseconds: int) -> None:
        """Take note of how long the session still lives: its end rings no bell, and is a moment to look."""
        self._lives_until = time.monotonic() + milliseconds / 1000 + 0.01

    def __iter__(self) -> Iterator[Moment]:
        """Yield the moments. One that is spent longer than the time that is left is the last."""
        tries, again_at = 0, 0.0
        beat_at = time.monotonic() + self._beat
        while True:
            if self._subscription is None and time.monotonic() >= again_at:
                again_at = time.monotonic() + _AGAIN_SECONDS[min(tries, len(_AGAIN_SECONDS) - 1)]
                tries += 1
                self._subscription = self._subscribe()
            yield Moment.LOOK
            now = time.monotonic()
            if now >= self._until:
                return
            look_at = max(now + 0.01, min(now + _LOOK_SECONDS if self._subscription else again_at, self._lives_until))
            while not self._rings(min(look_at, beat_at, self._until)):
                now = time.monotonic()
                if now >= self._until:
                    return
                if now >= beat_at:
                    beat_at = now + self._beat
                    yield Moment.BEAT
                if now >= look_at:
                    break
            if self._subscription:
                tries = 0

    def _rings(self, until: float) -> bool:
        """Wait for a reason to look, and tell whether there was one."""
        while ready := self._ready(max(0.0, until - time.monotonic())):
            for source in ready:
                if isinstance(source, _Subscription):
                    try:
                        words = source.read()
                    except OSError:
                        self._hang_up()
                        return True
                    if any(self._matters(word) for word in words):
                        return True
                elif _hung_up(source):
                    raise ClientGone
                else:  # It talks on, and nothing that it says is waited for.
                    self._client = None
        return False

    def _ready(self, seconds: float) -> "list[socket.socket | _Subscription]":
        """Return who of the two has something to say, as soon as one has."""
        poll = select.poll()
        watched = {source.fileno(): source for source in (self._client, self._subscription) if source is not None}
        for descriptor in watched:
            poll.register(descriptor, select.POLLIN)
        return [watched[descriptor] for descriptor, _ in poll.poll(seconds * 1000)]

    def _subscribe(self) -> "_Subscription | None":
        started = time.perf_counter()
        try:
            return _Subscription(self._channel, min(_SUBSCRIBE_SECONDS, max(0.1, self._until - time.monotonic())))
        except (OSError, ValueError, h11.ProtocolError):
            return None
        finally:
            self._store.calls += 1
            self._store.seconds += time.perf_counter() - started

    def _hang_up(self) -> None:
        if self._subscription:
            self._subscription.close()
            self._subscription = None


class _Subscription:
    """A subscription that stands. Raises OSError where it cannot be had, and when it drops."""

    def __init__(self, channel: str, seconds: float) -> None:
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
            self._socket.settimeout(_SUBSCRIBE_SECONDS)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def read(self) -> list[str]:
        """Return the words that have come; none where what came was no message."""
        return [word for kind, word in self._events() if kind == "message"]

    def _events(self) -> list[tuple[str, str]]:
        """Read once, and return the kind and the word of each event that is complete."""
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


def _hung_up(client: socket.socket) -> bool:
    try:
        return client.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True
