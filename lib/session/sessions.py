"""Create, read, renew and end sessions. Each function runs one script, in one call to the store."""

import json
import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

from lib import settings
from lib.kv import Store
from lib.problems import RateLimited, StoreUnavailable
from lib.session import budgets, codes
from lib.session.access import Access
from lib.session.budgets import Spending
from lib.store import keys
from lib.store.script import Script, unreadable

_CREATE = Script("create_session")
_READ = Script("read_session")
_RENEW = Script("renew_session")
_END = Script("end_session")
_LEAVE = Script("leave_session")

_DRAWS = 5


class Session(NamedTuple):
    """A session as its record says. Times are ISO 8601 in UTC; `ttl` is in whole seconds, rounded up.

    `listening_ms` says how long a host is known to listen, unless it leaves: 0 if no host does, None if the script does
    not reply that.
    """

    code: str
    created_at: str
    expires_at: str
    active: bool
    ttl: int
    listening_ms: int | None = None

    def public(self) -> dict[str, object]:
        """Return the members of a session in the API: everything but its creator's address."""
        members = {
            "code": self.code,
            "createdAt": self.created_at,
            "expiresAt": self.expires_at,
            "active": self.active,
            "ttl": self.ttl,
        }
        return members if self.listening_ms is None else {**members, "listening": self.listening_ms > 0}


def create(store: Store, address: str, network: str, draw: Callable[[], str] = codes.draw) -> Session:
    """Create a session for the program at this address, under a code that no session has.

    Its network is what the limit is counted by. Raises RateLimited.
    """
    counter = keys.rate("sessions", network)
    budgets.require(Spending(counter))
    for _ in range(_DRAWS):
        code = draw()
        try:
            reply = _CREATE.run(
                store,
                [keys.session(code), counter, keys.rate("call", secrets.token_hex(8))],
                [code, json.dumps(address), settings.session_ttl(), settings.sessions_a_minute()],
            )
        except RateLimited as problem:
            budgets.remember(counter, problem)
            raise
        if reply != ["code_taken"]:
            return from_reply(reply)
    raise StoreUnavailable(f"{_DRAWS} codes in a row were taken")


def read(access: Access) -> Session:
    """Read a session, an ended one included. Raises SessionNotFound, HostTokenWrong, RateLimited."""
    return from_reply(access.run(_READ))


def renew(access: Access) -> Session:
    """Extend a session to a whole lifetime from now, at most to its maximum age.

    Raises SessionNotFound, SessionEnded, HostTokenWrong, RateLimited.
    """
    limits = (settings.session_ttl(), settings.session_max(), settings.bytes_sent(), settings.message_ttl())
    return from_reply(access.run(_RENEW, *limits, spends=[budgets.sent(access.network, 0)]))


def end(access: Access) -> None:
    """End a session and drop its messages. Once it has ended nothing changes.

    Raises SessionNotFound, HostTokenWrong, RateLimited.
    """
    reply = access.run(_END)
    if reply != ["ended"]:
        raise unreadable(reply)


def leave(access: Access, host: str) -> None:
    """Take a host that is gone, `NAME/ATTEMPT`, off those who listen, unless another has come after it.

    Raises SessionNotFound, SessionEnded, HostTokenWrong, RateLimited.
    """
    reply = access.run(_LEAVE, host)
    if reply != ["left"]:
        raise unreadable(reply)


def from_reply(reply: list[Any]) -> Session:
    """Return the session in a reply: its outcome, record, milliseconds to live, and maybe how long a host listens."""
    match reply:
        case ["created" | "found", str(record), int(milliseconds), *listening]:
            try:
                held = json.loads(record)
            except ValueError:
                held = None
            match held:
                case {"code": str(code), "createdAt": str(created), "expiresAt": str(expires), "active": bool(active)}:
                    ttl = -(-milliseconds // 1000)
                    return Session(code, created, expires, active, ttl, listening[0] if listening else None)
    raise unreadable(reply)
