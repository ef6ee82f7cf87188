"""One subscription for all calls that wait in this instance, and the thread that hands notifications to them.

Both begin with the first call that waits, and end some time after the last. A waiting call sleeps on a queue, not on a
descriptor. Every half minute one call to the store asks, for up to a hundred waiting calls, whether they have missed
anything, so a lost notification costs half a minute.
"""

import secrets
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from lib import settings
from lib.exchange import clocks
from lib.kv import Store
from lib.problems import Busy, StoreProblem
from lib.store import keys
from lib.wait import check, notifications
from lib.wait.waiter import Waiter, Wakeup
from lib.web.connection import ClientGone, hung_up

if TYPE_CHECKING:
    from lib.store.subscription import Subscription

_CHECK_SECONDS = 30.0
_RETRY_SECONDS = (0.1, 1.0, 5.0, 15.0, 30.0)
_ECHO_SECONDS = 5.0
# The subscription stays for the next call that waits: a guest that asks again and again subscribes once.
_LINGER_SECONDS = 30.0
_TICK_SECONDS = 1.0
# A thread that did not run for so long was frozen with its process, and what came over its connection may be lost.
_FROZEN_SECONDS = 5.0


class Dispatcher:
    """A process's subscription to a channel of its own, and the calls that wait in the process."""

    def __init__(self) -> None:
        self._channel = keys.bell(secrets.token_hex(8))
        self._lock = threading.Lock()  # for everything below
        self._waiters: dict[str, list[Waiter]] = {}
        self._subscription: Subscription | None = None
        self._selector: selectors.BaseSelector | None = None  # exists as long as the thread runs
        self._ran_at = (0.0, 0.0)
        self._left_at = self._check_at = self._retry_at = 0.0
        self._failures = 0
        self._echo, self._echo_until = "", float("inf")
        self._checking = False
        self._subscribing = threading.Lock()

    @property
    def channel(self) -> str:
        """Return the channel that scripts have to publish to; `""` without a subscription that can be trusted."""
        return self._channel if self._subscription and not self._was_frozen() else ""

    @contextmanager
    def waiting(self, waiter: Waiter) -> Iterator[None]:
        """Hand a call what happens in its session, and whether its client hangs up. Raises Busy."""
        with self._lock:
            if self._selector is None:
                self._open()
            self._register(waiter.connection, waiter)
            self._waiters.setdefault(waiter.code, []).append(waiter)
        try:
            yield
        finally:
            with self._lock:
                self._unregister(waiter.connection)
                self._waiters[waiter.code].remove(waiter)
                if not self._waiters[waiter.code]:
                    del self._waiters[waiter.code]
                self._left_at = time.monotonic()

    def subscribe(self, store: Store) -> None:
        """Subscribe, unless there is a subscription, or subscribing failed a moment ago.

        Counts as a call to the store. A failure is not raised: the calls wait without notifications until a check has
        subscribed.
        """
        with self._subscribing:
            if self.channel or time.monotonic() < self._retry_at:
                return
            self._unsubscribe()
            started = time.perf_counter()
            try:
                # Imported here: with h11 and ssl it takes a tenth of the cold start, and most calls do not wait.
                from lib.store.subscription import Subscription

                subscription = Subscription(self._channel)
            except (OSError, ValueError, ImportError):  # an import fails if no descriptor is left
                pause = _RETRY_SECONDS[min(self._failures, len(_RETRY_SECONDS) - 1)]
                with self._lock:
                    self._failures += 1
                    self._retry_at = time.monotonic() + pause
                    self._check_at = min(self._check_at, self._retry_at)
                return
            finally:
                store.count(time.perf_counter() - started)
            with self._lock:
                if self._selector:
                    self._failures = 0
                    self._subscription = subscription
                    self._register(subscription)
                else:
                    subscription.close()

    def _open(self) -> None:
        try:
            selector = self._selector = selectors.DefaultSelector()
            self._ran_at = clocks()
            self._check_at = time.monotonic() + _CHECK_SECONDS
            threading.Thread(target=self._run, args=[selector], name="dispatcher", daemon=True).start()
        except (OSError, RuntimeError):  # no descriptor is left, or no thread
            self._close()
            raise Busy from None

    def _run(self, selector: selectors.BaseSelector) -> None:
        while self._selector is selector:
            ready = selector.select(_TICK_SECONDS)
            self._keep_time()
            for key, _ in ready:
                if key.data:
                    self._read_client(key.data)
                else:
                    self._read_subscription()

    def _keep_time(self) -> None:
        """Do what is due by the clock."""
        now = time.monotonic()
        if self._was_frozen() or now > self._echo_until:
            self._unsubscribe()
        with self._lock:
            self._ran_at = clocks()
            if not self._waiters and now > self._left_at + _LINGER_SECONDS:
                self._close()
            elif self._waiters and now > self._check_at and not self._checking:
                with suppress(RuntimeError):  # no thread is left: the next turn tries again
                    threading.Thread(target=self._check, name="dispatcher check", daemon=True).start()
                    self._checking = True

    def _read_subscription(self) -> None:
        subscription = self._subscription  # which a call that subscribes again may replace meanwhile
        try:
            texts = subscription.read() if subscription else []
        except OSError:
            self._unsubscribe()
            return
        for text in texts:
            if text == self._echo:
                with self._lock:
                    self._echo, self._echo_until = "", float("inf")
            elif notification := notifications.parse(text):
                with self._lock:
                    waiters = list(self._waiters.get(notification.code, ()))
                for waiter in waiters:
                    if waiter.wants(notification):
                        waiter.put(notification)

    def _read_client(self, waiter: Waiter) -> None:
        with self._lock:  # so that the call does not end meanwhile, and its descriptor become another's
            if waiter in self._waiters.get(waiter.code, ()):
                if hung_up(waiter.connection):
                    waiter.put(ClientGone())
                # Further bytes are ignored: select() would report them at each turn.
                self._unregister(waiter.connection)

    def _check(self) -> None:
        """Subscribe again if need be, and wake the calls that have missed something."""
        with self._lock:
            waiters = [waiter for waiters in self._waiters.values() for waiter in waiters]
        pause = _CHECK_SECONDS
        try:
            if waiters:
                self.subscribe(waiters[0].store)
            parts = check.parts(waiters)
            for calls in parts:
                # The last part has the round's echo. One in each part would be forgotten for the next one's.
                echo = self._new_echo() if calls is parts[-1] else ""
                for waiter in check.missed(calls, self._channel, echo):
                    waiter.put(Wakeup.LOOK)
                self._expect(echo)
        except StoreProblem:
            pause = _ECHO_SECONDS
        finally:
            with self._lock:
                self._checking = False
                self._check_at = time.monotonic() + pause
                if not self._subscription:
                    self._check_at = min(self._check_at, max(self._retry_at, time.monotonic()))

    def _new_echo(self) -> str:
        """Return what the subscription has to bring if it works. The time for it begins with `_expect`."""
        echo = f"{notifications.ECHO} {secrets.token_hex(8)}"
        with self._lock:
            self._echo, self._echo_until = echo if self._subscription else "", float("inf")
        return echo

    def _expect(self, echo: str) -> None:
        """Give an echo that has been published some seconds to arrive, if it has not yet. `""` is none."""
        with self._lock:
            if echo and self._echo == echo:
                self._echo_until = time.monotonic() + _ECHO_SECONDS

    def _was_frozen(self) -> bool:
        return any(now - then > _FROZEN_SECONDS for now, then in zip(clocks(), self._ran_at, strict=True))

    def _unsubscribe(self) -> None:
        """Close the subscription, and let a check look soon for what is missed without it."""
        with self._lock:
            if self._subscription:
                self._unregister(self._subscription)
                self._subscription.close()
                self._subscription = None
                self._check_at = 0.0
            self._echo, self._echo_until = "", float("inf")

    def _close(self) -> None:
        if self._subscription:
            self._subscription.close()
        if self._selector:
            self._selector.close()
        self._subscription = self._selector = None

    def _register(self, source: "socket.socket | Subscription", waiter: Waiter | None = None) -> None:
        if self._selector:
            self._selector.register(source, selectors.EVENT_READ, waiter)

    def _unregister(self, source: "socket.socket | Subscription") -> None:
        with suppress(KeyError, ValueError):
            if self._selector:
                self._selector.unregister(source)


_dispatchers: dict[tuple[object, str], Dispatcher] = {}
_dispatchers_lock = threading.Lock()


def current() -> Dispatcher:
    """Return the process's dispatcher. Raises StoreNotConfigured."""
    place = (settings.store(), settings.key_prefix())
    with _dispatchers_lock:
        if place not in _dispatchers:
            _dispatchers[place] = Dispatcher()
        return _dispatchers[place]
