"""lib/session/sessions.py: what a script's reply says of a session."""

import json
from typing import Any

import pytest

from lib.problems import StoreUnavailable
from lib.session import sessions

RECORD = {"code": "ABC12345", "createdAt": "then", "expiresAt": "later", "ip": "::1", "active": True}


def reply(milliseconds: Any = 1000, *more: Any, **changes: Any) -> list[Any]:
    return ["found", json.dumps(RECORD | changes), milliseconds, *more]


@pytest.mark.parametrize(("milliseconds", "seconds"), [(1, 1), (999, 1), (1000, 1), (1001, 2), (600_000, 600)])
def test_seconds_are_rounded_up(milliseconds: int, seconds: int) -> None:
    assert sessions.from_reply(reply(milliseconds)).ttl == seconds


def test_public() -> None:
    """Everything but the creator's address; whether a host listens if the script says so."""
    public = {"code": "ABC12345", "createdAt": "then", "expiresAt": "later", "active": False, "ttl": 1}
    assert sessions.from_reply(reply(active=False)).public() == public
    assert sessions.from_reply(reply(1000, 1, active=False)).public() == public | {"listening": True}
    assert sessions.from_reply(reply(1000, 0, active=False)).public() == public | {"listening": False}


@pytest.mark.parametrize(
    "found",
    [
        reply("1000"),
        reply()[:2],
        ["found", "{", 1000],
        ["found", "[]", 1000],
        ["unreadable"],
        reply(active="true"),
        reply(code=1),
        reply(createdAt=None),
        reply(expiresAt=1),
    ],
)
def test_what_is_no_session(found: list[Any]) -> None:
    with pytest.raises(StoreUnavailable):
        sessions.from_reply(found)
