"""One HTTP request, read as the API reads it."""

import re
import socket
from email.message import Message
from functools import cached_property

from lib import fields, messages, prefer, settings
from lib.caller import Caller
from lib.jsontext import JsonText
from lib.kv import Store
from lib.prefer import Wait
from lib.problems import InvalidRequest, Problem
from lib.target import Target

_CURSOR = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")


class Call:
    """A request: its method, target and caller, the client's connection, and the way to the store.

    `body` is what came, or the problem in reading it: a resource refuses a bad body only if it reads bodies, and only
    after it has refused a method, a code or a token that is wrong.
    """

    def __init__(
        self, method: str, target: str, headers: Message, body: bytes | Problem, connection: socket.socket, peer: str
    ) -> None:
        self.method = method
        self.target = Target(target)
        self.caller = Caller(headers, peer)
        self.connection = connection
        self.store = Store()
        self._headers = headers
        self._body = body

    @property
    def code(self) -> str:
        """Return the session's code. Raises InvalidCode."""
        return self.target.code

    @property
    def guest(self) -> str | None:
        """Return the caller's address, or None for the session's host."""
        return self.caller.guest(self.code)

    def require_host(self, *, in_query: bool = False) -> None:
        """Return if the call is the host's; with `in_query` its token may stand in the query.

        Raises HostTokenRequired, HostTokenWrong.
        """
        self.caller.require_host(self.code, self.target.query.get("token", "") if in_query else "")

    @property
    def request_id(self) -> str | None:
        """Return the platform's id of this request."""
        return self._headers.get("x-vercel-id") if settings.text("VERCEL") else None

    @property
    def cursor(self) -> str:
        """Return where to go on: what the client saw last, else `after`, else the beginning. Raises InvalidRequest."""
        last_seen = self._headers.get("Last-Event-ID", "").strip()
        cursor = last_seen or self.target.query.get("after", "") or messages.START
        if not _CURSOR.fullmatch(cursor):
            raise InvalidRequest("after, or Last-Event-ID, must be a cursor as it was given.")
        return cursor

    @cached_property
    def wait(self) -> Wait:
        """Return how long the caller wants to wait. Raises InvalidRequest."""
        return prefer.wait(self.target.query, self._headers.get_all("Prefer", []))

    def fields(self, *known: str) -> dict[str, JsonText]:
        """Return the members of the body's JSON object as text; none if there is no body.

        Raises InvalidRequest, also for a field that is not known, InvalidJson, UnsupportedMediaType, PayloadTooLarge.
        """
        return fields.parse(self._body, self._headers.get("Content-Type", "application/json"), known)
