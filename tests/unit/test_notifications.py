"""lib/wait/notifications.py: the notifications, and nothing that only looks like one."""

import pytest

from lib.jsontext import JsonText
from lib.session.messages import Request, Response
from lib.wait import notifications
from lib.wait.notifications import (
    CallCancelled,
    HostChanged,
    Notification,
    RequestAnswered,
    RequestPosted,
    RequestWithdrawn,
    SessionEnded,
    SessionRenewed,
)

CODE = "ABC12345"
WHEN = "2026-11-24T10:23:26.166Z"


def posted(request_id: str, payload: str) -> RequestPosted:
    return RequestPosted(CODE, "17-1", "16-0", Request(request_id, JsonText(payload.encode()), WHEN, "17-1"))


def answered(kind: str, text: str) -> RequestAnswered:
    return RequestAnswered(CODE, "q", Response("q", JsonText(text.encode()), kind, WHEN))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("request 17-1", RequestPosted(CODE, "17-1")),
        (f"request 17-1 16-0 {WHEN} q 6 [1, 2]", posted("q", "[1, 2]")),
        (f'request 17-1 16-0 {WHEN} q.1 4 "ä"', posted("q.1", '"ä"')),
        (f"request 17-1 16-0 {WHEN} q 5 [1, 2]", None),
        (f"request 17-1 16-0 {WHEN} q 9 [1, 2]", None),
        (f"request 17-1 16-0 {WHEN} q [1,2]", None),
        (f"request 17-1 16-0 {WHEN} q", None),
        ("request", None),
        ("request x", None),
        ("response q", RequestAnswered(CODE, "q")),
        (f'response q {WHEN} error 3 "a"', answered("error", '"a"')),
        (f"response q {WHEN} result 1 1", answered("result", "1")),
        (f"response q {WHEN} result 2 1", None),
        (f"response q {WHEN} other 1 1", None),
        ("response", None),
        ("withdrawn q", RequestWithdrawn(CODE, "q")),
        ("withdrawn", None),
        ("cancelled q", CallCancelled(CODE, "q")),
        ("cancelled", None),
        (f"renewed {WHEN} 600000", SessionRenewed(CODE, WHEN, 600_000)),
        (f"renewed {WHEN} soon", None),
        ("renewed x 1", None),
        ("host a/1", HostChanged(CODE, "a/1")),
        ("host a", None),
        ("ended", SessionEnded(CODE)),
        ("ended now", None),
        ("what", None),
        ("", None),
    ],
)
def test_parse(text: str, expected: Notification | None) -> None:
    found = notifications.parse(f"{CODE} {text}")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("text", ["", CODE, "echo 1234"])
def test_text_without_session_and_kind(text: str) -> None:
    assert notifications.parse(text) is None
