"""Waiting without polling: a session's bell is listened to, and the store is looked at when it rings.

The bell is a channel of the store's, heard over its REST `SUBSCRIBE` as server-sent events. It says that something has
changed, never what: whoever hears it looks. So a ring that is lost costs time, and nothing else.
Source: https://upstash.com/docs/redis/features/restapi
"""

import select
import socket
import time
from collections.abc import Callable, Iterator
from enum import Enum
from random import uniform
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lib import keys
from lib.kv import Store

if TYPE_CHECKING:
    from lib.subscription import Subscription

_LOOK_SECONDS = 30.0
_AGAIN_SECONDS = (0.1, 1.0, 5.0, 15.0, 30.0)


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
        self._subscription: Subscription | None = None
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

    def require_client(self) -> None:
        """Return if the caller is still there. Raises ClientGone."""
        if self._client and self._client in self._ready(0) and _hung_up(self._client):
            raise ClientGone

    def __iter__(self) -> Iterator[Moment]:
        """Yield the moments. One that is spent longer than the time that is left is the last."""
        tries, again_at = 0, 0.0
        # The first pause is shorter by chance, so that those who came together do not look together ever after.
        pause = _LOOK_SECONDS * uniform(0.5, 1)  # noqa: S311
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
            look_at = max(now + 0.01, min(now + pause if self._subscription else again_at, self._lives_until))
            pause = _LOOK_SECONDS
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
                if self._client is source:
                    if _hung_up(self._client):
                        raise ClientGone
                    self._client = None  # It talks on, and nothing that it says is waited for.
                elif self._subscription:
                    try:
                        words = self._subscription.read()
                    except OSError:
                        self._hang_up()
                        return True
                    if any(self._matters(word) for word in words):
                        return True
        return False

    def _ready(self, seconds: float) -> "list[socket.socket | Subscription]":
        """Return who of the two has something to say, as soon as one has."""
        poll = select.poll()
        watched = {source.fileno(): source for source in (self._client, self._subscription) if source is not None}
        for descriptor in watched:
            poll.register(descriptor, select.POLLIN)
        return [watched[descriptor] for descriptor, _ in poll.poll(seconds * 1000)]

    def _subscribe(self) -> "Subscription | None":
        # With what it needs it would be a tenth of the cold start of functions that may never wait.
        from lib.subscription import Subscription

        started = time.perf_counter()
        try:
            return Subscription(self._channel, self._until - time.monotonic())
        except (OSError, ValueError):
            return None
        finally:
            self._store.calls += 1
            self._store.seconds += time.perf_counter() - started

    def _hang_up(self) -> None:
        if self._subscription:
            self._subscription.close()
            self._subscription = None


def _hung_up(client: socket.socket) -> bool:
    try:
        return client.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True
