"""Notifications: what scripts publish to the function instances in which calls wait.

Each instance subscribes to one channel. A notification is one line of text: the session's code, its kind, and its
words, separated by spaces. It may be lost, late, doubled or out of order; a waiting call also asks the store every half
minute.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from lib.jsontext import JsonText
from lib.session.messages import Request, Response

# `check_waiting` publishes this kind, with a random word, to its own instance, to show that the subscription works.
ECHO = "echo"


class RequestPosted(NamedTuple):
    """To the host: a request at this cursor. `previous` is the cursor of the request before it.

    `request` is None, and `previous` empty, if the payload is over 8 KiB or has a line break.
    """

    code: str
    cursor: str
    previous: str = ""
    request: Request | None = None


class RequestAnswered(NamedTuple):
    """To guests: the request with this id is answered. `response` is None if it is over 8 KiB or has a line break."""

    code: str
    id: str
    response: Response | None = None


class RequestWithdrawn(NamedTuple):
    """To everybody: the request with this id is no longer in the session."""

    code: str
    id: str


class CallCancelled(NamedTuple):
    """To guests, before `RequestWithdrawn`: its client has cancelled the tool call that posted this request."""

    code: str
    id: str


class ProgressReported(NamedTuple):
    """To guests: how far the host is with the request with this id. `report` is the host's report, a JSON object."""

    code: str
    id: str
    report: JsonText


class ToolsChanged(NamedTuple):
    """To guests: the host offers another list of tools, which is the session's list with this number."""

    code: str
    number: int


class ToolsRead(NamedTuple):
    """To the host: an MCP client has read the list of tools. `client` says which one, a JSON object."""

    code: str
    client: JsonText


class HostLeft(NamedTuple):
    """To guests: the host's connection is closed. A page that is loaded again is back within seconds."""

    code: str


class SessionRenewed(NamedTuple):
    """To the host: the session now expires at `expires_at` (ISO 8601), which is `ttl_ms` milliseconds from now."""

    code: str
    expires_at: str
    ttl_ms: int


class HostChanged(NamedTuple):
    """To hosts: `host`, `NAME/ATTEMPT`, has taken the session over."""

    code: str
    host: str


class SessionEnded(NamedTuple):
    """To everybody: the host has ended the session."""

    code: str


type Notification = (
    RequestPosted
    | RequestAnswered
    | RequestWithdrawn
    | CallCancelled
    | ProgressReported
    | ToolsChanged
    | ToolsRead
    | HostChanged
    | HostLeft
    | SessionRenewed
    | SessionEnded
)

_CURSOR = r"[0-9]{1,15}-[0-9]{1,15}"
_TIME = r"[0-9TZ.:-]{24}"
_ID = r"[A-Za-z0-9_.:-]{1,64}"


def _posted(code: str, words: re.Match[str]) -> RequestPosted | None:
    cursor, previous, created_at, request_id, size, payload = words.groups()
    if payload is None:
        return RequestPosted(code, cursor)
    request = Request(request_id, _json(payload), created_at, cursor)
    return RequestPosted(code, cursor, previous, request) if _is_whole(payload, size) else None


def _answered(code: str, words: re.Match[str]) -> RequestAnswered | None:
    request_id, answered_at, kind, size, text = words.groups()
    if text is None:
        return RequestAnswered(code, request_id)
    response = Response(request_id, _json(text), kind, answered_at)
    return RequestAnswered(code, request_id, response) if _is_whole(text, size) else None


def _reported(code: str, words: re.Match[str]) -> ProgressReported | None:
    request_id, size, text = words.groups()
    return ProgressReported(code, request_id, _json(text)) if _is_whole(text, size) else None


def _read(code: str, words: re.Match[str]) -> ToolsRead | None:
    size, text = words.groups()
    return ToolsRead(code, _json(text)) if _is_whole(text, size) else None


def _json(text: str) -> JsonText:
    return JsonText(text.encode(errors="replace"))


def _is_whole(text: str, size: str) -> bool:
    """Return whether a text has the size in bytes that its script has counted, so that nothing was cut off."""
    return len(text.encode(errors="replace")) == int(size)


# Each kind with the pattern of its words and what is made of them. The scripts write what these read. The patterns are
# compiled when they are first used, because most calls do not wait.
_KINDS: dict[str, tuple[str, Callable[[str, re.Match[str]], Notification | None]]] = {
    "request": (rf"({_CURSOR})(?: ({_CURSOR}) ({_TIME}) ({_ID}) ([0-9]{{1,5}}) (.+))?", _posted),
    "response": (rf"({_ID})(?: ({_TIME}) (result|error) ([0-9]{{1,5}}) (.+))?", _answered),
    "withdrawn": (rf"({_ID})", lambda code, words: RequestWithdrawn(code, words[1])),
    "cancelled": (rf"({_ID})", lambda code, words: CallCancelled(code, words[1])),
    "progress": (rf"({_ID}) ([0-9]{{1,5}}) (.+)", _reported),
    "tools": ("([0-9]{1,15})", lambda code, words: ToolsChanged(code, int(words[1]))),
    "guest": ("([0-9]{1,5}) (.+)", _read),
    "left": ("", lambda code, _: HostLeft(code)),
    "renewed": (
        rf"({_TIME}) ([0-9]{{1,15}})",
        lambda code, words: SessionRenewed(code, words[1], int(words[2])),
    ),
    "host": (rf"({_ID}/[0-9]{{1,15}})", lambda code, words: HostChanged(code, words[1])),
    "ended": ("", lambda code, _: SessionEnded(code)),
}


def parse(text: str) -> Notification | None:
    """Return the notification in a message of the channel; None for a text that is not one, or is garbled."""
    code, _, rest = text.partition(" ")
    kind, _, rest = rest.partition(" ")
    if kind not in _KINDS:
        return None
    pattern, make = _KINDS[kind]
    words = re.fullmatch(pattern, rest)
    return make(code, words) if words else None
