"""A look at the store from inside: can it be written, read, and does it forget in time?"""

import secrets

from lib import keys
from lib.kv import Store
from lib.problems import StoreUnavailable
from lib.script import Script

_PROBE = Script("probe")
_SECONDS = 60


def deep(store: Store) -> None:
    """Write, read, check the time to live and delete; nothing is left behind. Raises a StoreProblem."""
    value = secrets.token_hex(8)
    reply = _PROBE.run(store, [keys.rate("probe", value)], [value, _SECONDS])
    match reply:
        case ["probed", read, int(seconds), 1] if read == value and 0 < seconds <= _SECONDS:
            return
    raise StoreUnavailable("the store does not keep what it is given")
