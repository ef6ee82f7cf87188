"""The bell: what scripts tell the function instances whose calls wait.

Each instance listens to a channel of its own. A message is one line of text, words that are separated by spaces: the
session's code, what has happened, and what there is to know of it. A message that is lost costs time, never data:
whoever waits also looks at the store every half minute.
"""

import re
from typing import NamedTuple

# The kinds, with the words that follow and the role of those who are told. What is in brackets is left out if the
# text is longer than 8 KiB or has a line break; its length is in bytes.
REQUEST = "request"  # cursor [cursor before it, when, id, length, payload]: to the host
RESPONSE = "response"  # id [when, kind, length, text]: to guests
RENEWED = "renewed"  # expiry, milliseconds until then: to the host
HOST = "host"  # NAME/ATTEMPT of the host that has taken over: to the hosts before it
WITHDRAWN = "withdrawn"  # id: to all
ENDED = "ended"  # to all
# Sent by `check_waiting` to its own instance, with any word, to show that the instance hears.
ECHO = "echo"

_CURSOR, _WHEN, _ID, _TEXT = r"[0-9]{1,15}-[0-9]{1,15}", r"[0-9TZ.:-]{24}", r"[A-Za-z0-9_.:-]{1,64}", r"[0-9]{1,5} .+"
# Each with the number of words, the last of which may hold spaces.
_WORDS = {
    REQUEST: (re.compile(f"{_CURSOR}(?: {_CURSOR} {_WHEN} {_ID} {_TEXT})?"), 6),
    RESPONSE: (re.compile(f"{_ID}(?: {_WHEN} (?:result|error) {_TEXT})?"), 5),
    RENEWED: (re.compile(f"{_WHEN} [0-9]{{1,15}}"), 2),
    WITHDRAWN: (re.compile(_ID), 1),
    HOST: (re.compile(f"{_ID}/[0-9]{{1,15}}"), 1),
    ENDED: (re.compile(""), 1),
}


class Message(NamedTuple):
    """What has happened in a session, and the words that say what there is to know of it."""

    code: str
    kind: str
    words: tuple[str, ...] = ()


def parse(text: str) -> Message | None:
    """Return the message that a text is; None if it is none, or garbled."""
    code, _, rest = text.partition(" ")
    kind, _, rest = rest.partition(" ")
    pattern, count = _WORDS.get(kind, (None, 0))
    if not pattern or not pattern.fullmatch(rest):
        return None
    words = tuple(rest.split(" ", count - 1)) if rest else ()
    if len(words) > 2 and len(words[-1].encode(errors="replace")) != int(words[-2]):
        return None
    return Message(code, kind, words)
