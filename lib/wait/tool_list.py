"""A guest's watch over a session's list of tools: what happens to the list, as it happens."""

import socket
import time
from collections.abc import Generator
from enum import Enum

from lib import settings
from lib.problems import Problem, RateLimited, SessionEnded, SessionNotFound, StoreProblem
from lib.session import tools
from lib.session.access import Access
from lib.wait import capacity, dispatcher, notifications
from lib.wait.notifications import Notification, ToolsChanged
from lib.wait.waiter import Waiter, Wakeup, Watched, expiry
from lib.web import sse


class Event(Enum):
    """What a watch yields. The first event is `WATCHING`."""

    WATCHING = "watching"  # the session is there, and its list is watched
    CHANGED = "changed"  # the host offers another list
    QUIET = "quiet"  # nothing has happened for some seconds: time to keep the connection alive
    OVER = "over"  # the session is over, and with it the watch


def watch(access: Access, connection: socket.socket) -> Generator[Event]:
    """Yield what happens, until the session is over, or without an `OVER` when the time of a stream is.

    Before the first event it raises Busy, SessionNotFound, SessionEnded, RateLimited or a StoreProblem. Raises
    ClientGone.
    """
    with capacity.take_to_watch(access.network):
        watching = _Watch(access, connection)
        with watching.dispatcher.waiting(watching.waiter):
            begun = False
            try:
                watching.look()
                begun = True
                yield Event.WATCHING
                yield from watching.follow()
            except Problem as problem:
                if not begun or not isinstance(problem, SessionNotFound | SessionEnded | StoreProblem | RateLimited):
                    raise
                if isinstance(problem, SessionNotFound | SessionEnded):
                    yield Event.OVER


class _Watch:
    """What is known of a list of tools, and since when."""

    def __init__(self, access: Access, connection: socket.socket) -> None:
        self.dispatcher = dispatcher.current()
        self.waiter = Waiter(access.store, access.code, connection, self._wants)
        self._access = access
        self._channel = ""  # where the store publishes changes of the list, as far as this watch has asked it to
        self._number = 0
        self._expires = 0.0
        self._until = time.monotonic() + settings.stream_seconds()

    def look(self) -> bool:
        """Ask the store for the list's state. Returns whether there is another list. Raises what `tools.watch` does."""
        self._channel = self.dispatcher.channel
        state = tools.watch(self._access, self._channel)
        known, self._number = self._number, state.number
        self._expires = expiry(state.ttl_ms, time.monotonic())
        return state.number != known

    def follow(self) -> Generator[Event]:
        """Yield what happens after the first look. Raises SessionEnded, SessionNotFound when the session is over."""
        if not self._channel:
            self.dispatcher.subscribe(self._access.store)
            if self.look():
                yield Event.CHANGED
        quiet = time.monotonic() + sse.KEEP_ALIVE_SECONDS
        while (now := time.monotonic()) < self._until:
            if now >= quiet:
                quiet = now + sse.KEEP_ALIVE_SECONDS
                yield Event.QUIET
            self.waiter.watched = Watched("watcher", str(self._number))
            match self.waiter.wait(min(self._until, quiet, self._expires)):
                case ToolsChanged(number=number):
                    if number > self._number:
                        self._number = number
                        yield Event.CHANGED
                case Wakeup.TIME if time.monotonic() < self._expires:
                    pass
                case _:
                    if self.look():
                        yield Event.CHANGED

    def _wants(self, event: Notification) -> bool:
        return isinstance(event, ToolsChanged | notifications.SessionEnded)
