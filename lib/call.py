"""One HTTP request, read as the contract reads it."""

import ipaddress
import json
import re
import socket
from email.message import Message
from functools import cached_property
from urllib.parse import parse_qs, unquote

from lib import codes, jsontext, messages, settings, tokens
from lib.jsontext import JsonText
from lib.kv import Store
from lib.problems import (
    HostTokenRequired,
    HostTokenWrong,
    InvalidRequest,
    PayloadTooLarge,
    Problem,
    UnsupportedMediaType,
)

LONGEST_WAIT = 55

_SESSION_PATH = re.compile(r"/api/sessions(?:\.py)?/(?P<code>[^/]+)(?P<rest>/[a-z]+)?(?:/(?P<id>[^/]+))?/?")
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_CURSOR = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_PREFER_WAIT = re.compile(r"(?:^|,)\s*wait\s*=\s*([0-9]+)\s*(?:[;,]|$)", re.IGNORECASE)
_OWN_PATH = re.compile(r"/api/[a-z]+")


class Call:
    """A request: `method`, `query` (the first value of each parameter), `headers`, and who sends it.

    `body` is what came, or the problem that there was in reading it.
    """

    def __init__(
        self,
        method: str,
        target: str,
        headers: Message,
        body: bytes | Problem,
        connection: socket.socket,
        peer: str,
        store: Store,
    ) -> None:
        self.method = method
        self.headers = headers
        self.connection = connection
        self._peer = peer
        self.store = store
        self._body = body
        path, _, query = target.partition("?")
        self._path = path
        # After a rewrite the path is still the caller's, and so may be parameters: what the path says comes first.
        self._session_path = _SESSION_PATH.fullmatch(path)
        self._query = query

    @cached_property
    def query(self) -> dict[str, str]:
        """Return the parameters, each with its first value."""
        found = parse_qs(self._query, keep_blank_values=True, errors="replace")
        return {name: values[0] for name, values in found.items()}

    @property
    def names_session(self) -> bool:
        """Tell whether a code is there at all, right or wrong."""
        return self._session_path is not None or "code" in self.query

    @cached_property
    def code(self) -> str:
        """Return the session's code, from the path or else the query. Raises InvalidCode."""
        if self._session_path:
            return codes.parse(unquote(self._session_path["code"]))
        return codes.parse(self.query.get("code", ""))

    @cached_property
    def address(self) -> str:
        """Return the caller's address: the one that the platform vouches for, the peer's where there is none."""
        claimed = self.headers.get("x-real-ip", "") if settings.text("VERCEL") else ""
        for text in (claimed.strip(), self._peer):
            try:
                address = ipaddress.ip_address(text)
                return str(getattr(address, "ipv4_mapped", None) or address)
            except ValueError:
                continue
        return "unknown"

    @property
    def request_id(self) -> str | None:
        """Return the platform's id of this request."""
        return self.headers.get("x-vercel-id") if settings.text("VERCEL") else None

    @property
    def route(self) -> str:
        """Return the path with its code and id left out, for the log."""
        if self._session_path:
            rest = self._session_path["rest"] or ""
            return "/api/sessions/{code}" + rest + ("/{id}" if self._session_path["id"] else "")
        own = _OWN_PATH.match(self._path)
        return own[0] if own else "other"

    @property
    def guest(self) -> str | None:
        """Return the caller's address, or None for the host, whose token has proved that it knows the code."""
        return None if self._bearer and tokens.matches(self._bearer, self.code) else self.address

    def require_host(self, *, in_query: bool = False) -> None:
        """Return if the call is the host's; its token may stand in the query where `in_query` says so.

        Raises HostTokenRequired, HostTokenWrong.
        """
        code = self.code
        token = self._bearer or (self.query.get("token", "") if in_query else "")
        if not token:
            raise HostTokenRequired
        if not tokens.matches(token, code):
            raise HostTokenWrong

    @property
    def names_id(self) -> bool:
        """Tell whether the call names a request at all."""
        return bool(self._session_path["id"]) if self._session_path else "id" in self.query

    @property
    def id(self) -> str:
        """Return the id of the request, from the path or else the query. Raises InvalidRequest."""
        return _checked_id(unquote(self._session_path["id"]) if self._session_path else self.query.get("id", ""))

    @property
    def cursor(self) -> str:
        """Return where to go on: what the client saw last, else `after`, else the beginning. Raises InvalidRequest."""
        cursor = self.headers.get("Last-Event-ID", "").strip() or self.query.get("after", "") or messages.START
        if not _CURSOR.fullmatch(cursor):
            raise InvalidRequest("after, or Last-Event-ID, must be a cursor as it was given.")
        return cursor

    @cached_property
    def wait(self) -> int:
        """Return the seconds to wait: `?wait=`, else the preference of RFC 7240. Raises InvalidRequest."""
        return min(self._wished_wait, LONGEST_WAIT)

    def preference_applied(self) -> dict[str, str]:
        """Return the header that tells of a preference that was followed, or of a wait that was cut."""
        if self._preferred_wait is None and self._wished_wait <= LONGEST_WAIT:
            return {}
        return {"Preference-Applied": f"wait={self.wait}"}

    @cached_property
    def _preferred_wait(self) -> int | None:
        preferences = _QUOTED.sub(_unquoted_number, ",".join(self.headers.get_all("Prefer", [])))
        preferred = _PREFER_WAIT.search(preferences)
        return _seconds(preferred[1]) if preferred and "wait" not in self.query else None

    @cached_property
    def _wished_wait(self) -> int:
        if self._preferred_wait is not None:
            return self._preferred_wait
        seconds = self.query.get("wait", "0")
        if not re.fullmatch("[0-9]+", seconds):
            raise InvalidRequest("wait must be a whole number of seconds.")
        return _seconds(seconds)

    def require_no_fields(self) -> None:
        """Return if the body is empty or `{}`. Raises InvalidRequest, InvalidJson, UnsupportedMediaType."""
        self.fields()

    def message(self, fields: dict[str, JsonText], name: str) -> JsonText:
        """Return a field that is a message. Raises InvalidRequest where it is missing, PayloadTooLarge."""
        if name not in fields:
            raise InvalidRequest(f"{name} is missing: any JSON value.")
        if len(fields[name].encode()) > settings.max_payload():
            raise PayloadTooLarge(settings.max_payload())
        return fields[name]

    def given_id(self, fields: dict[str, JsonText]) -> str:
        """Return the field `id`. Raises InvalidRequest."""
        given = json.loads(fields.get("id", "null")) if fields.get("id", "").startswith('"') else None
        return _checked_id(given)

    def fields(self, *known: str) -> dict[str, JsonText]:
        """Return the members of the body's JSON object as text; none where there is no body.

        Raises InvalidRequest, also for a field that is not known, InvalidJson, UnsupportedMediaType, PayloadTooLarge.
        """
        found = self._fields()
        for name in found.keys() - set(known):
            raise InvalidRequest(f"{json.dumps(name[:64])} is not a field here. Known: {', '.join(known) or 'none'}.")
        return found

    def _fields(self) -> dict[str, JsonText]:
        if isinstance(self._body, Problem):
            raise self._body
        if not self._body:
            return {}
        kind = self.headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
        if kind != "application/json" and not re.fullmatch(r"application/[\w.-]+\+json", kind):
            raise UnsupportedMediaType
        return jsontext.members(self._body)

    @property
    def _bearer(self) -> str:
        scheme, _, token = self.headers.get("Authorization", "").strip().partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""


def _checked_id(text: str | None) -> str:
    if text is None or not _ID.fullmatch(text):
        raise InvalidRequest("id must be 1 to 64 letters, digits or _ . : - as a string.")
    return text


def _unquoted_number(quoted: re.Match[str]) -> str:
    number = quoted[0].strip('"')
    return number if number.isdigit() else ""


def _seconds(digits: str) -> int:
    """Return a number of seconds; of one with very many digits only that it is too large."""
    return int((digits.lstrip("0") or "0")[:9])
