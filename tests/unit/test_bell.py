"""lib/wait/notifications.py: the messages, and nothing that only looks like one."""

import pytest

from lib.wait import notifications
from lib.wait.notifications import Message

WHEN = "2026-11-24T10:23:26.166Z"


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("ABC12345 request 17-1", "request", ("17-1",)),
        (f"ABC12345 request 17-1 16-0 {WHEN} q.1 5 [1, 2]", "request", None),
        (f"ABC12345 request 17-1 16-0 {WHEN} q 6 [1, 2]", "request", ("17-1", "16-0", WHEN, "q", "6", "[1, 2]")),
        (f'ABC12345 request 17-1 16-0 {WHEN} q 4 "ä"', "request", ("17-1", "16-0", WHEN, "q", "4", '"ä"')),
        ("ABC12345 response q", "response", ("q",)),
        (f'ABC12345 response q {WHEN} error 3 "a"', "response", ("q", WHEN, "error", "3", '"a"')),
        (f"ABC12345 renewed {WHEN} 600000", "renewed", (WHEN, "600000")),
        ("ABC12345 host a/1", "host", ("a/1",)),
        ("ABC12345 ended", "ended", ()),
        ("", None, None),
        ("ABC12345", None, None),
        ("ABC12345 what", None, None),
        ("ABC12345 ended now", None, None),
        ("ABC12345 request", None, None),
        ("ABC12345 request x", None, None),
        (f"ABC12345 request 17-1 16-0 {WHEN} q 9 [1, 2]", None, None),
        (f"ABC12345 request 17-1 16-0 {WHEN} q [1,2]", None, None),
        (f"ABC12345 request 17-1 16-0 {WHEN} q", None, None),
        ("ABC12345 response", None, None),
        (f"ABC12345 response q {WHEN} other 1 1", None, None),
        (f"ABC12345 response q {WHEN} result 2 1", None, None),
        (f"ABC12345 renewed {WHEN} soon", None, None),
        ("ABC12345 renewed x 1", None, None),
        ("ABC12345 host a", None, None),
        ("echo 1234", None, None),
    ],
)
def test_parse(text: str, kind: str | None, words: tuple[str, ...] | None) -> None:
    expected = Message("ABC12345", kind, words) if kind and words is not None else None
    assert notifications.parse(text) == expected
