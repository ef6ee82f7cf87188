"""A look at the store from inside: does it answer, and does it do all that the service needs of it?

What was found is remembered for a second, so that nobody can spend the operator's calls by asking again and again.
"""

import secrets
import threading
import time
from contextlib import closing

from lib.kv import Store
from lib.problems import StoreProblem, StoreUnavailable
from lib.store import keys
from lib.store.script import Script

_PROBE = Script("probe")
_KEY_SECONDS = 60
_HEARD_WITHIN_SECONDS = 3.0
_REMEMBERED_SECONDS = 1.0

_lock = threading.Lock()
_found: dict[bool, tuple[float, float | StoreProblem]] = {}


def latency(store: Store, *, deep: bool) -> float:
    """Return the milliseconds that a call to the store takes. `deep` uses all that the service needs.

    Raises a StoreProblem.
    """
    with _lock:  # callers at the same time share one look
        at, found = _found.get(deep, (0.0, 0.0))
        if not at or time.monotonic() - at > _REMEMBERED_SECONDS:
            try:
                _deep(store) if deep else store.ping()
                found = store.seconds / store.calls * 1000
            except StoreProblem as problem:
                found = problem
            _found[deep] = (time.monotonic(), found)
    if isinstance(found, StoreProblem):
        raise found
    return found


def _deep(store: Store) -> None:
    """Write, read, check expiry, stream and clock, delete, and hear a message; nothing is left behind."""
    from lib.store.subscription import Subscription  # as in lib/wait/dispatcher.py

    value = secrets.token_hex(8)
    channel = keys.bell(value)
    started = time.perf_counter()
    try:
        subscription = Subscription(channel)
    except (OSError, ValueError) as error:
        store.ping()  # its answer names what is wrong, such as a quota that is used up
        raise StoreUnavailable(f"SUBSCRIBE: {type(error).__name__}") from None
    finally:
        store.count(time.perf_counter() - started)
    with closing(subscription):
        names = [keys.rate("probe", value), keys.rate("probe", f"{value}:stream")]
        reply = _PROBE.run(store, names, [value, _KEY_SECONDS, channel])
        match reply:
            case ["probed", read, int(seconds), streamed, str(clock), 2] if (
                read == streamed == value and 0 < seconds <= _KEY_SECONDS and clock.isdigit()
            ):
                pass
            case _:
                raise StoreUnavailable("the store does not keep what it is given")
        try:
            heard = subscription.wait(_HEARD_WITHIN_SECONDS) and value in subscription.read()
        except OSError:
            heard = False
        if not heard:
            raise StoreUnavailable("a message was not heard")
