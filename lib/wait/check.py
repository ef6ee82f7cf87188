"""A check of waiting calls: the store is asked, for many of them at once, whether they have missed anything."""

from collections.abc import Iterator

from lib import settings
from lib.kv import Store
from lib.store import keys
from lib.store.script import Script
from lib.wait.waiter import Waiter, Watched

_CHECK = Script("check_waiting")
_CALLS_A_SCRIPT = 100
# In place of a network's address: a check is for callers of all networks, so it must not wait for the share of one.
_NETWORK = "checks"

type Calls = list[tuple[Waiter, Watched]]


def parts(waiters: list[Waiter]) -> list[Calls]:
    """Return the calls of those that have asked the store before, in parts for a script each."""
    watched = [(waiter, waiter.watched) for waiter in waiters if waiter.watched]
    return [watched[first : first + _CALLS_A_SCRIPT] for first in range(0, len(watched), _CALLS_A_SCRIPT)]


def missed(calls: Calls, channel: str, echo: str) -> Iterator[Waiter]:
    """Yield those of the calls that have missed something; the others stay listeners. Raises a StoreProblem.

    `echo` is published to the channel, unless it is empty. The call that has waited longest counts the check as its
    own, so that the log has each call to the store once.
    """
    reply = _CHECK.run(
        Store(_NETWORK, counted_by=calls[0][0].store),
        [key for waiter, _ in calls for key in keys.of_session(waiter.code)[:3]],
        [channel, echo, settings.message_ttl(), *(word for _, words in calls for word in words)],
    )
    for (waiter, _), has_missed in zip(calls, reply[1:], strict=False):
        if has_missed:
            yield waiter
