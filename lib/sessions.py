"""What can be done with a session. Each function is one script, run in one call to the store."""

import json
import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

from lib import codes, keys, settings
from lib.kv import Store
from lib.problems import StoreUnavailable
from lib.script import Script, unreadable

_CREATE = Script("create_session")
_READ = Script("read_session")
_RENEW = Script("renew_session")
_END = Script("end_session")

_DRAWS = 5


class Session(NamedTuple):
    """A session as its record says. Times are ISO 8601 in UTC; `ttl` is in whole seconds, rounded up."""

    code: str
    created_at: str
    expires_at: str
    active: bool
    ttl: int

    def public(self) -> dict[str, object]:
        """Return what the API tells of a session: all but its creator's address."""
        return {
            "code": self.code,
            "createdAt": self.created_at,
            "expiresAt": self.expires_at,
            "active": self.active,
            "ttl": self.ttl,
        }


def create(store: Store, address: str, draw: Callable[[], str] = codes.draw) -> Session:
    """Create a session for the program at this address, under a code that no session has. Raises RateLimited."""
    for _ in range(_DRAWS):
        code = draw()
        reply = _CREATE.run(
            store,
            [keys.session(code), keys.rate("sessions", address), keys.rate("call", secrets.token_hex(8))],
            [code, json.dumps(address), settings.session_ttl(), settings.sessions_a_minute()],
        )
        if reply != ["code_taken"]:
            return from_reply(reply)
    raise StoreUnavailable(f"{_DRAWS} codes in a row were taken")


def read(store: Store, code: str, guest: str | None) -> Session:
    """Read a session, ended ones included. `guest` is the caller's address; None for the host.

    Raises SessionNotFound, and RateLimited for a guest who has tried too many unknown codes.
    """
    limit = 0 if guest is None else settings.misses_a_minute()
    return from_reply(_READ.run(store, [keys.session(code), keys.rate("misses", guest or "host")], [limit]))


def renew(store: Store, code: str) -> Session:
    """Let a session live its time to live again, within its longest life. Raises SessionNotFound, SessionEnded."""
    limits = (settings.session_ttl(), settings.session_max())
    return from_reply(_RENEW.run(store, keys.of_session(code), [*limits, keys.bell(code)]))


def end(store: Store, code: str) -> None:
    """End a session and drop its messages. Once it has ended nothing changes. Raises SessionNotFound."""
    reply = _END.run(store, keys.of_session(code), [keys.bell(code)])
    if reply != ["ended"]:
        raise unreadable(reply)


def from_reply(reply: list[Any]) -> Session:
    """Return the session in a script's reply: its outcome, the record, and the milliseconds that it has left."""
    match reply:
        case ["created" | "found", str(record), int(milliseconds), *_]:
            try:
                held = json.loads(record)
            except ValueError:
                held = None
            match held:
                case {"code": str(code), "createdAt": str(created), "expiresAt": str(expires), "active": bool(active)}:
                    return Session(code, created, expires, active, ttl=-(-milliseconds // 1000))
    raise unreadable(reply)
