"""A call that waits: it sleeps until its session's bell rings, its time has come, or its client hangs up."""

import select
import socket
import time
from collections.abc import Callable
from enum import Enum
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, Self

from lib.kv import Store
from lib.wait.notifications import Message

if TYPE_CHECKING:
    from lib.wait.dispatcher import Listener


class Wakeup(Enum):
    """Why a waiting call wakes if no message has come: to look at the store, or because its time has come."""

    LOOK = "look"
    TIME = "time"


class ClientGone(ConnectionError):
    """The caller has hung up, so nobody waits any more."""


class Watched(NamedTuple):
    """What a waiting call knows, in the words of `check_waiting.lua`."""

    role: str
    who: str
    cursor: str = ""
    expires_at: str = ""


class Waiter:
    """A call that waits, from the `with` on. It is woken by those messages of its session that it `wants`."""

    def __init__(
        self,
        listener: "Listener",
        store: Store,
        code: str,
        client: socket.socket,
        wants: Callable[[Message], bool],
    ) -> None:
        self._listener = listener
        self.store = store
        self.code = code
        self.client = client
        self.wants = wants
        self.watched: Watched | None = None  # there is nothing to check before the first look
        self._events: SimpleQueue[Message | Wakeup | ClientGone] = SimpleQueue()

    def __enter__(self) -> Self:
        self._listener.enter(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.leave(self)

    @property
    def channel(self) -> str:
        """Return the channel for scripts to ring; `""` if this process does not hear it."""
        return self._listener.channel if self._listener.hears else ""

    def subscribe(self) -> None:
        """Let this process hear its channel, if that can be had now."""
        self._listener.subscribe(self.store)

    def put(self, event: Message | Wakeup | ClientGone) -> None:
        """Wake the call."""
        self._events.put(event)

    def wait(self, until: float) -> Message | Wakeup:
        """Return the next message or wake-up, at the latest at the time `until` of `time.monotonic`.

        Raises ClientGone.
        """
        try:
            event = self._events.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            return Wakeup.TIME
        if isinstance(event, ClientGone):
            raise event
        return event

    def require_client(self) -> None:
        """Return if the caller is still there. Raises ClientGone."""
        poll = select.poll()
        poll.register(self.client, select.POLLIN)
        if poll.poll(0) and hung_up(self.client):
            raise ClientGone


def hung_up(client: socket.socket) -> bool:
    """Tell whether a connection that can be read has been closed by its client."""
    try:
        return client.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True
