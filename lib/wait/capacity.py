"""Places for calls that wait: as many as the process has descriptors for, so that plain calls always get through."""

import resource
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


@contextmanager
def take(network: str) -> Iterator[None]:
    """Hold a place for a caller of a network while the block runs. Raises Busy.

    One network gets a quarter of the places, for guests and hosts alike: anybody can create a session, so a host's
    token must not lift the limit.
    """
    global _taken
    places = settings.max_waits() or _room()
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
            _taken_by[network] -= 1
            if not _taken_by[network]:
                del _taken_by[network]


def _room() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_DESCRIPTORS if limit == resource.RLIM_INFINITY else min(limit, _MOST_DESCRIPTORS)
    return max(most - _RESERVED, 1)
