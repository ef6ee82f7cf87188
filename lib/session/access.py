"""A caller's access to one session."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from lib import settings
from lib.kv import Store
from lib.problems import RateLimited
from lib.session import budgets
from lib.session.budgets import Spending
from lib.store import keys
from lib.store.script import Script


class Access(NamedTuple):
    """A guest's access to the session of a code, or its host's.

    `network` is what the caller's budgets are counted by, as `Caller` has it. `created` is the creation of the session
    that the caller's host token is for, `""` for a guest: the scripts refuse a token of an earlier session with the
    same code.
    """

    store: Store
    code: str
    network: str
    created: str = ""

    def run(
        self,
        script: Script,
        *arguments: str | int | bytes,
        spends: Sequence[Spending] = (),
        may_repeat: bool = False,
    ) -> list[Any]:
        """Run a script on the session. Raises what `Script.run` does, SessionNotFound and RateLimited among it.

        The script gets the counters that the call spends from `KEYS[7]` on, and the `arguments` from `ARGV[3]` on.
        `may_repeat` says that the store may know this very call, and then accepts it in spite of a limit.
        """
        misses = keys.rate("misses", self.network)
        # A host's token is for one session. If that is gone, only calls with the token are certain to be refused.
        tried = f"{misses} {self.code} {self.created}" if self.created else misses
        budgets.require(Spending(tried), self.code)
        for spending in spends:
            budgets.require(spending, may_repeat=may_repeat)
        session, *messages = keys.of_session(self.code)
        known = keys.rate("known", self.network)
        counters = [spending.counter for spending in spends]
        try:
            return script.run(
                self.store,
                [session, misses, known, *messages, *counters],
                [self.created, settings.misses_a_minute(), *arguments],
            )
        except RateLimited as problem:
            if problem.counter:
                budgets.remember(tried if problem.counter == misses else problem.counter, problem)
            raise
