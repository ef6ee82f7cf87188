"""A request target: which session and which request it names, in the path or in the query."""

import re
from functools import cached_property
from urllib.parse import parse_qs, unquote

from lib.problems import InvalidRequest
from lib.session import codes

_SESSION_PATH = re.compile(
    r"(?P<root>/api/sessions|/mcp)(?:\.py)?/(?P<code>[^/]+)(?P<rest>/[a-z]+)?(?:/(?P<id>[^/]+))?/?"
)
_FUNCTION_PATH = re.compile(r"/mcp|/api/[a-z]+")
_CURSOR = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


class Target:
    """A request target as the function sees it: after a rewrite, the caller's path with parameters added to the query.

    Parameters may be the caller's as well, so code and id are taken from the path if the path has them.
    """

    def __init__(self, text: str) -> None:
        self.path, _, self._query = text.partition("?")
        self._session_path = _SESSION_PATH.fullmatch(self.path)

    @cached_property
    def query(self) -> dict[str, str]:
        """Return the parameters, each with its first value."""
        found = parse_qs(self._query, keep_blank_values=True, errors="replace")
        return {name: values[0] for name, values in found.items()}

    @property
    def names_session(self) -> bool:
        """Return whether the target has a code, valid or not."""
        return self._session_path is not None or "code" in self.query

    @cached_property
    def code(self) -> str:
        """Return the session's code. Raises InvalidCode."""
        return codes.parse(unquote(self._session_path["code"]) if self._session_path else self.query.get("code", ""))

    @property
    def names_id(self) -> bool:
        """Return whether the target has a request's id, valid or not."""
        return bool(self._session_path["id"]) if self._session_path else "id" in self.query

    @property
    def id(self) -> str:
        """Return the id of the request. Raises InvalidRequest."""
        return identifier(unquote(self._session_path["id"]) if self._session_path else self.query.get("id"))

    @property
    def route(self) -> str:
        """Return the path with its code and id left out, for the log."""
        if self._session_path:
            rest = self._session_path["rest"] or ""
            return self._session_path["root"] + "/{code}" + rest + ("/{id}" if self._session_path["id"] else "")
        path = _FUNCTION_PATH.match(self.path)
        return path[0] if path else "other"


def cursor(text: object, field: str) -> str:
    """Return the text if it is a cursor, or empty. Raises InvalidRequest."""
    if not isinstance(text, str) or (text and not _CURSOR.fullmatch(text)):
        raise InvalidRequest(f"{field} must be a cursor as it was given.")
    return text


def identifier(text: object, field: str = "id") -> str:
    """Return the text if it may be the id of a request or the name of a host. Raises InvalidRequest."""
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise InvalidRequest(f"{field} must be 1 to 64 letters, digits or _ . : - as a string.")
    return text
