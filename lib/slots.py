"""How many calls to the store run at a time, shared between networks so that none of them holds up the others."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Slots:
    """So many slots in all, of which one network holds at most a share.

    A network whose share is in use waits for its own calls; only then does it wait with the others for a slot.
    """

    def __init__(self, total: int, share: int) -> None:
        self._all = threading.BoundedSemaphore(total)
        self._share = share
        self._of_network: dict[str, threading.Semaphore] = {}
        self._users: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def take(self, network: str, seconds: float) -> Iterator[bool]:
        """Hold a slot while the block runs, and yield True; or False if there was none for so many seconds."""
        until = time.monotonic() + seconds
        with self._queue(network) as of_network, _held(of_network, until) as network_has_room:
            if not network_has_room:
                yield False
                return
            with _held(self._all, until) as taken:
                yield taken

    @contextmanager
    def _queue(self, network: str) -> Iterator[threading.Semaphore]:
        """Give the network's semaphore, which exists as long as somebody uses it."""
        with self._lock:
            self._users[network] += 1
            of_network = self._of_network.setdefault(network, threading.Semaphore(self._share))
        try:
            yield of_network
        finally:
            with self._lock:
                self._users[network] -= 1
                if not self._users[network]:
                    del self._users[network], self._of_network[network]


@contextmanager
def _held(semaphore: threading.Semaphore, until: float) -> Iterator[bool]:
    """Hold a semaphore while the block runs, and yield whether it could be had in time."""
    held = semaphore.acquire(timeout=max(0.0, until - time.monotonic()))
    try:
        yield held
    finally:
        if held:
            semaphore.release()
