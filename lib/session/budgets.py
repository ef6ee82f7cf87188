"""What a network may spend, and the refusals that are certain to repeat themselves.

The counters are in the store. An instance remembers which of them are used up: until such a counter expires, a call
that is certain to be refused again is refused without asking the store.
"""

import math
import threading
import time
from typing import NamedTuple

from lib.problems import RateLimited
from lib.store import keys

_MOST_REMEMBERED = 10_000
# A call that may repeat an earlier one is passed on to the store, which accepts repetitions in spite of a limit: at
# most so many of them for each refusal.
_MOST_ASKED = 10


class Spending(NamedTuple):
    """What a call adds to a counter, at least: the counter's key, and how much. Zero is never refused in advance."""

    counter: str
    amount: int = 1


class _Refusal:
    """A counter that is used up, but for `room` and for the `exempt` codes, until a time of `time.monotonic`."""

    def __init__(self, until: float, room: int, exempt: frozenset[str]) -> None:
        self.until = until
        self.room = room
        self.exempt = exempt
        self.asked = 0


_refusals: dict[str, _Refusal] = {}
_lock = threading.Lock()


def sent(network: str, size: int) -> Spending:
    """Return what sending so many bytes spends."""
    return Spending(keys.rate("bytes", network), size)


def read(network: str) -> Spending:
    """Return what reading spends: how much, only the store knows."""
    return Spending(keys.rate("read", network))


def require(spending: Spending, code: str = "", *, may_repeat: bool = False) -> None:
    """Return unless the call is certain to be refused. Raises RateLimited.

    `code` is that of the call's session. `may_repeat` says that the store may know the call already.
    """
    with _lock:
        refusal = _refusals.get(spending.counter)
        if not refusal or spending.amount <= refusal.room or code in refusal.exempt:
            return
        left = refusal.until - time.monotonic()
        if left <= 0:
            del _refusals[spending.counter]
            return
        if may_repeat and refusal.asked < _MOST_ASKED:
            refusal.asked += 1
            return
    raise RateLimited(math.ceil(left))


def remember(counter: str, problem: RateLimited) -> None:
    """Remember the refusal of a counter until it expires."""
    until = time.monotonic() + problem.seconds
    with _lock:
        if len(_refusals) >= _MOST_REMEMBERED:
            _forget()
        known = _refusals.get(counter)
        _refusals[counter] = _Refusal(until, problem.room, frozenset(problem.exempt))
        if known and known.until > until - 1:  # the same period, in which some were passed on already
            _refusals[counter].asked = known.asked


def _forget() -> None:
    """Make room: for what has expired, else for the oldest."""
    now = time.monotonic()
    expired = [counter for counter, refusal in _refusals.items() if refusal.until <= now]
    for counter in expired or [next(iter(_refusals))]:
        del _refusals[counter]
