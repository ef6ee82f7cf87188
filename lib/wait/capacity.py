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
_guests: Counter[str] = Counter()


@contextmanager
def take(guest: str = "") -> Iterator[None]:
    """Hold a place while the block runs. `guest` is the network of a caller who is not the host. Raises Busy.

    All guests of one network get a quarter of the places.
    """
    global _taken
    places = settings.max_waits() or _room()
    with _lock:
        if _taken >= places or (guest and _guests[guest] >= max(places // 4, 1)):
            raise Busy
        _taken += 1
        _guests[guest] += 1
    try:
        yield
    finally:
        with _lock:
            _taken -= 1
            _guests[guest] -= 1
            if not _guests[guest]:
                del _guests[guest]


def _room() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_DESCRIPTORS if limit == resource.RLIM_INFINITY else min(limit, _MOST_DESCRIPTORS)
    return max(most - _RESERVED, 1)
