"""lib/web/call.py: which media types a caller accepts."""

import socket
from email.message import Message

import pytest

from lib.web.call import Call


def call_accepting(*lines: str) -> Call:
    headers = Message()
    for line in lines:
        headers["Accept"] = line
    ours, theirs = socket.socketpair()
    with ours, theirs:
        return Call("GET", "/api/sessions", headers, b"", ours, "192.0.2.1")


@pytest.mark.parametrize(
    ("lines", "accepted"),
    [
        (["text/event-stream"], True),
        (["application/json, text/event-stream"], True),
        (["application/json,text/event-stream"], True),
        (["Application/JSON, Text/Event-Stream"], True),
        (["application/json", "text/event-stream"], True),
        (["application/json, text/event-stream; charset=utf-8;q=0.001"], True),
        (["text/event-stream;q=0, text/event-stream"], True),
        (["text/event-stream;q=0"], False),
        (["text/event-stream ; x=y ; Q = 0.000, application/json"], False),
        (["text/event-stream-2"], False),
        (["x-text/event-stream"], False),
        (["application/json;profile=text/event-stream"], False),
        (["*/*"], False),
        (["text/*"], False),
        (["application/json"], False),
        ([""], False),
        ([], False),
    ],
)
def test_accepted_events(lines: list[str], *, accepted: bool) -> None:
    assert call_accepting(*lines).takes_events is accepted
