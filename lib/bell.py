"""Waiting without polling: a call sleeps until its session's bell rings, and then looks at the store.

The bell is a channel of the store's, heard over its REST `SUBSCRIBE` as server-sent events. A message says what kind of
thing has happened, and a caller that it concerns looks. So a message that is lost costs time, and nothing else.
Source: https://upstash.com/docs/redis/features/restapi
"""

import select
import socket
import time
from collections.abc import Callable, Iterator
from enum import Enum
from random import uniform
from typing import TYPE_CHECKING, Self

from lib import keys
from lib.kv import Store

if TYPE_CHECKING:
    from lib.subscription import Subscription

# The messages that scripts send; the last two go on with the id of the request or the name of the new stream.
REQUEST, RENEWED, ENDED, RESPONSE, STREAM = "request", "renewed", "ended", "response ", "stream "

_CHECK_SECONDS = 30.0
_RETRY_SECONDS = (0.1, 1.0, 5.0, 15.0, 30.0)


class Wakeup(Enum):
    """Why a waiting call is woken: to check the store, or to send its client a keep-alive."""

    CHECK = "check"
    KEEPALIVE = "keepalive"


class ClientGone(ConnectionError):
    """The caller has hung up, so the wait is over."""


class Waiter:
    """Yields a waiting call's wake-ups, until its time is over.

    The first comes when the subscription stands, so that a check then misses nothing; the next ones whenever a message
    comes that it `wakes_on`, when the subscription had to be renewed, and after half a minute at most. A keep-alive is
    due every `keepalive` seconds, whatever else there was. Iterating raises ClientGone.
    """

    def __init__(
        self,
        store: Store,
        code: str,
        client: socket.socket,
        seconds: float,
        wakes_on: Callable[[str], bool],
        keepalive: float = float("inf"),
    ) -> None:
        self._store = store
        self._channel = keys.bell(code)
        self._client: socket.socket | None = client
        self._until = time.monotonic() + seconds
        self._wakes_on = wakes_on
        self._keepalive = keepalive
        self._subscription: Subscription | None = None
        self._session_ends = float("inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._unsubscribe()

    def wake_at_expiry(self, milliseconds: int) -> None:
        """Wake for a check when the session, which still lives so long, has expired: no message says so."""
        self._session_ends = time.monotonic() + milliseconds / 1000 + 0.01

    def require_client(self) -> None:
        """Return if the caller is still there. Raises ClientGone."""
        if self._client and self._client in self._ready(0) and _hung_up(self._client):
            raise ClientGone

    def __iter__(self) -> Iterator[Wakeup]:
        """Yield the wake-ups. If the caller takes longer than the time that is left, there is no further one."""
        tries, retry_at = 0, 0.0
        # The first pause is shorter by chance, so that calls that began together do not check together ever after.
        pause = _CHECK_SECONDS * uniform(0.5, 1)  # noqa: S311
        keepalive_at = time.monotonic() + self._keepalive
        while True:
            if self._subscription is None and time.monotonic() >= retry_at:
                retry_at = time.monotonic() + _RETRY_SECONDS[min(tries, len(_RETRY_SECONDS) - 1)]
                tries += 1
                self._subscription = self._subscribe()
            yield Wakeup.CHECK
            now = time.monotonic()
            if now >= self._until:
                return
            check_at = max(now + 0.01, min(now + pause if self._subscription else retry_at, self._session_ends))
            pause = _CHECK_SECONDS
            while not self._woken(min(check_at, keepalive_at, self._until)):
                now = time.monotonic()
                if now >= self._until:
                    return
                if now >= keepalive_at:
                    keepalive_at = now + self._keepalive
                    yield Wakeup.KEEPALIVE
                if now >= check_at:
                    break
            if self._subscription:
                tries = 0

    def _woken(self, until: float) -> bool:
        """Sleep until a message or a lost subscription is a reason to check, or the time is over: False."""
        while ready := self._ready(max(0.0, until - time.monotonic())):
            for source in ready:
                if self._client is source:
                    if _hung_up(self._client):
                        raise ClientGone
                    # Ignore further bytes and stop polling this socket, or poll() would spin.
                    self._client = None
                elif self._subscription:
                    try:
                        messages = self._subscription.read()
                    except OSError:
                        self._unsubscribe()
                        return True
                    if any(self._wakes_on(message) for message in messages):
                        return True
        return False

    def _ready(self, seconds: float) -> "list[socket.socket | Subscription]":
        """Return which of the two can be read, as soon as one can."""
        poll = select.poll()
        watched = {source.fileno(): source for source in (self._client, self._subscription) if source is not None}
        for descriptor in watched:
            poll.register(descriptor, select.POLLIN)
        return [watched[descriptor] for descriptor, _ in poll.poll(seconds * 1000)]

    def _subscribe(self) -> "Subscription | None":
        # Imported here: with h11 and ssl it takes a tenth of the cold start, and most calls do not wait.
        from lib.subscription import Subscription

        started = time.perf_counter()
        try:
            return Subscription(self._channel, self._until - time.monotonic())
        except (OSError, ValueError):
            return None
        finally:
            self._store.calls += 1
            self._store.seconds += time.perf_counter() - started

    def _unsubscribe(self) -> None:
        if self._subscription:
            self._subscription.close()
            self._subscription = None


def _hung_up(client: socket.socket) -> bool:
    try:
        return client.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True
