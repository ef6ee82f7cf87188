"""One HTTP request, read as the contract reads it."""

import ipaddress
import re
from email.message import Message
from functools import cached_property
from urllib.parse import parse_qs, unquote

from lib import codes, jsontext, settings, tokens
from lib.kv import Store
from lib.problems import HostTokenRequired, HostTokenWrong, InvalidRequest, Problem, UnsupportedMediaType

_SESSION_PATH = re.compile(r"/api/sessions(?:\.py)?/(?P<code>[^/]+)(?P<rest>/[a-z]+)?(?:/(?P<id>[^/]+))?/?")
_OWN_PATH = re.compile(r"/api/[a-z]+")


class Call:
    """A request: `method`, `query` (the first value of each parameter), `headers`, and who sends it.

    `body` is what came, or the problem that there was in reading it.
    """

    def __init__(
        self, method: str, target: str, headers: Message, body: bytes | Problem, peer: str, store: Store
    ) -> None:
        self.method = method
        self.headers = headers
        self.store = store
        self._body = body
        self._peer = peer
        path, _, query = target.partition("?")
        self._path = path
        # After a rewrite the path is still the caller's, and so may be parameters: what the path says comes first.
        self._session_path = _SESSION_PATH.fullmatch(path)
        self._query = query

    @cached_property
    def query(self) -> dict[str, str]:
        """Return the parameters. Raises InvalidRequest for more than a hundred."""
        try:
            found = parse_qs(self._query, keep_blank_values=True, errors="replace", max_num_fields=100)
        except ValueError:
            raise InvalidRequest("There are too many parameters.") from None
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
                return str(ipaddress.ip_address(text))
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

    @cached_property
    def by_host(self) -> bool:
        """Tell whether the call carries the host token of its session."""
        return bool(self._bearer) and tokens.matches(self._bearer, self.code)

    def require_host(self) -> None:
        """Return if the call is the host's. Raises HostTokenRequired, HostTokenWrong."""
        code = self.code
        if not self._bearer:
            raise HostTokenRequired
        if not tokens.matches(self._bearer, code):
            raise HostTokenWrong

    def require_no_fields(self) -> None:
        """Return if the body is empty or `{}`. Raises InvalidRequest, InvalidJson, UnsupportedMediaType."""
        for name in self.fields():
            raise InvalidRequest(f"{name[:64]!r} is not known here: send no body, or {{}}.")

    def fields(self) -> dict[str, str]:
        """Return the members of the body's JSON object as text; none where there is no body.

        Raises InvalidRequest, InvalidJson, UnsupportedMediaType, PayloadTooLarge.
        """
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
