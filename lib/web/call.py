"""One HTTP request, read as the API reads it."""

import re
import secrets
import socket
from email.message import Message
from functools import cached_property

from lib import settings
from lib.jsontext import JsonText
from lib.kv import Store
from lib.problems import InvalidRequest, Problem
from lib.session import messages
from lib.session.access import Access
from lib.web import fields, preference, url
from lib.web.caller import Caller
from lib.web.preference import Wait
from lib.web.url import Target, identifier

_ATTEMPT = re.compile(r"[0-9]{1,15}")
# The parameter of an Accept header that says that a media type is not acceptable.
_NO_WEIGHT = re.compile(r"q\s*=\s*0(?:\.0*)?")


class Call:
    """A request: its method, target and caller, the client's connection, and the way to the store.

    `body` is what came, or the problem in reading it: a resource refuses a bad body only if it reads bodies, and only
    after it has refused a method, a code or a token that is wrong.

    `refused` is the problem reported inside a JSON-RPC reply, kept for the log because the HTTP status may be 200.
    """

    def __init__(
        self, method: str, target: str, headers: Message, body: bytes | Problem, connection: socket.socket, peer: str
    ) -> None:
        self.method = method
        self.target = Target(target)
        self.caller = Caller(headers, peer)
        self.connection = connection
        self.store = Store(self.caller.network)
        self.headers = headers
        self.refused: Problem | None = None
        self._body = body

    @property
    def url(self) -> str:
        """Return the URL that the caller has used, for people to read."""
        scheme = self.headers.get("x-forwarded-proto", "http")
        host = self.headers.get("x-forwarded-host") or self.headers.get("Host", "")
        return f"{scheme}://{host}{self.target.path}"

    @property
    def takes_events(self) -> bool:
        """Return whether the caller accepts server-sent events."""
        return self.accepts("text/event-stream")

    def accepts(self, media_type: str) -> bool:
        """Return whether the caller names this media type as acceptable.

        A range such as `*/*` does not count: most clients send one and expect JSON.
        """
        entries = ",".join(self.headers.get_all("Accept", [])).lower().split(",")
        return any(_names(entry, media_type) for entry in entries)

    @property
    def access(self) -> Access:
        """Return the caller's access to the session: a guest's, or the host's. Raises InvalidCode."""
        return self.caller.access(self.store, self.target.code)

    def host_access(self, *, in_query: bool = False) -> Access:
        """Return the host's access to the session; with `in_query` its token may stand in the query.

        Raises InvalidCode, HostTokenRequired, HostTokenWrong.
        """
        token = self.target.query.get("token", "") if in_query else ""
        return self.caller.host_access(self.store, self.target.code, token)

    @property
    def names_host(self) -> bool:
        """Return whether the caller names its host."""
        return "host" in self.target.query

    @cached_property
    def host(self) -> str:
        """Return the host as `NAME/ATTEMPT`: as the caller names it, else under a random name.

        Raises InvalidRequest.
        """
        attempt = self.target.query.get("attempt", "0")
        if not _ATTEMPT.fullmatch(attempt):
            raise InvalidRequest("attempt must be a whole number.")
        name = self.target.query.get("host", secrets.token_hex(8))
        return f"{identifier(name, 'host')}/{attempt}"

    @property
    def platform_id(self) -> str | None:
        """Return the platform's id of this request."""
        return self.headers.get("x-vercel-id") if settings.on_platform() else None

    @property
    def cursor(self) -> str:
        """Return where to go on: what the client saw last, else `after`, else the beginning. Raises InvalidRequest."""
        last_seen = url.cursor(self.headers.get("Last-Event-ID", "").strip(), "Last-Event-ID")
        after = url.cursor(self.target.query.get("after", ""), "after")
        return last_seen or after or messages.START

    @cached_property
    def wait(self) -> Wait:
        """Return how long the caller wants to wait. Raises InvalidRequest."""
        return preference.wait(self.target.query, self.headers.get_all("Prefer", []))

    def fields(self, *known: str) -> dict[str, JsonText]:
        """Return the members of the body's JSON object as text; none if there is no body.

        Raises InvalidRequest, also for a field that is not known, InvalidJson, UnsupportedMediaType, PayloadTooLarge.
        """
        return fields.parse(self.content(), known)

    def content(self) -> bytes:
        """Return the body, which is declared as JSON or empty, once: a call that waits must not hold it.

        Raises UnsupportedMediaType, PayloadTooLarge.
        """
        body, self._body = self._body, b""
        return fields.content(body, self.headers.get("Content-Type", "application/json"))


def _names(entry: str, media_type: str) -> bool:
    """Return whether an entry of an Accept header names a media type with a weight above zero (RFC 9110, 12.5.1)."""
    named, *parameters = (part.strip() for part in entry.split(";"))
    return named == media_type and not any(_NO_WEIGHT.fullmatch(parameter) for parameter in parameters)
