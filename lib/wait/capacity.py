"""Places for calls that wait: as many as the process has descriptors for, so that plain calls always get through."""

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from lib import settings
from lib.problems import Busy

# For a hundred plain calls at a time, the connections to the store (lib/kv.py), and the process's own files.
_RESERVED = 124
_MOST_DESCRIPTORS = 4096  # each call that waits also takes a thread

_lock = threading.Lock()
_taken = 0
_taken_by: Counter[str] = Counter()
_watched_by: Counter[str] = Counter()


@contextmanager
def take(network: str) -> Iterator[None]:
    """Hold a place for a caller of a network while the block runs. Raises Busy.

    One network gets a quarter of the places, for guests and hosts alike: anybody can create a session, so a host's
    token must not lift the limit.
    """
    global _taken
    places = _places()
    with _lock:
        if _taken >= places or _taken_by[network] >= max(places // 4, 1):
            raise Busy
        _taken += 1
        _taken_by[network] += 1
    try:
        yield
    finally:
        with _lock:
            _taken -= 1
            _release(_taken_by, network)


@contextmanager
def take_to_watch(network: str) -> Iterator[None]:
    """Hold a place for a caller that only waits for changes of a list of tools. Raises Busy.

    A network gets half of its places for that: clients open such streams by themselves, and these must not keep out the
    calls that the same clients make.
    """
    with _lock:
        if _watched_by[network] >= max(_places() // 8, 1):
            raise Busy
        _watched_by[network] += 1
    try:
        with take(network):
            yield
    finally:
        with _lock:
            _release(_watched_by, network)


def _release(taken_by: Counter[str], network: str) -> None:
    taken_by[network] -= 1
    if not taken_by[network]:
        del taken_by[network]


def _places() -> int:
    return settings.max_waits() or _room()


def _room() -> int:
    limit = os.sysconf("SC_OPEN_MAX")  # -1 if there is no limit
    most = _MOST_DESCRIPTORS if limit < 0 else min(limit, _MOST_DESCRIPTORS)
    return max(most - _RESERVED, 1)
