"""lib/session/: a reply that no script of ours gives is the store's problem, and is never believed."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from lib.jsontext import JsonText
from lib.kv import Store
from lib.problems import StoreUnavailable
from lib.session import messages, sessions, tools
from lib.session.access import Access

ACCESS = Access(Store(), "ABC12345", "192.0.2.1")
RECORD = json.dumps({"code": "ABC12345", "createdAt": "then", "expiresAt": "later", "active": True})
ONE = JsonText(b"1")

type Verb = Callable[[], object]

RESPONSES: dict[str, Verb] = {
    "post": lambda: messages.post(ACCESS, "q", ONE),
    "read": lambda: messages.read(ACCESS, "q"),
}
BACKLOGS: dict[str, Verb] = {
    "unanswered": lambda: messages.unanswered(ACCESS, "0-0"),
    "take over": lambda: messages.take_over(ACCESS, "0-0", "h/1", ""),
}
SESSIONS: dict[str, Verb] = {
    "create": lambda: sessions.create(ACCESS.store, "192.0.2.1", "192.0.2.1"),
    "read session": lambda: sessions.read(ACCESS),
    "renew": lambda: sessions.renew(ACCESS),
}
OTHERS: dict[str, Verb] = {
    "answer": lambda: messages.answer(ACCESS, "q", "", "result", ONE),
    "withdraw": lambda: messages.withdraw(ACCESS, "q"),
    "end": lambda: sessions.end(ACCESS),
    "register": lambda: tools.register(ACCESS, JsonText(b"[]")),
    "read tools": lambda: tools.read(ACCESS),
}
VERBS = RESPONSES | BACKLOGS | SESSIONS | OTHERS
ANYWHERE: list[Any] = [["unreadable"], ["what", 1], [None], [1, 2], []]
IN_PLACES: list[tuple[dict[str, Verb], list[Any]]] = [
    (
        RESPONSES,
        [
            ["pending", "1", 0],
            ["pending", 1],
            ["pending", 1, None],
            ["answered", None, "result", "1"],
            ["answered", "then", None, "1"],
            ["answered", "then", "result", None],
            ["answered", "then", "result", "1", 2],
        ],
    ),
    (
        BACKLOGS,
        [
            ["found", RECORD, 1, []],
            ["found", RECORD, 1, [], None],
            ["found", RECORD, "1", [], 0],
            ["found", None, 1, [], 0],
            ["found", "{}", 1, [], 0],
            ["found", RECORD, 1, None, 0],
            ["found", RECORD, 1, [["q", "1", "then"]], 0],
            ["found", RECORD, 1, [[]], 0],
            ["found", RECORD, 1, [None], 0],
            ["found", RECORD, 1, [""], 0],
            ["found", RECORD, 1, [1], 0],
            ["found", RECORD, 1, [["q", None, "then", "1-0"]], 0],
            ["conflict"],
            ["conflict", 1],
        ],
    ),
    (SESSIONS, [["found", RECORD], ["found", RECORD, "1"], ["found", None, 1], ["found", "{}", 1]]),
    (OTHERS, [["answered", 1], ["withdrawn", 1], ["ended", 1], ["written", 1], ["found"], ["found", None]]),
]
CASES = [(name, reply) for name in VERBS for reply in ANYWHERE] + [
    (name, reply) for verbs, replies in IN_PLACES for name in verbs for reply in replies
]


@pytest.mark.parametrize(("name", "reply"), CASES)
def test_reply_of_no_script(monkeypatch: pytest.MonkeyPatch, name: str, reply: Any) -> None:
    monkeypatch.setattr(Store, "evaluate", lambda *_: reply)
    with pytest.raises(StoreUnavailable):
        VERBS[name]()
