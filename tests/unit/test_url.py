"""lib/web/url.py: which session and request a target names, and what the log may say of it."""

from typing import NamedTuple

import pytest

from lib.problems import InvalidCode, InvalidRequest
from lib.web.url import Target


class Read(NamedTuple):
    code: str
    id: str
    route: str


NOTHING = ""
CODE = "ABC12345"


def read(text: str) -> Read:
    target = Target(text)
    code = target.code if target.names_session else NOTHING
    return Read(code, target.id if target.names_id else NOTHING, target.route)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/api/sessions", Read(NOTHING, NOTHING, "/api/sessions")),
        ("/api/sessions/", Read(NOTHING, NOTHING, "/api/sessions")),
        ("/api/sessions.py", Read(NOTHING, NOTHING, "/api/sessions")),
        ("/api/sessions/abc1-2345", Read(CODE, NOTHING, "/api/sessions/{code}")),
        ("/api/sessions/abc1%202345/", Read(CODE, NOTHING, "/api/sessions/{code}")),
        ("/api/sessions.py/ABC12345", Read(CODE, NOTHING, "/api/sessions/{code}")),
        ("/api/sessions/ABC12345/stream", Read(CODE, NOTHING, "/api/sessions/{code}/stream")),
        ("/api/sessions/ABC12345/responses/q1", Read(CODE, "q1", "/api/sessions/{code}/responses/{id}")),
        ("/api/sessions/ABC12345/responses/q%3A1/", Read(CODE, "q:1", "/api/sessions/{code}/responses/{id}")),
        ("/api/sessions/ABC12345?code=0000000Z&id=q", Read(CODE, NOTHING, "/api/sessions/{code}")),
        ("/api/responses?code=ABC12345&id=q1&id=q2&code=0000000Z", Read(CODE, "q1", "/api/responses")),
        ("/mcp", Read(NOTHING, NOTHING, "/mcp")),
        ("/mcp/ABC12345", Read(CODE, NOTHING, "/mcp/{code}")),
        ("/secret", Read(NOTHING, NOTHING, "other")),
    ],
)
def test_target(text: str, expected: Read) -> None:
    assert read(text) == expected


@pytest.mark.parametrize("text", ["/api/sessions/nothing", "/api/sessions?code=", "/api/sessions?code=nothing"])
def test_code_that_is_none(text: str) -> None:
    target = Target(text)
    assert target.names_session
    with pytest.raises(InvalidCode):
        _ = target.code


@pytest.mark.parametrize("request_id", ["", "a%20b", "a%0A", "%C3%A4", "a" * 65, "%2F"])
def test_id_that_is_none(request_id: str) -> None:
    texts = [f"/api/responses?code=ABC12345&id={request_id}"]
    if request_id:
        texts.append(f"/api/sessions/ABC12345/responses/{request_id}")
    for text in texts:
        target = Target(text)
        assert target.names_id
        with pytest.raises(InvalidRequest):
            _ = target.id
