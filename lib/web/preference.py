"""How long a caller wants to wait: `?wait=`, or the preference of RFC 7240."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lib.problems import InvalidRequest

LONGEST_WAIT = 55

# Possessive, so that a quote that is never closed is read once and not from each of its characters on.
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"?')
_WAIT = re.compile(r"(?:^|,)\s*wait\s*=\s*([0-9]+)\s*(?:[;,]|$)", re.IGNORECASE)


class Wait(NamedTuple):
    """Seconds to wait, and whether to send `Preference-Applied`.

    It is sent if a Prefer header was honoured, or a longer wait was capped.
    """

    seconds: int
    applied: bool

    @property
    def headers(self) -> dict[str, str]:
        """Return the header `Preference-Applied`, if it is to be sent."""
        return {"Preference-Applied": f"wait={self.seconds}"} if self.applied else {}


def wait(query: Mapping[str, str], preferences: Sequence[str]) -> Wait:
    """Return how long to wait; a parameter counts before the `Prefer` headers. Raises InvalidRequest."""
    preferred = None if "wait" in query else _WAIT.search(_QUOTED.sub(_number, ",".join(preferences)))
    digits = preferred[1] if preferred else query.get("wait", "0")
    if not re.fullmatch("[0-9]+", digits):
        raise InvalidRequest("wait must be a whole number of seconds.")
    seconds = int((digits.lstrip("0") or "0")[:9])  # more digits are too many seconds in any case
    return Wait(min(seconds, LONGEST_WAIT), preferred is not None or seconds > LONGEST_WAIT)


def _number(quoted: re.Match[str]) -> str:
    return quoted[1] if quoted[1].isdigit() else ""
