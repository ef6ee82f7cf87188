"""What can be done with a session. Each function is one script, run in one call to the store."""

import json
import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

from lib import codes, keys, kv, settings
from lib.kv import Store
from lib.problems import RateLimited, SessionEnded, SessionNotFound, StoreUnavailable

_CREATE = kv.script("create_session")
_READ = kv.script("read_session")
_RENEW = kv.script("renew_session")
_END = kv.script("end_session")

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
    """Create a session for the program at this address, under a code that no session has.

    Raises RateLimited.
    """
    for _ in range(_DRAWS):
        code = draw()
        reply = store.run(
            _CREATE,
            [keys.session(code), keys.rate("sessions", address), keys.rate("call", secrets.token_hex(8))],
            [code, json.dumps(address), settings.session_ttl(), settings.sessions_a_minute()],
        )
        if reply[0] != "taken":
            return from_reply(reply)
    raise StoreUnavailable(f"{_DRAWS} codes in a row were taken")


def read(store: Store, code: str, guest: str | None) -> Session:
    """Read a session, ended ones included. `guest` is the caller's address; None for the host.

    Raises SessionNotFound, and RateLimited for a guest who has tried too many unknown codes.
    """
    limit = 0 if guest is None else settings.misses_a_minute()
    return from_reply(store.run(_READ, [keys.session(code), keys.rate("misses", guest or "host")], [limit]))


def renew(store: Store, code: str) -> Session:
    """Let a session live its whole time to live again from now, within the longest life that is allowed.

    Raises SessionNotFound, SessionEnded.
    """
    return from_reply(
        store.run(
            _RENEW,
            [keys.session(code), keys.requests(code), keys.responses(code)],
            [settings.session_ttl(), settings.session_max(), keys.bell(code)],
        )
    )


def end(store: Store, code: str) -> None:
    """End a session and drop its messages. Nothing changes where it has ended already.

    Raises SessionNotFound.
    """
    reply = store.run(_END, [keys.session(code), keys.requests(code), keys.responses(code)], [keys.bell(code)])
    if reply != ["ended"]:
        from_reply(reply)


def from_reply(reply: list[Any]) -> Session:
    """Return the session in a script's reply, or raise what stands there in its place."""
    match reply:
        case ["created" | "found", str(record), int(milliseconds)]:
            try:
                held = json.loads(record)
            except ValueError:
                held = None
            match held:
                case {"code": str(code), "createdAt": str(created), "expiresAt": str(expires), "active": bool(active)}:
                    return Session(code, created, expires, active, ttl=-(-milliseconds // 1000))
        case ["missing"]:
            raise SessionNotFound
        case ["ended"]:
            raise SessionEnded
        case ["limited", int(seconds)]:
            raise RateLimited(seconds)
    raise StoreUnavailable("a session in the store is not readable")
