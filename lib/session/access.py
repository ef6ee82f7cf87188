"""A caller's access to one session."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from lib import settings
from lib.kv import Store
from lib.store import keys
from lib.store.script import Script


class Access(NamedTuple):
    """A guest's access to the session of a code, or its host's.

    `network` is what the caller's limits are counted by, as `Caller` has it. `created` is the creation of the session
    that the caller's host token is for, `""` for a guest: the scripts refuse a token of an earlier session with the
    same code.
    """

    store: Store
    code: str
    network: str
    created: str = ""

    def run(self, script: Script, *arguments: str | int, counters: Sequence[str] = ()) -> list[Any]:
        """Run a script on the session. Raises what `Script.run` does, SessionNotFound and RateLimited among it.

        The script gets the `counters` from `KEYS[7]` on, and the `arguments` from `ARGV[3]` on.
        """
        caller = [keys.rate("misses", self.network), keys.rate("known", f"{self.code}:{self.network}")]
        session, *messages = keys.of_session(self.code)
        return script.run(
            self.store,
            [session, *caller, *messages, *counters],
            [self.created, settings.misses_a_minute(), *arguments],
        )
