"""A call that waits: a thread asleep on a queue until something happens in its session, or its time is over."""

import socket
import time
from collections.abc import Callable
from enum import Enum
from queue import Empty, SimpleQueue
from typing import NamedTuple

from lib.kv import Store
from lib.wait.notifications import Notification
from lib.web.connection import ClientGone

# Looking at the instant of the expiry would find the session alive, again and again: the store counts in milliseconds.
_EXPIRY_MARGIN_SECONDS = 0.01


class Wakeup(Enum):
    """Why a call wakes without a notification."""

    LOOK = "look"  # it has missed something, and has to ask the store
    TIME = "time"  # its time is over


class Watched(NamedTuple):
    """What a waiting call knows of its session, in the words of `check_waiting.lua`."""

    role: str
    who: str
    cursor: str = ""
    expires_at: str = ""


class Waiter:
    """The mailbox of a waiting call. The dispatcher puts into it those notifications of its session that it `wants`.

    `watched` is what the dispatcher's checks compare with the store; None until the call has asked the store once.
    """

    def __init__(
        self, store: Store, code: str, connection: socket.socket, wants: Callable[[Notification], bool]
    ) -> None:
        self.store = store
        self.code = code
        self.connection = connection
        self.wants = wants
        self.watched: Watched | None = None
        self._events: SimpleQueue[Notification | Wakeup | ClientGone] = SimpleQueue()

    def put(self, event: Notification | Wakeup | ClientGone) -> None:
        """Wake the call."""
        self._events.put(event)

    def wait(self, until: float) -> Notification | Wakeup:
        """Return the next event, or `Wakeup.TIME` at the time `until` of `time.monotonic`. Raises ClientGone."""
        try:
            event = self._events.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            return Wakeup.TIME
        if isinstance(event, ClientGone):
            raise event
        return event


def expiry(ttl_ms: int, now: float) -> float:
    """Return when a session that has so many milliseconds to live is gone from the store, in seconds as `now`."""
    return now + ttl_ms / 1000 + _EXPIRY_MARGIN_SECONDS
